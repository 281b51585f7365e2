import Bytes
import Telemetry
import Testing

@Suite struct MetricsTests {
    /// A client may close with any of 2,000 codes: what it chooses gets no series of its own.
    @Test func codesThatClientsChooseDoNotGrowThePage() throws {
        let world = try SimulatedServer(endpoint: EchoEndpoint())
        for code in [1000, 3000, 3008, 3050, 3099, 3100, 3555, 3999, 4000, 4321, 4999] as [UInt16] {
            let client = world.client()
            client.send(.close, [UInt8(code >> 8), UInt8(code & 255)])
            world.run(1)
            #expect(client.closeCode == code)
        }
        var page = ByteBuffer()
        MetricRegistry.shared.render(into: &page)
        let lines = String(decoding: page.array(), as: UTF8.self).split(separator: "\n")
        let codes = lines.compactMap { line -> Substring? in
            let start = "websocket_closed_total{code=\""
            return line.hasPrefix(start) ? line.dropFirst(start.utf8.count).prefix { $0 != "\"" } : nil
        }
        #expect(codes.contains("3xxx") && codes.contains("4xxx"))
        #expect(codes.contains("3008"))
        #expect(codes.filter { (UInt16($0) ?? 0) >= 3000 }.allSatisfy { $0 == "3008" || $0 == "3012" })
    }
}
