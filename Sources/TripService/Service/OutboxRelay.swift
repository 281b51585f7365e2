import KafkaClient
import Reactor
import RideDomain
import Storage
import Telemetry

/// Sends the outbox to Kafka in order, at least once, however long Kafka is away.
///
///     idle ──change──▶ sending ──failed report──▶ resetting ──all reported──▶ waiting ──backoff──▶ sending
///       ▲                 │                                                                          │
///       └─ all delivered ─┘                    from the watermark again ◀────────────────────────────┘
///
/// The watermark is the last row up to which every row was acknowledged. It is stored now and then: what lies behind it
/// after a crash is sent again. A change that follows the last one sent goes out of memory: the first at once, what follows
/// within 20 ms together. A request of its own for each would cost the producer, the broker and every reader more than the
/// event. Anything else is read from the outbox. What waits for Kafka is in the database, so the memory used does not grow
/// with an outage.
///
/// On the loop.
final class OutboxRelay {
    private enum State { case stopped, sending, resetting, waiting }

    private let loop: EventLoop
    private let repository: any TripRepository
    private let producer: KafkaProducer
    private let events: TripEvents
    private let logger: Logger

    private var state = State.stopped
    /// Every row up to this one is acknowledged.
    private(set) var watermark: UInt64
    /// The last row that is durable.
    private var lastSeq: UInt64
    /// The last row that the producer took.
    private var sentSeq: UInt64
    /// What follows it, held back for a moment.
    private var held: [OutboxEvent] = []
    /// When something may be sent again, on the loop's clock.
    private var sendsAgain: UInt64 = 0
    /// Sent and not below the watermark yet, in order.
    private var inFlight = InFlight()
    private var isReading = false
    private var storedWatermark: UInt64
    private var isStoring = false
    private var storeTimer: TimerID?
    private var backoff = RetryBackoff(first: TripLimits.relayBackoff.first, last: TripLimits.relayBackoff.last)
    private var stores = RetryBackoff(first: TripLimits.relayBackoff.first, last: TripLimits.relayBackoff.last)
    private var failureLogs = LogRateLimit()
    private var idle: (() -> Void)?
    let depth: Gauge
    /// Called when the storage failed.
    var onStorageFailure: (StorageError) -> Void = { _ in }

    init(
        loop: EventLoop, repository: any TripRepository, producer: KafkaProducer, start: TripStart,
        logger: Logger = Logger(label: "outbox")
    ) {
        self.logger = logger
        self.loop = loop
        self.repository = repository
        self.producer = producer
        events = TripEvents(producer: producer)
        watermark = start.watermark
        storedWatermark = start.watermark
        sentSeq = start.watermark
        lastSeq = max(start.lastSeq, start.watermark)
        depth = MetricRegistry.shared.gauge(
            name: "cabstand_outbox_depth", help: "Changes of trips that Kafka has not acknowledged yet.")
        depth.set(pending)
        producer.onDelivery = { [weak self] opaque, result in self?.delivered(opaque, result) }
        producer.onWritable = { [weak self] in self?.send() }
    }

    /// Changes that are not acknowledged.
    var pending: Int { lastSeq > watermark ? Int(clamping: lastSeq - watermark) : 0 }

    /// The topic is there: begins with what lies behind the watermark.
    func start() {
        guard state == .stopped else { return }
        state = .sending
        send()
    }

    /// A durable change. In the order of `seq`.
    func add(_ event: OutboxEvent) {
        let isNext = event.seq == lastSeq + 1 && event.seq == sentSeq + UInt64(held.count) + 1
        lastSeq = max(lastSeq, event.seq)
        if isNext && state == .sending && !isReading {
            held.append(event)
            guard held.count == 1 else { return depth.set(pending) }
            if loop.now >= sendsAgain {
                sendHeld()
            } else {
                loop.schedule(after: sendsAgain - loop.now) { [weak self] in self?.sendHeld() }
            }
        } else {
            send()
        }
        depth.set(pending)
    }

    /// What can't be sent now, or was read from the outbox meanwhile, is in the outbox.
    private func sendHeld() {
        let events = held
        held = []
        sendsAgain = loop.now &+ TripLimits.relayInterval
        if state == .sending && !isReading && events.first?.seq == sentSeq + 1 {
            for event in events {
                if !produce(event) { return }
            }
        }
        send()
    }

    /// Calls back when everything is acknowledged and the watermark is stored.
    func whenIdle(_ completion: @escaping () -> Void) {
        idle = completion
        storeWatermark()
    }

    // MARK: Sending

    private func send() {
        guard state == .sending, !isReading, sentSeq < lastSeq else { return }
        isReading = true
        loop.start { [weak self] in await self?.readOn() }
    }

    /// Sends what is in the outbox behind the last row sent, until the producer is full (`onWritable` goes on from there) or
    /// nothing is left.
    private func readOn() async {
        defer { isReading = false }
        while state == .sending, sentSeq < lastSeq {
            do throws(StorageError) {
                let events = try await repository.outbox(after: sentSeq, limit: TripLimits.outboxBatch)
                guard state == .sending, !events.isEmpty else { return }
                for event in events {
                    if !produce(event) { return }
                }
            } catch {
                failed(error, "the outbox can't be read")
                if state == .sending { wait() }
            }
        }
    }

    private func failed(_ error: StorageError, _ what: String) {
        onStorageFailure(error)
        if let held = failureLogs.admit(now: loop.now) {
            logger.error("\(what)", metadata: ["error": "\(error)", "held_back": "\(held)"])
        }
    }

    private func produce(_ event: OutboxEvent) -> Bool {
        let taken = events.produce(event)
        if taken {
            sentSeq = event.seq
            inFlight.append(event)
        }
        return taken
    }

    private func delivered(_ seq: UInt64, _ result: Result<Int64, KafkaError>) {
        switch result {
        case .success:
            // After a reset the numbers begin anew; a late report of an old one is for a row that is sent again.
            guard state == .sending, let reached = inFlight.acknowledge(seq) else { return }
            backoff.succeeded()
            watermark = reached
            depth.set(pending)
            scheduleStore()
        case .failure(let error):
            guard state == .sending else { return }
            if let held = failureLogs.admit(now: loop.now) {
                var line: [(String, LogValue)] = [
                    ("seq", .text("\(seq)")), ("error", .text(error.description)),
                    ("watermark", .text("\(watermark)")), ("held_back", .integer(held)),
                ]
                let trace = inFlight.trace(of: seq)
                if !trace.isNone { line.append(("trace_id", .text(trace.traceID))) }
                logger.log(.error, "an event was not delivered; the outbox goes on from its watermark", values: line)
            }
            state = .resetting
            producer.reset { [weak self] in
                guard let self else { return }
                sentSeq = watermark
                inFlight = InFlight()
                wait()
            }
        }
    }

    private func wait() {
        state = .waiting
        loop.schedule(after: backoff.failed(at: loop.now)) { [weak self] in
            guard let self, state == .waiting else { return }
            state = .sending
            send()
        }
    }

    // MARK: The watermark

    private func scheduleStore() {
        if idle != nil { storeWatermark() } else { scheduleLater() }
    }

    private func scheduleLater() {
        guard storeTimer == nil else { return }
        storeTimer = loop.schedule(after: TripLimits.watermarkInterval) { [weak self] in
            self?.storeTimer = nil
            self?.storeWatermark()
        }
    }

    private func storeWatermark() {
        if isStoring { return }
        isStoring = true
        loop.start { [weak self] in await self?.store() }
    }

    private func store() async {
        defer { isStoring = false }
        while storedWatermark < watermark {
            let reached = watermark
            do throws(StorageError) {
                try await repository.setWatermark(reached)
                storedWatermark = reached
                stores.succeeded()
                // What was acknowledged meanwhile waits for the next time, if nobody waits for it.
                if idle == nil { break }
            } catch {
                failed(error, "the watermark was not stored")
                // Also while the end waits for it: a database that fails at once is not asked without a pause.
                await loop.pause(stores.failed(at: loop.now))
            }
        }
        if storedWatermark < watermark { return scheduleLater() }
        if pending == 0, let completion = idle {
            idle = nil
            completion()
        }
    }
}

/// Rows that were sent, in order, and which of them are acknowledged: partitions answer in any order.
private struct InFlight {
    /// A ring would save the moving; the array is compacted when half of it is done.
    private var rows: [(seq: UInt64, trace: TraceContext, done: Bool)] = []
    private var head = 0

    mutating func append(_ event: OutboxEvent) { rows.append((event.seq, event.trace, false)) }

    /// Of the request that made a row that was sent.
    func trace(of seq: UInt64) -> TraceContext { index(of: seq).map { rows[$0].trace } ?? .none }

    private func index(of seq: UInt64) -> Int? {
        var low = head
        var high = rows.count
        while low < high {
            let middle = (low + high) / 2
            if rows[middle].seq < seq { low = middle + 1 } else { high = middle }
        }
        return low < rows.count && rows[low].seq == seq ? low : nil
    }

    /// The last row of an unbroken run of acknowledged ones, if there is a new one.
    mutating func acknowledge(_ seq: UInt64) -> UInt64? {
        guard let row = index(of: seq) else { return nil }
        rows[row].done = true
        var reached: UInt64?
        while head < rows.count, rows[head].done {
            reached = rows[head].seq
            head += 1
        }
        if head > 64 && head * 2 > rows.count {
            rows.removeFirst(head)
            head = 0
        }
        return reached
    }
}
