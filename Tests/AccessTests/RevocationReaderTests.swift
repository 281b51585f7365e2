import Access
import Bytes
import KafkaClient
import Reactor
import RideAPI
import Testing

/// Readers of `auth_revocations` beside an embedded broker.
@Suite struct RevocationReaderTests {
    /// A broker, and whoever writes to it. Everything on the test's thread.
    private final class Topic {
        let loop: EventLoop
        let broker: EmbeddedBroker
        let configuration: KafkaConfiguration
        private let producer: KafkaProducer

        init(partitions: Int32) throws {
            loop = try EventLoop()
            broker = try EmbeddedBroker(topics: [
                TopicSpecification(name: Revocation.topic, partitions: partitions, replicationFactor: 1)
            ])
            configuration = KafkaConfiguration(
                bootstrapServers: broker.bootstrapServers, properties: EmbeddedBroker.properties)
            producer = try KafkaProducer(loop: loop, configuration: configuration)
        }

        func turn(_ what: String, until isDone: () -> Bool) {
            var isLate = false
            let timer = loop.schedule(after: 60_000_000_000) { isLate = true }
            let tick = loop.schedule(every: 5_000_000) {}
            while !isDone() && !isLate { loop.turn() }
            if isLate { Issue.record("\(what) did not happen within 60 s") }
            loop.cancel(timer)
            loop.cancel(tick)
        }

        func write(_ key: String, _ value: [UInt8]) {
            #expect(producer.produce(topic: Revocation.topic, key: key, value: value))
            turn("the delivery") { producer.pending == 0 }
        }

        func write(_ revocation: Revocation) {
            var value = ByteBuffer()
            revocation.encode(into: &value)
            write(revocation.target.key, value.array())
        }

        func close() {
            var left = 1
            producer.close(timeout: .seconds(1)) { _ in left -= 1 }
            turn("the end") { left == 0 }
            broker.stop()
        }
    }

    /// What one program comes to know.
    private final class Reader {
        let reader: RevocationReader
        private(set) var known: [Revocation] = []
        /// How many were known when it said that this was all.
        private(set) var complete: [Int] = []

        init(_ topic: Topic, role: String) throws {
            reader = try RevocationReader(
                loop: topic.loop, configuration: topic.configuration,
                metrics: RevocationMetrics(loop: topic.loop, role: role))
            reader.onRevocations = { [unowned self] in known += $0 }
            reader.onComplete = { [unowned self] in complete.append(known.count) }
        }
    }

    private static func revocation(_ number: Int) -> Revocation {
        Revocation(target: .subject("s\(number)"), at: 1_700_000_000_000 + Int64(number), reason: "")
    }

    @Test(arguments: [1, 3] as [Int32]) func everyReaderKnowsAllAndHearsOfEachNewOne(partitions: Int32) throws {
        let topic = try Topic(partitions: partitions)
        defer { topic.close() }
        let before = (0..<30).map(Self.revocation)
        for revocation in before { topic.write(revocation) }
        topic.write("subject/x", Array("not json".utf8))
        topic.write("other", Array(#"{"type":"Other"}"#.utf8))
        let readers = try ["a", "b"].map { try Reader(topic, role: $0) }
        topic.turn("the beginning") { readers.allSatisfy { !$0.complete.isEmpty } }
        for reader in readers {
            #expect(Set(reader.known) == Set(before))
            #expect(reader.complete == [30])
        }
        topic.write(Self.revocation(30))
        topic.turn("the news") { readers.allSatisfy { $0.known.count == 31 } }
        // Who begins later knows all of it, too.
        let late = try Reader(topic, role: "c")
        topic.turn("the late one") { !late.complete.isEmpty }
        #expect(Set(late.known) == Set((0...30).map(Self.revocation)) && late.complete == [31])
        #expect(readers.allSatisfy { $0.complete == [30] })
        for reader in readers + [late] { reader.reader.close() }
    }

    @Test func anEmptyTopicIsCompleteAtOnce() throws {
        let topic = try Topic(partitions: 1)
        defer { topic.close() }
        let reader = try Reader(topic, role: "d")
        topic.turn("the end of nothing") { !reader.complete.isEmpty }
        #expect(reader.complete == [0] && reader.known.isEmpty)
        reader.reader.close()
    }
}
