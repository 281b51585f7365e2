import Bytes
import Reactor
import Telemetry
import Testing

@testable import KafkaClient

/// Behaviours 29–32 against librdkafka's mock cluster: real sockets, no Java.
@Suite(.serialized)
struct EmbeddedBrokerTests {
    @Test func kafka29_theDeliveryReportDecidesAndEveryRecordArrivesInOrder() throws {
        let broker = try EmbeddedBroker(topics: [topic("events")])
        defer { broker.stop() }
        var records: [Copy] = []
        var reports: [UInt64] = []
        try onLoop { loop, done in
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .beginning)
            let producer = try KafkaProducer(loop: loop, configuration: configuration(broker.bootstrapServers))
            let numbers = NumberedProducer(producer, topic: "events", count: 1000)
            producer.onDelivery = { opaque, result in
                if case .success = result { reports.append(opaque) }
            }
            consumer.onRecord = { record in
                records.append(Copy(record))
                if records.count == 1000 {
                    producer.close(timeout: .seconds(5)) { left in
                        #expect(left == 0)
                        consumer.close(done)
                        _ = numbers
                    }
                }
            }
            numbers.go()
        }
        #expect(Set(reports) == Set(0..<1000))
        for (_, numbers) in numbersByKey(records) { #expect(numbers == numbers.sorted()) }
        #expect(Set(records.map(\.value)).count == 1000)
    }

    @Test func kafka_aRecordLendsKeyValueHeadersAndTime() throws {
        let broker = try EmbeddedBroker(topics: [topic("events")])
        defer { broker.stop() }
        try onLoop { loop, done in
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .beginning)
            let producer = try KafkaProducer(loop: loop, configuration: configuration(broker.bootstrapServers))
            consumer.onRecord = { record in
                let copy = Copy(record)
                #expect(copy.key == "ada" && copy.value == "{}")
                #expect(record.header("event-type") == "TripCreated")
                #expect(record.header("absent") == nil)
                #expect((record.timestampMilliseconds ?? 0) > 1_600_000_000_000)
                producer.close(timeout: .seconds(1)) { _ in consumer.close(done) }
            }
            let taken = producer.produce(
                topic: "events", key: "ada", value: Array("{}".utf8),
                headers: [KafkaHeader("content-type", "application/json"), KafkaHeader("event-type", "TripCreated")])
            #expect(taken)
        }
    }

    /// W3C Trace Context level 1: what is not valid is none.
    @Test func kafka_aRecordsTraceIsItsTraceparent() throws {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let none = "00-00000000000000000000000000000000-b7ad6b7169203331-01"
        let values = [parent, "", none, parent.uppercased(), parent + "-x", String(repeating: "0", count: 70_000)]
        let trace = TraceContext(Array(parent.utf8).span)
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 1)])
        defer { broker.stop() }
        var seen: [TraceContext] = []
        try onLoop { loop, done in
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .beginning)
            let producer = try KafkaProducer(loop: loop, configuration: configuration(broker.bootstrapServers))
            consumer.onRecord = { record in
                seen.append(record.trace)
                guard seen.count == values.count + 2 else { return }
                producer.close(timeout: .seconds(1)) { _ in consumer.close(done) }
            }
            for value in values {
                let isTaken = producer.produce(
                    topic: "events", key: "k", value: [], headers: [KafkaHeader("traceparent", value)])
                #expect(isTaken)
            }
            for trace in [trace, .none] {
                var headers: [KafkaHeader] = []
                headers.add(trace)
                #expect(headers.count == (trace.isNone ? 0 : 1))
                let isTaken = producer.produce(topic: "events", key: "k", value: [], headers: headers)
                #expect(isTaken)
            }
        }
        #expect(seen == [trace, .none, .none, .none, .none, .none, trace, .none])
        #expect(seen.first?.traceparent == parent)
    }

    @Test func kafka_aKeyGoesWhereJavasProducerPutsIt() throws {
        for partitions in [8, 7, 1] as [Int32] {
            let broker = try EmbeddedBroker(topics: [topic("keys", partitions: partitions)])
            defer { broker.stop() }
            try keysAreWhereJavaPutsThem(broker.bootstrapServers, topic: "keys", partitions: partitions)
        }
    }

    @Test func kafka29_aFullQueuePausesAndNothingIsDropped() throws {
        let broker = try EmbeddedBroker(topics: [topic("events")])
        defer { broker.stop() }
        var delivered = 0
        var refusals = 0
        try onLoop { loop, done in
            let small = configuration(broker.bootstrapServers) { $0.limits.producerMessages = 10 }
            let producer = try KafkaProducer(loop: loop, configuration: small)
            let numbers = NumberedProducer(producer, topic: "events", count: 200)
            let again = producer.onWritable
            producer.onWritable = {
                refusals += 1
                again()
            }
            producer.onDelivery = { _, result in
                if case .success = result { delivered += 1 }
                if delivered == 200 { producer.close(timeout: .zero) { _ in done() } }
                _ = numbers
            }
            numbers.go()
            #expect(numbers.next <= 10)
        }
        #expect(delivered == 200)
        #expect(refusals > 0)
    }

    @Test func kafka29_afterAFailureTheProducerIsResetAndResumesInOrder() throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 1)])
        defer { broker.stop() }
        var records: [Copy] = []
        var failures = 0
        try onLoop { loop, done in
            let producer = try KafkaProducer(
                loop: loop, configuration: configuration(broker.bootstrapServers), order: .strict)
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .beginning)
            var watermark = 0
            var resetting = false
            let numbers = NumberedProducer(producer, topic: "events", count: 50, keys: 1)
            producer.onDelivery = { opaque, result in
                switch result {
                case .success where !resetting && Int(opaque) == watermark: watermark += 1
                case .success: break
                case .failure:
                    failures += 1
                    if resetting { return }
                    resetting = true
                    producer.reset {
                        resetting = false
                        numbers.next = watermark
                        numbers.go()
                    }
                }
            }
            // MSG_SIZE_TOO_LARGE: a permanent error, so the report is a failure.
            broker.failProduceRequests([10])
            consumer.onRecord = { record in
                records.append(Copy(record))
                if records.last?.value == "49" {
                    producer.close(timeout: .seconds(1)) { _ in consumer.close(done) }
                }
            }
            numbers.go()
        }
        #expect(failures > 0)
        #expect(records.map(\.value) == (0..<50).map(String.init))
    }

    /// librdkafka builds the next request of a partition while one is under way, and sends it when that one is refused.
    @Test func kafka29_nothingOvertakesARefusedMessage() throws {
        for refused in [0, 1, 7] {
            let broker = try EmbeddedBroker(topics: [topic("events", partitions: 1)])
            defer { broker.stop() }
            var records: [Copy] = []
            try onLoop { loop, done in
                let producer = try KafkaProducer(
                    loop: loop, configuration: configuration(broker.bootstrapServers), order: .strict)
                let consumer = try KafkaConsumer(
                    loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events",
                    start: .beginning)
                func send(_ numbers: Range<Int>) {
                    for number in numbers {
                        let isTaken = producer.produce(
                            topic: "events", key: "a", value: Array("\(number)".utf8), opaque: UInt64(number))
                        #expect(isTaken)
                    }
                }
                var delivered = 0
                var failures = 0
                producer.onDelivery = { number, result in
                    if case .success = result {
                        delivered += 1
                        if delivered == refused {
                            broker.failProduceRequests([10])
                            send(refused..<(refused + 1))
                            // Whatever is built while the refused one is under way.
                            loop.schedule(after: 1_000_000) { send((refused + 1)..<40) }
                        }
                    } else {
                        failures += 1
                        if failures == 1 { #expect(number == UInt64(refused)) }
                    }
                }
                consumer.onRecord = { record in
                    records.append(Copy(record))
                    if records.last?.value == "49" {
                        producer.close(timeout: .seconds(1)) { _ in consumer.close(done) }
                    }
                }
                if refused == 0 {
                    broker.failProduceRequests([10])
                    send(0..<1)
                    loop.schedule(after: 8_000_000) { send(1..<40) }
                } else {
                    send(0..<refused)
                }
                loop.schedule(after: 1_000_000_000) {
                    // Those that a busy machine let into the refused one's request have failed with it; the rest waits.
                    #expect(failures >= 1 && failures + producer.pending == 40 - refused)
                    producer.reset {
                        #expect(failures == 40 - refused)
                        send(40..<50)
                    }
                }
            }
            #expect(records.map(\.value) == (Array(0..<refused) + Array(40..<50)).map(String.init))
        }
    }

    @Test func kafka30_positionedMeansThatEveryPartitionReported() throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 6)])
        defer { broker.stop() }
        try onLoop { loop, done in
            let consumer = try KafkaConsumer(
                loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events", start: .end)
            let producer = try KafkaProducer(loop: loop, configuration: configuration(broker.bootstrapServers))
            consumer.onPositioned = {
                #expect(consumer.isPositioned)
                #expect(consumer.nextOffsets.count == 6)
                #expect(consumer.clusterID != nil)
                _ = producer.produce(topic: "events", key: "after", value: [1])
            }
            consumer.onRecord = { record in
                #expect(Copy(record).key == "after")
                producer.close(timeout: .seconds(1)) { _ in consumer.close(done) }
            }
        }
    }

    @Test func kafka30_aLostOffsetIsReportedAndReadFromTheBeginning() throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 1)])
        defer { broker.stop() }
        var lost: [Int32] = []
        var positioned = 0
        try onLoop { loop, done in
            let producer = try KafkaProducer(loop: loop, configuration: configuration(broker.bootstrapServers))
            _ = producer.produce(topic: "events", key: "a", value: [1])
            producer.onDelivery = { _, _ in
                let consumer = try! KafkaConsumer(
                    loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events",
                    start: .offsets([0: 9_999], clusterID: nil))
                consumer.onPositionLost = { lost.append($0) }
                consumer.onPositioned = { positioned += 1 }
                consumer.onRecord = { record in
                    #expect(record.offset == 0)
                    loop.execute { producer.close(timeout: .zero) { _ in consumer.close(done) } }
                }
            }
        }
        #expect(lost == [0])
        #expect(positioned == 1)
    }

    @Test func kafka30_offsetsOfAnotherClusterStartAtTheBeginning() throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 1)])
        defer { broker.stop() }
        var lost: [Int32] = []
        try onLoop { loop, done in
            let producer = try KafkaProducer(loop: loop, configuration: configuration(broker.bootstrapServers))
            _ = producer.produce(topic: "events", key: "a", value: [1])
            producer.onDelivery = { _, _ in
                let consumer = try! KafkaConsumer(
                    loop: loop, configuration: configuration(broker.bootstrapServers), topic: "events",
                    start: .offsets([0: 1], clusterID: "some-other-cluster"))
                consumer.onPositionLost = { lost.append($0) }
                consumer.onRecord = { record in
                    #expect(record.offset == 0)
                    loop.execute { producer.close(timeout: .zero) { _ in consumer.close(done) } }
                }
            }
        }
        #expect(lost == [0])
    }

    @Test func kafka31_theQueueIsDrainedWhateverTheBudgetAndThePauses() throws {
        let broker = try EmbeddedBroker(topics: [topic("events")])
        defer { broker.stop() }
        var count = 0
        try onLoop { loop, done in
            let stingy = configuration(broker.bootstrapServers) { $0.limits.eventsPerTurn = 3 }
            let producer = try KafkaProducer(loop: loop, configuration: stingy)
            let consumer = try KafkaConsumer(
                loop: loop, configuration: stingy, topic: "events", start: .beginning)
            let numbers = NumberedProducer(producer, topic: "events", count: 3000)
            consumer.onRecord = { _ in
                count += 1
                if count % 500 == 0 {
                    consumer.pause()
                    loop.schedule(after: 5_000_000) { consumer.resume() }
                }
                if count == 3000 {
                    producer.close(timeout: .seconds(1)) { _ in consumer.close(done) }
                    _ = numbers
                }
            }
            numbers.go()
        }
        #expect(count == 3000)
    }

    @Test func kafka32_anUnreachableBrokerIsReportedAndNothingIsLost() throws {
        let broker = try EmbeddedBroker(topics: [topic("events", partitions: 1)])
        defer { broker.stop() }
        var states: [String] = []
        var delivered = 0
        try onLoop { loop, done in
            let producer = try KafkaProducer(loop: loop, configuration: configuration(broker.bootstrapServers))
            producer.onState = { state in
                switch state {
                case .connecting, .refused: break
                case .up:
                    states.append("up")
                    if states.count == 1 {
                        broker.setReachable(false)
                        for number in 0..<20 {
                            _ = producer.produce(topic: "events", key: "a", value: [UInt8(number)])
                        }
                    }
                case .down:
                    states.append("down")
                    #expect(delivered == 0)
                    broker.setReachable(true)
                }
            }
            producer.onDelivery = { _, result in
                if case .success = result { delivered += 1 }
                if delivered == 20 { producer.close(timeout: .zero) { _ in done() } }
            }
        }
        #expect(states.prefix(3) == ["up", "down", "up"])
    }

    @Test func kafka_topicsThatAreThereAreLeftAsTheyAre() throws {
        let broker = try EmbeddedBroker(topics: [topic("events")])
        defer { broker.stop() }
        try onLoop { loop, done in
            let admin = try KafkaAdmin(
                loop: loop, configuration: configuration(broker.bootstrapServers), topics: [topic("events")])
            admin.ensureTopics {
                _ = admin
                done()
            }
        }
    }

    @Test func kafka_aBadPropertyIsRefusedByName() throws {
        let loop = try EventLoop()
        let bad = configuration("127.0.0.1:1") { $0.properties = [KafkaProperty("no.such.property", "1")] }
        let error = #expect(throws: KafkaError.self) { try KafkaProducer(loop: loop, configuration: bad) }
        #expect(error?.message.contains("no.such.property") == true)
    }
}
