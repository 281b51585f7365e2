import Basics
import Bytes
import Reactor
import ReactorSim
import Synchronization
import Testing

extension TheLoop {
    @Test(arguments: 0..<8 as Range<UInt64>)
    func behaviour47_everySplitGivesTheSameOutput(seed: UInt64) throws {
        let message = (0..<700).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        for options in [SimulationOptions(), .byteByByte, .unkind] {
            let network = SimulatedNetwork(seed: seed, options: options)
            let server = try network.makeLoop()
            let client = try network.makeLoop()
            let listener = try server.listen(.loopback(port: 0), handler: LineHandler(loop: server))
            let probe = CollectingClient(loop: client, sends: message, expects: .max)
            client.connect(listener.localAddress, timeout: 1_000_000_000, handler: probe)
            let expected = LineHandler.expected(message)
            network.run(until: { probe.received.count >= expected.count }, limit: 600_000_000_000)
            #expect(probe.received == expected)
        }
    }

    /// Answers each stretch of seven bytes with its sum, then a shared trailer, then the stretch: incomplete ones stay.
    final class LineHandler: ConnectionHandler {
        let loop: EventLoop
        static let trailer: [UInt8] = Array("shared".utf8)
        let shared = SharedBytes(trailer)

        init(loop: EventLoop) { self.loop = loop }

        static func expected(_ message: [UInt8]) -> [UInt8] {
            stride(from: 0, to: message.count / 7 * 7, by: 7).flatMap { start -> [UInt8] in
                let stretch = message[start..<start + 7]
                return [stretch.reduce(0, &+)] + trailer + stretch
            }
        }

        override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
            var consumed = 0
            while bytes.count - consumed >= 7 {
                let stretch = unsafe UnsafeRawBufferPointer(rebasing: bytes[consumed..<consumed + 7])
                var sum: UInt8 = 0
                for index in 0..<7 { sum = unsafe sum &+ stretch[index] }
                unsafe loop.output(id)?.pointee.append(sum)
                loop.send(id, shared: shared)
                unsafe loop.output(id)?.pointee.append(stretch)
                consumed += 7
            }
            return consumed
        }
    }
}
