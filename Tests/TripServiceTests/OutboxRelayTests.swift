import Bytes
import Glibc
import KafkaClient
import Reactor
import RideAPI
import RideDomain
import Telemetry
import TestSupport
import Testing

@testable import TripService

/// Behaviour 37: every committed change reaches Kafka at least once, in order per driver.
@Suite(.serialized) struct OutboxRelayTests {
    private let topic = TopicSpecification(name: "trip_events", partitions: 4, replicationFactor: 1)

    /// What arrived: per driver, in order.
    final class Arrivals {
        var seqs: [String: [UInt64]] = [:]
        var kinds: [UInt64: String] = [:]
        var count = 0

        func take(_ record: borrowing KafkaRecord) {
            count += 1
            guard case .trip(let event) = try? RideEvent(decoding: record.value) else {
                Issue.record("not a trip event")
                return
            }
            #expect(record.header("event-type") == event.kind.rawValue)
            #expect(record.header("event-id") == event.eventID)
            seqs[event.driverID, default: []].append(event.seq)
            kinds[event.seq] = event.kind.rawValue
        }

        /// Whether the first sight of each event of a driver is in order.
        var isInOrder: Bool {
            seqs.values.allSatisfy { all in
                var seen: Set<UInt64> = []
                let first = all.filter { seen.insert($0).inserted }
                return first == first.sorted()
            }
        }
    }

    private func configuration(_ broker: EmbeddedBroker) -> KafkaConfiguration {
        KafkaConfiguration(
            bootstrapServers: broker.bootstrapServers, properties: EmbeddedBroker.properties,
            metadataInterval: .milliseconds(500))
    }

    private func consume(_ broker: EmbeddedBroker, _ desk: Desk) throws -> (KafkaConsumer, Arrivals) {
        let consumer = try KafkaConsumer(
            loop: desk.loop, configuration: configuration(broker), topic: "trip_events", start: .beginning)
        let arrivals = Arrivals()
        consumer.onRecord = { arrivals.take($0) }
        return (consumer, arrivals)
    }

    private func relay(
        _ broker: EmbeddedBroker, _ desk: Desk, _ logger: Logger = Logger(label: "outbox")
    ) throws -> (KafkaProducer, OutboxRelay) {
        let producer = try KafkaProducer(loop: desk.loop, configuration: configuration(broker), order: .strict)
        let relay = OutboxRelay(
            loop: desk.loop, repository: desk.repository, producer: producer, start: desk.start, logger: logger)
        desk.book.onChange = { relay.add($0) }
        return (producer, relay)
    }

    private func close(_ desk: Desk, _ producer: KafkaProducer, _ consumer: KafkaConsumer) {
        var isClosed = false
        producer.close(timeout: .zero) { _ in consumer.close { isClosed = true } }
        desk.turn { isClosed }
        desk.close()
    }

    /// Books every driver once and ends every trip: three rows a driver.
    private func rides(_ desk: Desk, _ round: String) throws {
        let created = desk.createAtOnce(
            desk.directory.drivers.map { desk.request(rider: "\(round)-\($0.driver.id)", driver: $0.driver.id) })
        let ids = try created.map { try $0.get().trip.id }
        for action in [TripAction.pickUp, .complete] {
            var done = 0
            for id in ids {
                desk.loop.start {
                    _ = try? await desk.book.change(id, action, deadline: .max)
                    done += 1
                }
            }
            desk.turn { done == ids.count }
        }
    }

    @Test func domain37_everyChangeArrivesInOrderPerDriver() throws {
        let broker = try EmbeddedBroker(topics: [topic])
        let desk = try Desk(drivers: 50)
        let (consumer, arrivals) = try consume(broker, desk)
        let (producer, relay) = try relay(broker, desk)
        relay.start()
        try rides(desk, "a")
        try rides(desk, "b")
        desk.turn { relay.pending == 0 && arrivals.kinds.count == 300 }
        #expect(arrivals.isInOrder)
        #expect(arrivals.seqs.count == 50)
        #expect(arrivals.kinds.values.filter { $0 == "TripPickedUp" }.count == 100)
        close(desk, producer, consumer)
        broker.stop()
    }

    /// The trace of a request goes with the events that it causes: from memory, and from the outbox after a restart.
    @Test func anEventCarriesTheTraceOfItsRequest() throws {
        func trace(_ digit: Character) -> TraceContext {
            TraceContext(Array("00-\(String(repeating: digit, count: 32))-00f067aa0ba902b7-01".utf8).span)
        }
        let broker = try EmbeddedBroker(topics: [topic])
        let desk = try Desk(drivers: 2)
        // Before the relay hears of changes: it reads this one and the next from the outbox, and the third comes from memory.
        let first = try desk.createAtOnce(
            [desk.request(rider: "r0", driver: "d0")], origin: RequestOrigin(requestID: "q", trace: trace("1"))
        )[0].get().trip
        let (producer, relay) = try relay(broker, desk)
        let consumer = try KafkaConsumer(
            loop: desk.loop, configuration: configuration(broker), topic: "trip_events", start: .beginning)
        var traces: [UInt64: TraceContext] = [:]
        consumer.onRecord = { record in
            if case .trip(let event)? = try? RideEvent(decoding: record.value) { traces[event.seq] = record.trace }
        }
        relay.start()
        for (action, digit, count) in [(TripAction.pickUp, Character("2"), 2), (.complete, "3", 3)] {
            desk.loop.start { _ = try? await desk.book.change(first.id, action, deadline: .max, trace: trace(digit)) }
            desk.turn { traces.count == count }
        }
        _ = try desk.create(rider: "r1", driver: "d1").get()
        desk.turn { traces.count == 4 }
        #expect(traces == [1: trace("1"), 2: trace("2"), 3: trace("3"), 4: .none])
        #expect(try desk.outbox().map(\.trace) == [trace("1"), trace("2"), trace("3"), .none])
        close(desk, producer, consumer)
        broker.stop()
    }

    @Test func aFailedDeliveryIsLoggedWithTheTraceOfItsRequest() throws {
        var ends: [Int32] = [0, 0]
        #expect(unsafe pipe(&ends) == 0)
        let sink = LogSink(descriptor: ends[1], level: .info, format: .json)
        let broker = try EmbeddedBroker(topics: [topic])
        let desk = try Desk(drivers: 2)
        let (consumer, arrivals) = try consume(broker, desk)
        let (producer, relay) = try relay(broker, desk, Logger(label: "outbox", sink: sink))
        relay.start()
        // A first one that Kafka takes: it is there, and its topic.
        _ = try desk.create(rider: "r0", driver: "d0").get()
        desk.turn { relay.pending == 0 }
        // MSG_SIZE_TOO_LARGE: refused for good.
        broker.failProduceRequests([10])
        let trace = TraceContext(Array("00-\(String(repeating: "7", count: 32))-00f067aa0ba902b7-01".utf8).span)
        _ = desk.createAtOnce(
            [desk.request(rider: "r1", driver: "d1")], origin: RequestOrigin(requestID: "q", trace: trace))
        desk.turn { relay.pending == 0 && arrivals.kinds.count == 2 }
        sink.flush()
        Glibc.close(ends[1])
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = unsafe read(ends[0], &bytes, bytes.count)
        Glibc.close(ends[0])
        let lines = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: "\n")
        #expect(
            lines.contains { $0.contains("was not delivered") && $0.contains("\"trace_id\":\"\(trace.traceID)\"") },
            "\(lines)")
        close(desk, producer, consumer)
        broker.stop()
    }

    @Test func domain37_afterAFailedDeliveryItGoesOnFromTheWatermark() throws {
        let broker = try EmbeddedBroker(topics: [topic])
        let desk = try Desk(drivers: 50)
        let (consumer, arrivals) = try consume(broker, desk)
        let (producer, relay) = try relay(broker, desk)
        relay.start()
        try rides(desk, "a")
        // MSG_SIZE_TOO_LARGE: refused for good, four times.
        broker.failProduceRequests([10, 10, 10, 10])
        try rides(desk, "b")
        desk.turn { relay.pending == 0 && arrivals.kinds.count == 300 }
        #expect(arrivals.isInOrder)
        close(desk, producer, consumer)
        broker.stop()
    }

    @Test func domain37_whileKafkaIsAwayBookingsGoOnAndAfterwardsNothingIsMissing() throws {
        let broker = try EmbeddedBroker(topics: [topic])
        let desk = try Desk(drivers: 50)
        let (consumer, arrivals) = try consume(broker, desk)
        let (producer, relay) = try relay(broker, desk)
        relay.start()
        try rides(desk, "a")
        broker.setReachable(false)
        try rides(desk, "b")
        #expect(relay.pending > 0)
        broker.setReachable(true)
        desk.turn { relay.pending == 0 && arrivals.kinds.count == 300 }
        #expect(arrivals.isInOrder)
        close(desk, producer, consumer)
        broker.stop()
    }

    @Test func domain37_aRestartSendsWhatWasNotSentAndNothingTwiceAfterAnOrderlyEnd() throws {
        let broker = try EmbeddedBroker(topics: [topic])
        let folder = TemporaryFolder()
        do {
            // Kafka was never there.
            let desk = try Desk(drivers: 20, path: folder.file("trip.db"))
            try rides(desk, "a")
            desk.close()
        }
        do {
            let desk = try Desk(drivers: 20, path: folder.file("trip.db"))
            let (consumer, arrivals) = try consume(broker, desk)
            let (producer, relay) = try relay(broker, desk)
            #expect(relay.pending == 60)
            relay.start()
            try rides(desk, "b")
            desk.turn { arrivals.kinds.count == 120 }
            #expect(arrivals.isInOrder)
            var isIdle = false
            relay.whenIdle { isIdle = true }
            desk.turn { isIdle }
            close(desk, producer, consumer)
        }
        let desk = try Desk(drivers: 20, path: folder.file("trip.db"))
        #expect(desk.start.watermark == 120 && desk.start.lastSeq == 120)
        desk.close()
        broker.stop()
    }

    /// Six million refusals in five seconds, with one core for nothing else.
    @Test func issue10_aMissingTopicKeepsTheEventsInTheOutboxAndNothingBusy() throws {
        let broker = try EmbeddedBroker(topics: [topic])
        broker.failTopic("trip_events", 3)
        let desk = try Desk(drivers: 20)
        var impatient = configuration(broker)
        // librdkafka takes the topic for missing at once, where it would give it 30 s to be made.
        impatient.properties.append(KafkaProperty("topic.metadata.propagation.max.ms", "0"))
        let producer = try KafkaProducer(loop: desk.loop, configuration: impatient, order: .strict)
        let relay = OutboxRelay(
            loop: desk.loop, repository: desk.repository, producer: producer, start: desk.start)
        var refusals = 0
        let delivered = producer.onDelivery
        producer.onDelivery = {
            // Not what the producer takes back by itself.
            if case .failure(let error) = $1, !error.name.contains("PURGE") { refusals += 1 }
            delivered($0, $1)
        }
        desk.book.onChange = { relay.add($0) }
        relay.start()
        try rides(desk, "a")
        let before = desk.loop.statistics.turnTime
        var isOver = false
        desk.loop.schedule(after: 5_000_000_000) { isOver = true }
        desk.turn { isOver }
        #expect(desk.loop.statistics.turnTime - before < 2_000_000_000)
        #expect((1...100).contains(refusals))
        #expect(relay.pending == 60)
        #expect(relay.depth.value == 60)
        guard case .refused(let reason) = producer.state else {
            Issue.record("\(producer.state)")
            return
        }
        #expect(reason.contains("trip_events") && reason.contains("UNKNOWN_TOPIC"))
        broker.failTopic("trip_events", 0)
        let (consumer, arrivals) = try consume(broker, desk)
        desk.turn { relay.pending == 0 && arrivals.kinds.count == 60 }
        #expect(arrivals.isInOrder)
        #expect(relay.depth.value == 0)
        close(desk, producer, consumer)
        broker.stop()
    }
}
