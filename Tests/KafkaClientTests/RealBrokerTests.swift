import Bytes
import Reactor
import TestSupport
import Testing

@testable import KafkaClient

/// The same against Apache Kafka, killed and restarted.
@Suite(
    .serialized,
    .enabled(if: KafkaBroker.isAvailable, "\(KafkaBroker.isMissing)"))
struct RealBrokerTests {
    /// One broker for all of it: starting it is what takes the time.
    @Test func kafka29_aKilledBrokerLosesNothing_kafka30_changedTopicsAreNoticed_kafka37_order() throws {
        let broker = try KafkaBroker()
        defer { broker.stop() }
        _ = try broker.topics("--create", "--topic", "keys", "--partitions", "7")
        try keysAreWhereJavaPutsThem(broker.bootstrapServers, topic: "keys", partitions: 7)
        try nothingOvertakesARefusedMessage(broker)
        try aKilledBrokerLosesNothingAndKeepsTheOrder(broker)
        try newPartitionsAreNoticedAndReadFromTheirBeginning(broker)
        try aTopicMadeAnewWithFewerPartitionsIsReadAgain(broker)
    }

    /// Topics that are deleted, made again, with other numbers of partitions, while they are read and written.
    @Test func issue10_aDeletedTopicIsMadeAgainAndEverythingGoesOn() throws {
        let broker = try KafkaBroker(options: "auto.create.topics.enable=false")
        defer { broker.stop() }
        var seen: [Int] = []
        var failures = 0
        var lost = 0
        try onLoop(seconds: 150) { loop, done in
            let here = configuration(broker.bootstrapServers)
            let specification = TopicSpecification(name: "events", partitions: 3, replicationFactor: 1)
            let admin = try KafkaAdmin(loop: loop, configuration: here, topics: [specification])
            let producer = try KafkaProducer(loop: loop, configuration: here, order: .strict)
            let consumer = try KafkaConsumer(loop: loop, configuration: here, topic: "events", start: .beginning)
            var backoff = RetryBackoff(first: 250_000_000, last: 2_000_000_000)
            var watermark = 0
            var acknowledged: Set<Int> = []
            var next = 0
            var goal = 100
            var isResetting = false
            func send() {
                while next < goal, !isResetting {
                    let isTaken = producer.produce(
                        topic: "events", key: "key-\(next % 8)", value: Array("\(next)".utf8), opaque: UInt64(next))
                    if !isTaken { return }
                    next += 1
                }
            }
            producer.onWritable = { send() }
            producer.onMissingTopic = { _ in admin.missesTopic() }
            consumer.onMissingTopic = { _ in admin.missesTopic() }
            consumer.onPositionLost = { _ in lost += 1 }
            producer.onDelivery = { number, result in
                if isResetting { return }
                guard case .failure = result else {
                    // Partitions answer in any order.
                    acknowledged.insert(Int(number))
                    while acknowledged.remove(watermark) != nil { watermark += 1 }
                    backoff.succeeded()
                    return
                }
                failures += 1
                isResetting = true
                producer.reset {
                    loop.schedule(after: backoff.failed(at: loop.now)) {
                        isResetting = false
                        acknowledged = []
                        next = watermark
                        send()
                    }
                }
            }
            consumer.onRecord = { seen.append(Int(Copy($0).value) ?? -1) }
            admin.ensureTopics { send() }
            // One step after the other, each when the one before has come through.
            var steps: [() -> Void] = [
                { _ = try! broker.topics("--delete", "--topic", "events") },
                {
                    _ = try! broker.topics("--delete", "--topic", "events")
                    _ = try! broker.topics("--create", "--topic", "events", "--partitions", "1")
                },
                { _ = try! broker.topics("--alter", "--topic", "events", "--partitions", "5") },
            ]
            loop.schedule(every: 200_000_000) {
                guard watermark == goal, seen.contains(goal - 1), consumer.isPositioned else { return }
                guard !steps.isEmpty else {
                    guard consumer.nextOffsets.count == 5 else { return }
                    admin.cancel()
                    return producer.close(timeout: .zero) { _ in consumer.close(done) }
                }
                steps.removeFirst()()
                goal += 100
                send()
            }
        }
        #expect(Set(seen).isSuperset(of: 0..<400))
        #expect((1...200).contains(failures))
        #expect(lost >= 3)
        // The first sight of each is in order for each key.
        for key in 0..<8 {
            var known: Set<Int> = []
            let first = seen.filter { $0 % 8 == key && known.insert($0).inserted }
            #expect(first == first.sorted())
        }
        #expect(try broker.topics("--describe", "--topic", "events").contains("PartitionCount: 5"))
    }

    private func aKilledBrokerLosesNothingAndKeepsTheOrder(_ broker: KafkaBroker) throws {
        var records: [Copy] = []
        var reports: Set<UInt64> = []
        let total = 4000
        try onLoop(seconds: 90) { loop, done in
            let specification = TopicSpecification(
                name: "events", partitions: 3, replicationFactor: 1, retentionMilliseconds: 3_600_000)
            let admin = try KafkaAdmin(
                loop: loop, configuration: configuration(broker.bootstrapServers), topics: [specification])
            let producer = try KafkaProducer(loop: loop, configuration: configuration(broker.bootstrapServers))
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .beginning)
            let numbers = NumberedProducer(producer, topic: "events", count: 0)
            producer.onDelivery = { opaque, result in
                if case .success = result { reports.insert(opaque) }
            }
            consumer.onRecord = { record in
                records.append(Copy(record))
                if records.count == total {
                    consumer.commit(consumer.nextOffsets)
                    producer.close(timeout: .seconds(5)) { left in
                        #expect(left == 0)
                        consumer.close(done)
                    }
                }
            }
            admin.ensureTopics {
                _ = admin
                // A quarter of the messages before, around and after the crash.
                var round = 0
                func quarter() {
                    round += 1
                    numbers.count = round * total / 4
                    numbers.go()
                    if round == 2 { broker.kill() }
                    if round == 3 { try! broker.start() }
                    if round < 4 { loop.schedule(after: 200_000_000) { quarter() } }
                }
                quarter()
            }
        }
        #expect(reports.count == total)
        #expect(records.count == total)
        for (_, numbers) in numbersByKey(records) { #expect(numbers == numbers.sorted()) }
        let description = try broker.topics("--describe", "--topic", "events")
        #expect(description.contains("PartitionCount: 3"))
        #expect(description.contains("retention.ms=3600000"))
    }

    private func newPartitionsAreNoticedAndReadFromTheirBeginning(_ broker: KafkaBroker) throws {
        try broker.topics("--create", "--topic", "growing", "--partitions", "1")
        var keys: Set<String> = []
        var partitions: Set<Int32> = []
        try onLoop(seconds: 150) { loop, done in
            let producer = try KafkaProducer(
                loop: loop,
                configuration: configuration(broker.bootstrapServers) {
                    $0.properties += [KafkaProperty("topic.metadata.refresh.interval.ms", "500")]
                })
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "growing", start: .end)
            var altered = false
            consumer.onPositioned = {
                if altered { return }
                altered = true
                _ = try! broker.topics("--alter", "--topic", "growing", "--partitions", "6")
                _ = producer.produce(topic: "growing", key: "first", value: [1])
                loop.schedule(after: 2_000_000_000) {
                    for number in 0..<50 { _ = producer.produce(topic: "growing", key: "k\(number)", value: [1]) }
                }
            }
            consumer.onRecord = { record in
                keys.insert(Copy(record).key)
                partitions.insert(record.partition)
                if keys.count == 51 { producer.close(timeout: .zero) { _ in consumer.close(done) } }
            }
        }
        #expect(keys.count == 51)
        #expect(partitions.count > 1)
    }

    private func aTopicMadeAnewWithFewerPartitionsIsReadAgain(_ broker: KafkaBroker) throws {
        try broker.topics("--create", "--topic", "anew", "--partitions", "3")
        var lost: Set<Int32> = []
        try onLoop(seconds: 150) { loop, done in
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "anew", start: .beginning)
            var isMade = false
            consumer.onPositioned = {
                if isMade { return }
                isMade = true
                _ = try! broker.topics("--delete", "--topic", "anew")
                loop.schedule(after: 1_000_000_000) {
                    _ = try! broker.topics("--create", "--topic", "anew", "--partitions", "1")
                    let producer = try! KafkaProducer(
                        loop: loop, configuration: configuration(broker.bootstrapServers))
                    _ = producer.produce(topic: "anew", key: "a", value: [1])
                    producer.onDelivery = { [producer] _, _ in
                        loop.execute { producer.close(timeout: .zero) }
                    }
                }
            }
            consumer.onPositionLost = { lost.insert($0) }
            consumer.onRecord = { record in
                #expect(record.partition == 0 && record.offset == 0)
                // The other partitions are forgotten at the next look.
                loop.schedule(after: 2_000_000_000) {
                    #expect(consumer.isPositioned)
                    #expect(consumer.nextOffsets == [0: 1])
                    consumer.close(done)
                }
            }
        }
        #expect(lost.contains(0))
    }

    /// A producer's first request on a partition is the one whose refusal the broker's sequence check does not notice. And
    /// a broker that takes less than the client's batches gets smaller ones.
    private func nothingOvertakesARefusedMessage(_ broker: KafkaBroker) throws {
        for first in [0, 3] {
            let name = "strict-\(first)"
            try broker.topics(
                "--create", "--topic", name, "--partitions", "1", "--config", "max.message.bytes=20000")
            var records: [String] = []
            var failures: [UInt64] = []
            try onLoop(seconds: 150) { loop, done in
                let producer = try KafkaProducer(
                    loop: loop, configuration: configuration(broker.bootstrapServers), order: .strict)
                let consumer = try KafkaConsumer(
                    loop: loop, configuration: configuration(broker.bootstrapServers), topic: name, start: .beginning)
                var next = 0
                var isResetting = false
                var watermark = 0
                var isRefusedForGood = false
                func go() {
                    while next < 200 {
                        // Number `first` is larger than the broker ever takes.
                        let size = next == first && !isRefusedForGood ? 30_000 : 1_000
                        let value = Array("\(next) ".utf8) + [UInt8](repeating: 120, count: size)
                        guard producer.produce(topic: name, key: "a", value: value, opaque: UInt64(next)) else {
                            return
                        }
                        next += 1
                    }
                }
                producer.onDelivery = { number, result in
                    switch result {
                    case .success:
                        if !isResetting { watermark = max(watermark, Int(number) + 1) }
                    case .failure:
                        if isResetting { return }
                        failures.append(number)
                        isResetting = true
                        if failures.count > 20 { isRefusedForGood = true }
                        producer.reset {
                            isResetting = false
                            next = watermark
                            go()
                        }
                    }
                }
                consumer.onRecord = { record in
                    records.append(String(text(record.value).prefix { $0 != " " }))
                    if records.last == "199" { producer.close(timeout: .seconds(1)) { _ in consumer.close(done) } }
                }
                go()
            }
            #expect(failures.count > 20)
            #expect(records == (0..<200).map(String.init))
        }
    }
}
