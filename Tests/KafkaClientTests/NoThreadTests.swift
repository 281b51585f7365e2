import Reactor
import TestSupport
import Testing

@testable import KafkaClient

@Suite struct NoThreadTests {
    @Test func aClientWithoutAThreadSaysSo() async {
        await #expect(processExitsWith: .success) {
            let loop = try EventLoop()
            let configuration = KafkaConfiguration(bootstrapServers: "127.0.0.1:1", clientID: "test")
            var refusal: KafkaError?
            NoMoreMemory.begin()
            do throws(KafkaError) { _ = try ClientCore(loop: loop, configuration: configuration, role: "test") } catch {
                refusal = error
            }
            NoMoreMemory.end()
            try #require(refusal?.message.contains("starting the thread") == true)
        }
    }
}
