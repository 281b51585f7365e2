import Bytes
import KafkaClient
import Reactor
import RideAPI
import RideDomain

/// Writes `driver_locations`, keyed by driver.
///
/// Nothing is dropped in silence: while Kafka is slow or away and enough is under way already, a driver's further events
/// are merged into one with his newest state, so that what waits is bounded by the number of drivers; it goes out as
/// soon as there is room. On the loop.
final class KafkaAnnouncer: DriverAnnouncer {
    static let topic = "driver_locations"

    private let loop: EventLoop
    private let producer: KafkaProducer
    private let metrics = DriverAnnouncerMetrics()
    /// Gives a driver's newest state.
    var driver: (Int32) -> Driver? = { _ in nil }

    /// Drivers with an event to send, in the order in which they came to wait.
    private var waiting: [Int32] = []
    private var reasons: [Int32: DriverLocationUpdate.Reason] = [:]
    private var random: SeededRandom
    private var identifiers = UUIDv7Generator()
    private var value = ByteBuffer()

    init(loop: EventLoop, producer: KafkaProducer) {
        self.loop = loop
        self.producer = producer
        random = SeededRandom(seed: .random(in: .min ... .max))
        producer.onWritable = { [weak self] in self?.sendWaiting() }
        producer.onDelivery = { [weak self] opaque, result in self?.delivered(opaque, result) }
    }

    /// Drivers whose newest event has not been handed to Kafka.
    var backlog: Int { reasons.count }

    func announce(_ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason) {
        if reasons[slot] != nil || producer.pending >= DriverLimits.eventsInFlight || !send(slot, driver, reason) {
            wait(slot, reason)
        }
    }

    private func wait(_ slot: Int32, _ reason: DriverLocationUpdate.Reason) {
        if let known = reasons[slot] {
            metrics.mergedEvents.increment()
            // A position says less than a change of status does.
            reasons[slot] = reason == .location ? known : reason
        } else {
            reasons[slot] = reason
            waiting.append(slot)
        }
    }

    private func sendWaiting() {
        var sent = 0
        for slot in waiting {
            guard producer.pending < DriverLimits.eventsInFlight, let reason = reasons[slot] else { break }
            guard let driver = driver(slot), send(slot, driver, reason) else { break }
            reasons[slot] = nil
            sent += 1
        }
        waiting.removeFirst(sent)
    }

    private func delivered(_ opaque: UInt64, _ result: Result<Int64, KafkaError>) {
        if case .failure = result {
            // The producer tries without a limit in time, so this is a refusal for good (a topic that was deleted): the
            // driver's newest state is tried again with the next round.
            wait(Int32(truncatingIfNeeded: opaque), .status)
            return
        }
        if !waiting.isEmpty, producer.pending < DriverLimits.eventsInFlight / 2 { sendWaiting() }
    }

    private func send(_ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason) -> Bool {
        let now = loop.wallClockMilliseconds
        let event = DriverLocationUpdate(
            eventID: identifiers.next(milliseconds: now, using: &random).text, seq: driver.revision,
            at: driver.updatedAt,
            driverID: driver.id, lat: driver.position.lat, lon: driver.position.lon, heading: driver.heading,
            speed: driver.speed, status: Driver_V1_DriverStatus(driver.status), reason: reason)
        value.removeAll()
        event.encode(into: &value)
        let headers = [
            KafkaHeader("content-type", "application/json"), KafkaHeader("event-type", "DriverLocationUpdate"),
            KafkaHeader("event-id", event.eventID),
        ]
        let isTaken = producer.produce(
            topic: Self.topic, key: driver.id, value: value.span, headers: headers, opaque: UInt64(UInt32(slot)))
        if isTaken { metrics.events.increment() }
        return isTaken
    }
}
