import Bytes
import Reactor
import Testing

@testable import KafkaClient

/// Runs a loop on this thread until `body`'s `done` is called, or records a failure after `seconds`.
func onLoop(seconds: UInt64 = 30, _ body: (EventLoop, _ done: @escaping () -> Void) throws -> Void) throws {
    let loop = try EventLoop()
    var finished = false
    loop.schedule(after: seconds * 1_000_000_000) {
        if !finished { Issue.record("nothing came within \(seconds) s") }
        loop.stop()
    }
    try body(loop) {
        finished = true
        loop.stop()
    }
    loop.run()
}

func configuration(_ bootstrapServers: String, _ change: (inout KafkaConfiguration) -> Void = { _ in })
    -> KafkaConfiguration
{
    var configuration = KafkaConfiguration(
        bootstrapServers: bootstrapServers, properties: EmbeddedBroker.properties, metadataInterval: .milliseconds(500),
        livenessInterval: .milliseconds(500))
    change(&configuration)
    return configuration
}

func topic(_ name: String, partitions: Int32 = 4) -> TopicSpecification {
    TopicSpecification(name: name, partitions: partitions, replicationFactor: 1)
}

/// What a test keeps of a record.
struct Copy: Equatable {
    let key: String
    let value: String
    let partition: Int32
    let offset: Int64

    init(_ record: borrowing KafkaRecord) {
        key = text(record.key)
        value = text(record.value)
        partition = record.partition
        offset = record.offset
    }
}

func text(_ span: Span<UInt8>) -> String {
    String(decoding: unsafe span.withUnsafeBytes { unsafe [UInt8]($0) }, as: UTF8.self)
}

/// Keys and their hashes as Java's producer has them: `org.apache.kafka.common.utils.Utils.murmur2`, from the test of it. The
/// partition is the hash without its sign, modulo the number of partitions.
let javaHashes: [(key: String, hash: Int32)] = [
    ("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536),
    ("a-little-bit-longer-string", -1_486_304_829),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971), ("abc", 479_470_107),
]

/// Writes these keys into a topic and expects each where Java's producer would put it.
func keysAreWhereJavaPutsThem(_ bootstrapServers: String, topic: String, partitions: Int32) throws {
    var seen: [String: Int32] = [:]
    try onLoop { loop, done in
        let consumer = try KafkaConsumer(
            loop: loop, configuration: configuration(bootstrapServers), topic: topic, start: .beginning)
        let usual = try KafkaProducer(loop: loop, configuration: configuration(bootstrapServers))
        let strict = try KafkaProducer(loop: loop, configuration: configuration(bootstrapServers), order: .strict)
        var count = 0
        consumer.onRecord = { record in
            let copy = Copy(record)
            #expect(seen[copy.key] ?? copy.partition == copy.partition)
            seen[copy.key] = copy.partition
            count += 1
            guard count == javaHashes.count * 2 else { return }
            usual.close(timeout: .seconds(1)) { _ in
                strict.close(timeout: .seconds(1)) { _ in consumer.close(done) }
            }
        }
        for (key, _) in javaHashes {
            for producer in [usual, strict] {
                let isTaken = producer.produce(topic: topic, key: key, value: [])
                #expect(isTaken)
            }
        }
    }
    for (key, hash) in javaHashes { #expect(seen[key] == (hash & Int32.max) % partitions, "\(key)") }
}

/// Produces `count` numbered messages over `keys` keys, waiting whenever the queue is full. Opaque: the number.
final class NumberedProducer {
    let producer: KafkaProducer
    let topic: String
    var count: Int
    let keys: Int
    var next = 0

    init(_ producer: KafkaProducer, topic: String, count: Int, keys: Int = 8) {
        self.producer = producer
        self.topic = topic
        self.count = count
        self.keys = keys
        producer.onWritable = { [weak self] in self?.go() }
    }

    func go() {
        while next < count {
            let taken = producer.produce(
                topic: topic, key: "key-\(next % keys)", value: Array("\(next)".utf8), opaque: UInt64(next))
            if !taken { return }
            next += 1
        }
    }
}

/// The numbers of each key, in the order of reading.
func numbersByKey(_ records: [Copy]) -> [String: [Int]] {
    var result: [String: [Int]] = [:]
    for record in records { result[record.key, default: []].append(Int(record.value) ?? -1) }
    return result
}
