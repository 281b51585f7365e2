import KafkaClient
import Reactor
import RideAPI
import RideDomain
import Storage
import Telemetry

/// Takes over `trip_events`: drivers' trips are stored together with how far the topic was read, in one transaction.
///
///     record ──▶ registry at once ──▶ one write of what 200 ms brought ──▶ offsets committed for the lag
///
/// A crash reads again from what was stored; the guard by `seq` makes that harmless, so nobody waits for the write. On the
/// loop.
final class TripEventReader {
    private let loop: EventLoop
    private let book: DriverBook
    private let repository: any DriverRepository
    private let consumer: KafkaConsumer
    private let logger = Logger(label: "trip-events")

    private var cursor: EventCursor
    /// Drivers whose trips are to be stored.
    private var unsaved: Set<Int32> = []
    private var hasUnsaved = false
    private var saving: Task<Void, Never>?
    /// Ends the pause before a write.
    private var hurry: () -> Void = {}
    private var unreadableLogs = LogRateLimit()
    /// The last epoch of the trip database that events had and that was not compared with.
    private var foreignEpoch: UInt64 = 0
    /// The position was lost or the cluster is another one: what is known may be wrong.
    var onGap: () -> Void = {}
    /// Whether trip events arrive, from now on.
    var onPositioned: (Bool) -> Void = { _ in }
    var onState: (KafkaState) -> Void {
        get { consumer.onState }
        set { consumer.onState = newValue }
    }
    var onMissingTopic: (String) -> Void {
        get { consumer.onMissingTopic }
        set { consumer.onMissingTopic = newValue }
    }

    init(
        loop: EventLoop, book: DriverBook, repository: any DriverRepository, configuration: KafkaConfiguration,
        cursor: EventCursor
    ) throws {
        self.loop = loop
        self.book = book
        self.repository = repository
        self.cursor = cursor
        consumer = try KafkaConsumer(
            loop: loop, configuration: configuration, topic: TripEvent.topic,
            start: .offsets(cursor.offsets, clusterID: cursor.clusterID))
        consumer.onRecord = { [weak self] record in self?.take(record) }
        consumer.onCluster = { [weak self] cluster in self?.belong(to: cluster) }
        consumer.onPositionLost = { [weak self] partition in self?.lost(partition) }
        consumer.onPositioned = { [weak self] in self?.onPositioned(true) }
        consumer.onUnpositioned = { [weak self] in self?.onPositioned(false) }
    }

    /// Reads no more, and returns when everything that was read is stored.
    func close() async {
        await loop.wait { consumer.close($0) }
        hurry()
        await saving?.value
    }

    // MARK: Reading

    private func take(_ record: borrowing KafkaRecord) {
        // An offset is a broker's word.
        cursor.offsets[record.partition] = record.offset &+ 1
        hasUnsaved = true
        do throws(EventError) {
            let event = try RideEvent(decoding: record.value)
            if case .trip(let event) = event { take(event, record.trace) }
        } catch {
            book.metrics.unreadableEvents.increment()
            if let held = unreadableLogs.admit(now: loop.now) {
                var line: [(String, LogValue)] = [
                    ("partition", .integer(Int(record.partition))), ("offset", .text("\(record.offset)")),
                    ("error", .text("\(error)")), ("held_back", .integer(held)),
                ]
                let trace = record.trace
                if !trace.isNone { line.append(("trace_id", .text(trace.traceID))) }
                logger.log(.warning, "an event was skipped", values: line)
            }
        }
        saveSoon()
    }

    private func take(_ event: TripChange, _ trace: TraceContext) {
        let fact = TripFact(
            driverID: event.driverID, tripID: event.tripID, seq: event.seq, isActive: event.status == .inProgress,
            epoch: event.epoch)
        if let slot = book.apply(fact, trace: trace) { unsaved.insert(slot) }
        // The trip database was opened anew, or restored: what is known of other drivers may be of another history. Once for
        // each epoch: what lies in the log may be old.
        if event.epoch != 0, event.epoch != book.registry.tripEpoch, event.epoch != foreignEpoch {
            foreignEpoch = event.epoch
            onGap()
        }
    }

    private func belong(to cluster: String) {
        guard cursor.clusterID != cluster else { return }
        if let old = cursor.clusterID {
            logger.notice("another Kafka cluster", metadata: ["old": old, "new": cluster])
            onGap()
        }
        // Offsets of another cluster mean nothing; the consumer starts at the earliest.
        cursor = EventCursor(clusterID: cluster)
        hasUnsaved = true
        saveSoon()
    }

    private func lost(_ partition: Int32) {
        logger.warning("the position is gone; reading from the earliest event", metadata: ["partition": "\(partition)"])
        cursor.offsets[partition] = nil
        onGap()
    }

    // MARK: Storing

    /// Stores, a little later, what comes until then. One write is under way at a time.
    private func saveSoon() {
        if saving == nil { saving = loop.start { [self] in await save() } }
    }

    private func save() async {
        var pause = DriverLimits.saveTripsAfter
        while hasUnsaved {
            await loop.wait(atMost: .nanoseconds(pause)) { hurry = $0 }
            let batch = unsaved
            let cursor = cursor
            hasUnsaved = false
            unsaved = []
            do throws(StorageError) {
                try await repository.saveTrips(book.projections(batch), cursor: cursor, epoch: nil)
                if !cursor.offsets.isEmpty { consumer.commit(cursor.offsets) }
                pause = DriverLimits.saveTripsAfter
            } catch {
                book.onStorageFailure(error)
                unsaved.formUnion(batch)
                hasUnsaved = true
                pause = DriverLimits.storeRetry
            }
        }
        saving = nil
    }
}
