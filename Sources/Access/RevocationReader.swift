import Bytes
import KafkaClient
import Reactor
import RideAPI
import Synchronization
import Telemetry

/// What one reader tells of revocations. They are there from the start, also where nobody is asked who they are.
public final class RevocationMetrics: Sendable {
    /// Monotonic nanoseconds since which it is not sure to hear of everything; 0: it is.
    fileprivate let behindSince = Atomic<UInt64>(0)
    private let known: Mutex<Int> = Mutex(0)
    fileprivate let unreadable: Counter

    /// - Parameter role: of the service, such as `gateway`.
    public init(loop: EventLoop, role: String) {
        let registry = MetricRegistry.shared
        unreadable = registry.counter(
            name: "cabstand_revocations_unreadable_total",
            help: "Revocations that could not be read and were skipped.")
        registry.sampledGauge(
            name: "cabstand_revocations", help: "Revocations that hold, as this service knows them.",
            labels: ["role": role]
        ) { [weak self] in Double(self?.known.withLock { $0 } ?? 0) }
        registry.sampledGauge(
            name: "cabstand_revocations_behind_seconds",
            help: "How long ago this service was last sure to hear of every revocation at once; 0: it is.",
            labels: ["role": role]
        ) { [weak self] in
            guard let since = self?.behindSince.load(ordering: .relaxed), since != 0 else { return 0 }
            let now = loop.preciseNow()
            return now > since ? Double(now - since) / 1e9 : 0
        }
    }

    /// How many hold.
    public func set(_ count: Int) { known.withLock { $0 = count } }
}

/// Reads `auth_revocations` from its beginning, and goes on. It belongs to no group: every program reads all of it, at each start.
///
/// What is read is handed over at once, and what follows closely together: for each batch all tokens and WebSockets that are known are
/// looked through. On its loop.
public final class RevocationReader {
    private let loop: EventLoop
    private let consumer: KafkaConsumer
    /// What it tells.
    public let metrics: RevocationMetrics
    private let logger = Logger(label: "revocations")
    private var batch: [Revocation] = []
    /// When the next batch may be handed over, in the loop's nanoseconds.
    private var nextBatch: UInt64 = 0
    /// Nanoseconds between two batches. Reason: a look through ten thousand takes a millisecond or two.
    private static let interval: UInt64 = 100_000_000
    /// Partitions that were read to their end.
    private var ended: Set<Int32> = []
    private var isComplete = false
    private var unreadableLogs = LogRateLimit()
    /// Those that are new, or known already.
    public var onRevocations: ([Revocation]) -> Void = { _ in }
    /// All that was revoked before has been handed over. Called once.
    public var onComplete: () -> Void = {}
    /// Kafka has lost what was written: the topic was deleted, or this is another cluster. Whoever starts from now on finds nothing of
    /// it, unless somebody writes it again.
    public var onLost: () -> Void = {}
    /// The topic is not there. Called again and again.
    public var onMissingTopic: (_ topic: String) -> Void {
        get { consumer.onMissingTopic }
        set { consumer.onMissingTopic = newValue }
    }
    /// Called when the state changes.
    public var onState: (KafkaState) -> Void {
        get { consumer.onState }
        set { consumer.onState = newValue }
    }

    /// - Throws: a property of the configuration that librdkafka refuses.
    public init(loop: EventLoop, configuration: KafkaConfiguration, metrics: RevocationMetrics) throws {
        self.loop = loop
        self.metrics = metrics
        consumer = try KafkaConsumer(
            loop: loop, configuration: configuration, topic: Revocation.topic, start: .beginning)
        metrics.behindSince.store(loop.preciseNow(), ordering: .relaxed)
        consumer.onRecord = { [weak self] record in self?.take(record) }
        consumer.onEnd = { [weak self] in self?.reachedEnd($0) }
        consumer.onPositioned = { [weak self] in self?.isPositioned(true) }
        consumer.onUnpositioned = { [weak self] in self?.isPositioned(false) }
        consumer.onPositionLost = { [weak self] _ in self?.onLost() }
    }

    /// Reads no more.
    public func close(_ completion: @escaping () -> Void = {}) { consumer.close(completion) }

    private func take(_ record: borrowing KafkaRecord) {
        // A tombstone says nothing: what was revoked stays so until nothing is left that it refuses.
        if record.value.isEmpty { return }
        do throws(EventError) {
            guard let revocation = try Revocation(decoding: record.value) else { return }
            if batch.isEmpty {
                // What is read in this turn goes along.
                let delay = nextBatch > loop.now ? nextBatch - loop.now : 0
                loop.schedule(after: delay) { [weak self] in self?.handOver() }
            }
            batch.append(revocation)
        } catch {
            metrics.unreadable.increment()
            if let held = unreadableLogs.admit(now: loop.now) {
                logger.error(
                    "a revocation can't be read: whom it is about is not refused here",
                    metadata: [
                        "partition": "\(record.partition)", "offset": "\(record.offset)", "error": "\(error)",
                        "held_back": "\(held)",
                    ])
            }
        }
    }

    private func handOver() {
        if batch.isEmpty { return }
        nextBatch = loop.now + Self.interval
        let whole = batch
        batch = []
        onRevocations(whole)
    }

    private func reachedEnd(_ partition: Int32) {
        guard !isComplete else { return }
        ended.insert(partition)
        // A record alone does not say that no more are there.
        guard ended.count >= consumer.partitionCount else { return }
        handOver()
        isComplete = true
        onComplete()
    }

    private func isPositioned(_ isPositioned: Bool) {
        metrics.behindSince.store(isPositioned ? 0 : loop.preciseNow(), ordering: .relaxed)
    }
}
