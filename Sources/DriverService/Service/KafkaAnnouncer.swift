import Basics
import Bytes
import KafkaClient
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// Writes `driver_locations`, keyed by driver.
///
///     announce ──room──▶ Kafka ──refused──▶ waiting ──back-off──▶ a few as a probe ──taken──▶ all that wait
///         └──none, or refused lately──▶ waiting
///
/// Nothing is dropped in silence: while Kafka is slow, away or refuses, a driver's further events are merged into one with
/// their newest state, so that what waits is bounded by the number of drivers. It goes out when there is room; what was
/// refused (a topic that was deleted, an ACL, a size) after a back-off of this announcer's own, whether anything happens
/// meanwhile or not. On the loop.
final class KafkaAnnouncer: DriverAnnouncer {
    private let loop: EventLoop
    private let producer: KafkaProducer
    let metrics = DriverAnnouncerMetrics()
    private let logger = Logger(label: "announcer")
    /// Gives a driver's newest state.
    var driver: (Int32) -> Driver? = { _ in nil }

    private var waiting = WaitingDrivers()
    private var backoff: RetryBackoff
    /// Set from a refusal until its back-off is over: nothing is sent meanwhile.
    private var retryTimer: TimerID?
    /// Events that may be sent before one is taken again; nil: any number.
    private var probes: Int?
    private var isSending = false
    private var refusalLogs = LogRateLimit()
    private var random: SplitMix
    private var identifiers = UUIDv7Generator()
    private var value = ByteBuffer()

    init(loop: EventLoop, producer: KafkaProducer) {
        self.loop = loop
        self.producer = producer
        backoff = RetryBackoff(first: DriverLimits.announceRetry.first, last: DriverLimits.announceRetry.last)
        random = SplitMix(seed: .random(in: .min ... .max))
        producer.onWritable = { [weak self] in self?.sendWaiting() }
        producer.onDelivery = { [weak self] opaque, result in self?.delivered(opaque, result) }
    }

    /// Drivers whose newest event has not been handed to Kafka.
    var backlog: Int { waiting.count }

    /// An event that has to wait forgets its trace: it may be of many changes by the time it is sent.
    func announce(_ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext) {
        if maySend && !waiting.contains(slot) && send(slot, driver, reason, trace) { return }
        wait(slot, reason)
    }

    private var maySend: Bool {
        retryTimer == nil && probes != 0 && producer.pending < DriverLimits.eventsInFlight
    }

    private func wait(_ slot: Int32, _ reason: DriverLocationUpdate.Reason) {
        if !waiting.add(slot, reason) { metrics.mergedEvents.increment() }
        metrics.backlog.set(waiting.count)
    }

    /// Sends what waits, as far as there is room: some in this turn, the rest in the next ones.
    private func sendWaiting() {
        if isSending { return }
        var sent = 0
        while sent < DriverLimits.announcementsPerTurn, maySend, let (slot, reason) = waiting.first {
            if let driver = driver(slot), !send(slot, driver, reason) { break }
            waiting.removeFirst()
            sent += 1
        }
        metrics.backlog.set(waiting.count)
        guard sent == DriverLimits.announcementsPerTurn, maySend, waiting.count > 0 else { return }
        isSending = true
        loop.schedule(after: 0) { [weak self] in
            self?.isSending = false
            self?.sendWaiting()
        }
    }

    private func delivered(_ opaque: UInt64, _ result: Result<Int64, KafkaError>) {
        switch result {
        case .success:
            // Another's refusal may still be waited for: only its own timer ends that.
            if retryTimer == nil {
                backoff.succeeded()
                probes = nil
            }
            if waiting.count > 0, producer.pending < DriverLimits.eventsInFlight / 2 { sendWaiting() }
        case .failure(let error):
            refused(error)
            // Their newest state goes with the next round.
            if let slot = Int32(exactly: opaque) { wait(slot, .status) }
        }
    }

    /// The producer tries without a limit in time, so this is a refusal for good as things are.
    private func refused(_ error: KafkaError) {
        metrics.refused.increment()
        if let held = refusalLogs.admit(now: loop.now) {
            logger.error(
                "an event about a driver was refused; the newest state of each is tried again",
                metadata: ["error": error.description, "waiting": "\(waiting.count)", "held_back": "\(held)"])
        }
        // One wait for all that were refused together.
        guard retryTimer == nil else { return }
        probes = 0
        retryTimer = loop.schedule(after: backoff.failed(at: loop.now)) { [weak self] in
            guard let self else { return }
            retryTimer = nil
            probes = DriverLimits.announcementProbes
            sendWaiting()
        }
    }

    private func send(
        _ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext = .none
    ) -> Bool {
        let now = loop.wallClockMilliseconds
        let event = DriverLocationUpdate(
            eventID: identifiers.next(milliseconds: now, using: &random).text, seq: driver.revision,
            at: driver.updatedAt, driverID: driver.id, lat: driver.position.lat, lon: driver.position.lon,
            heading: driver.heading, speed: driver.speed, status: driver.status, reason: reason)
        value.removeAll()
        event.encode(into: &value)
        var headers = [
            KafkaHeader("content-type", "application/json"), KafkaHeader("event-type", "DriverLocationUpdate"),
            KafkaHeader("event-id", event.eventID),
        ]
        headers.add(trace)
        let isTaken = producer.produce(
            topic: DriverLocationUpdate.topic, key: driver.id, value: value.span, headers: headers,
            opaque: UInt64(UInt32(slot)))
        if isTaken {
            metrics.events.increment()
            if let left = probes { probes = left - 1 }
        }
        return isTaken
    }
}

/// Drivers with an event to send, in the order in which they came to wait, and why: each once.
private struct WaitingDrivers {
    private var order: [Int32] = []
    private var head = 0
    private var reasons: [Int32: DriverLocationUpdate.Reason] = [:]

    var count: Int { reasons.count }

    func contains(_ slot: Int32) -> Bool { reasons[slot] != nil }

    var first: (slot: Int32, reason: DriverLocationUpdate.Reason)? {
        guard head < order.count, let reason = reasons[order[head]] else { return nil }
        return (order[head], reason)
    }

    /// False if the driver waits already: both events are one now.
    mutating func add(_ slot: Int32, _ reason: DriverLocationUpdate.Reason) -> Bool {
        guard let known = reasons[slot] else {
            reasons[slot] = reason
            order.append(slot)
            return true
        }
        // A position says less than a change of status does.
        reasons[slot] = reason == .location ? known : reason
        return false
    }

    mutating func removeFirst() {
        reasons[order[head]] = nil
        head += 1
        // Compacted when half of it is done.
        if head > 64 && head * 2 > order.count {
            order.removeFirst(head)
            head = 0
        }
    }
}
