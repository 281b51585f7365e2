import CRdKafka
import Foundation
import Reactor
import Testing

@testable import KafkaClient

/// A cluster that answers and refuses, one that hangs, a client that failed for good: nothing spins, what is wrong is named,
/// and everything goes on when it is right again.
@Suite(.serialized) struct RefusalTests {
    private static let missing: Int32 = 3
    private static let forbidden: Int32 = 29
    /// librdkafka takes a topic for missing at once, where it would give it 30 s to be made.
    private static let impatient = KafkaProperty("topic.metadata.propagation.max.ms", "0")

    private func impatient(_ broker: EmbeddedBroker) -> KafkaConfiguration {
        configuration(broker.bootstrapServers) { $0.properties.append(Self.impatient) }
    }

    /// The start failed with words about `linger.ms`, which nobody had set.
    @Test(arguments: ["message.timeout.ms", "delivery.timeout.ms"])
    func aTimeLimitOfMessagesGoesWithAStrictOrder(name: String) throws {
        let loop = try EventLoop()
        func make(_ value: String, _ order: KafkaProducer.Order) throws(KafkaError) {
            let configuration = configuration("127.0.0.1:1") { $0.properties.append(KafkaProperty(name, value)) }
            let producer = try KafkaProducer(loop: loop, configuration: configuration, order: order)
            producer.close(timeout: .zero) { _ in loop.stop() }
            loop.run()
        }
        for value in ["0", "1000", "30000", "300000"] {
            try make(value, .strict)
            try make(value, .usual)
        }
        let error = #expect(throws: KafkaError.self) { try make("999", .strict) }
        #expect(error?.message.hasPrefix("\(name) is 999; it must be 0 (no limit) or at least 1000") == true)
    }

    /// Six million refusals in five seconds.
    @Test(arguments: [KafkaProducer.Order.usual, .strict])
    func issue10_aMissingTopicIsRefusedAtABoundedRateAndNamed(order: KafkaProducer.Order) throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 1)])
        defer { broker.stop() }
        broker.failTopic("events", Self.missing)
        var failures = 0
        var writable = 0
        var delivered = 0
        var states: [KafkaState] = []
        var misses = 0
        try onLoop(seconds: 60) { loop, done in
            let producer = try KafkaProducer(loop: loop, configuration: impatient(broker), order: order)
            var backoff = RetryBackoff(first: 250_000_000, last: 1_000_000_000)
            func send() {
                let isTaken = producer.produce(topic: "events", key: "a", value: [1], opaque: 1)
                #expect(isTaken)
            }
            producer.onState = { states.append($0) }
            producer.onMissingTopic = {
                #expect($0 == "events")
                misses += 1
            }
            producer.onWritable = { writable += 1 }
            producer.onDelivery = { _, result in
                guard case .failure(let error) = result else {
                    delivered += 1
                    return loop.execute { producer.close(timeout: .zero) { _ in done() } }
                }
                #expect(error.isMissingTopic)
                failures += 1
                let wait = backoff.failed(at: loop.now)
                guard order == .strict else {
                    loop.schedule(after: wait) { send() }
                    return
                }
                producer.reset { loop.schedule(after: wait) { send() } }
            }
            send()
            loop.schedule(after: 5_000_000_000) {
                #expect((2...30).contains(failures))
                #expect(writable <= failures)
                #expect(misses >= 2)
                #expect(loop.statistics.turnTime < 2_000_000_000)
                guard case .refused(let reason)? = states.last else {
                    Issue.record("\(states)")
                    return
                }
                #expect(reason.contains("topic events") && reason.contains("UNKNOWN_TOPIC"))
                broker.failTopic("events", 0)
            }
        }
        #expect(delivered == 1)
        #expect(states.last == .up)
    }

    @Test func issue10_theAdminTriesAtABoundedRateAndNamesWhatItCanNotMake() throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 1)])
        defer { broker.stop() }
        broker.failTopic("events", Self.missing)
        var states: [KafkaState] = []
        try onLoop(seconds: 60) { loop, done in
            let hasty = configuration(broker.bootstrapServers) { $0.limits.creationTimeoutMilliseconds = 500 }
            let admin = try KafkaAdmin(loop: loop, configuration: hasty, topics: [topic("events")])
            admin.onState = { states.append($0) }
            var completions = 0
            admin.ensureTopics { completions += 1 }
            // Whoever misses it says so as often as he likes.
            let noise = loop.schedule(every: 1_000_000) { admin.missesTopic() }
            loop.schedule(after: 3_000_000_000) {
                #expect(completions == 0)
                #expect(loop.statistics.turnTime < 2_000_000_000)
                broker.failTopic("events", 0)
                loop.schedule(every: 100_000_000) {
                    guard completions == 1, admin.state == .up else { return }
                    loop.cancel(noise)
                    admin.cancel()
                    done()
                }
            }
        }
        #expect(states.count <= 8)
        #expect(
            states.contains {
                if case .refused(let why) = $0 { why.contains("Making the topic events") } else { false }
            })
    }

    /// What is written meanwhile arrives, and nobody takes the silence for good news.
    @Test func issue10_aConsumerWhoseBrokerIsAwayIsNotPositionedUntilItReadsAgain() throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 3)])
        defer { broker.stop() }
        var story: [String] = []
        try onLoop(seconds: 60) { loop, done in
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .end)
            var went: UInt64 = 0
            consumer.onPositioned = {
                story.append("positioned")
                if story.count == 1 {
                    went = loop.preciseNow()
                    broker.setReachable(false)
                } else {
                    #expect(consumer.isPositioned)
                    consumer.close(done)
                }
            }
            consumer.onUnpositioned = {
                story.append("unpositioned")
                #expect(!consumer.isPositioned)
                #expect(loop.preciseNow() - went < 10_000_000_000)
                loop.schedule(after: 1_000_000_000) { broker.setReachable(true) }
            }
        }
        #expect(story == ["positioned", "unpositioned", "positioned"])
    }

    /// A broker that hangs answers nothing and closes nothing.
    @Test func issue10_aConsumerWhoseBrokerHangsIsNotPositioned() throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 2)])
        defer { broker.stop() }
        var story: [String] = []
        try onLoop(seconds: 60) { loop, done in
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .beginning)
            consumer.onPositioned = {
                story.append("positioned")
                if story.count == 1 { broker.setDelay(1_500) } else { consumer.close(done) }
            }
            consumer.onUnpositioned = {
                story.append("unpositioned")
                broker.setDelay(0)
            }
        }
        #expect(story == ["positioned", "unpositioned", "positioned"])
    }

    @Test(arguments: [missing, forbidden])
    func issue10_aTopicThatIsGoneOrNotForUsIsNamedAndReadWhenItIsBack(code: Int32) throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 2)])
        defer { broker.stop() }
        var states: [KafkaState] = []
        var story: [String] = []
        try onLoop(seconds: 60) { loop, done in
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .end)
            consumer.onState = { states.append($0) }
            consumer.onPositioned = {
                story.append("positioned")
                if story.count == 1 {
                    broker.failTopic("events", code)
                    loop.schedule(after: 4_000_000_000) {
                        #expect(loop.statistics.turnTime < 2_000_000_000)
                        #expect(!consumer.isPositioned)
                        broker.failTopic("events", 0)
                    }
                } else {
                    loop.schedule(after: 500_000_000) { consumer.close(done) }
                }
            }
            consumer.onUnpositioned = { story.append("unpositioned") }
        }
        #expect(story == ["positioned", "unpositioned", "positioned"])
        #expect(states.last == .up)
        #expect(states.contains { if case .refused(let why) = $0 { why.contains("events") } else { false } })
        #expect(states.count < 20)
    }

    @Test func issue10_aProducerThatFailedForGoodIsMadeAnewAndNothingIsLost() throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 1)])
        defer { broker.stop() }
        var values: [String] = []
        try onLoop(seconds: 60) { loop, done in
            let producer = try KafkaProducer(loop: loop, configuration: configuration(broker.bootstrapServers))
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .beginning)
            var failures = 0
            func send(_ number: UInt64) {
                let isTaken = producer.produce(
                    topic: "events", key: "a", value: Array("\(number)".utf8), opaque: number)
                #expect(isTaken)
            }
            producer.onDelivery = { number, result in
                switch result {
                case .success where number == 0:
                    let client = unsafe producer.client.handle
                    _ = unsafe rd_kafka_test_fatal_error(client, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "test")
                    send(1)
                case .success: break
                case .failure:
                    failures += 1
                    #expect(failures < 20)
                    loop.schedule(after: 100_000_000) { send(number) }
                }
            }
            consumer.onRecord = { record in
                values.append(text(record.value))
                if values.count == 2 { producer.close(timeout: .zero) { _ in consumer.close(done) } }
            }
            send(0)
        }
        #expect(values == ["0", "1"])
    }

    @Test func theWorstThatAClientOfTheProcessSaysCounts() {
        var told: [String?] = []
        let health = KafkaHealth { told.append($0) }
        let (one, two, three) = (health.member(), health.member(), health.member())
        one(.up)
        two(.up)
        #expect(told == [])
        three(.up)
        one(.refused("The topic a: gone."))
        two(.refused("The topic b: gone."))
        three(.refused("The topic a: gone."))
        two(.down("away"))
        one(.up)
        two(.up)
        three(.up)
        #expect(
            told == [
                nil, "The topic a: gone.", "The topic a: gone. The topic b: gone.", "away", "The topic a: gone.", nil,
            ])
    }

    /// A thread that takes SIGTERM ends the program without a drain.
    @Test func issue10_noThreadOfLibrdkafkaTakesASignal() throws {
        let broker = try EmbeddedBroker(topics: [topic("events")])
        defer { broker.stop() }
        try onLoop { loop, done in
            let producer = try KafkaProducer(loop: loop, configuration: configuration(broker.bootstrapServers))
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .beginning)
            let admin = try KafkaAdmin(
                loop: loop, configuration: configuration(broker.bootstrapServers), topics: [topic("events")])
            consumer.onPositioned = {
                admin.ensureTopics {
                    let threads = Self.threads().filter { $0.name.hasPrefix("rdk:") }
                    #expect(threads.contains { $0.name == "rdk:mock" })
                    #expect(threads.count >= 4)
                    // SIGHUP 1, SIGINT 2, SIGTERM 15: bits from 0.
                    let most: UInt64 = 1 << 0 | 1 << 1 | 1 << 14
                    for thread in threads { #expect(thread.blocked & most == most, "\(thread)") }
                    admin.cancel()
                    producer.close(timeout: .zero) { _ in consumer.close(done) }
                }
            }
        }
    }

    private static func threads() -> [(name: String, blocked: UInt64)] {
        let folder = "/proc/self/task"
        let numbers = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return numbers.compactMap { number in
            guard let status = try? String(contentsOfFile: "\(folder)/\(number)/status", encoding: .utf8) else {
                return nil
            }
            func field(_ name: String) -> String {
                status.split(separator: "\n").first { $0.hasPrefix(name) }.map {
                    $0.dropFirst(name.count).trimmingCharacters(in: .whitespaces)
                } ?? ""
            }
            return (field("Name:"), UInt64(field("SigBlk:"), radix: 16) ?? 0)
        }
    }
}
