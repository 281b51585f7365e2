import CRdKafka
import Reactor
import Telemetry

/// Reads every partition of one topic on a loop, without joining a group.
///
///     connecting ─▶ cluster and partitions known ─▶ assigned ─▶ positioned ─────▶ …
///          ▲              onCluster                            onPositioned │
///          └───────────────────────────────────────────────────────────────┘
///                    onUnpositioned: no broker answers, or not in time; a partition without a leader; the topic is
///                    gone, or not for us; an offset that is gone, a new cluster id (these: onPositionLost)
///
/// Positioned means that every partition has reported its end or a record since the last doubt: from then on what is
/// written arrives. After an outage every partition is therefore asked for again, at the place where it was. `.end` loses
/// what is written before it is positioned: treat everything as changed once when `onPositioned` comes.
///
/// All calls and callbacks on `loop`.
public final class KafkaConsumer {
    /// Where to start. A partition that is noticed later is always read from its beginning.
    public enum Start: Sendable, Hashable {
        /// What comes from now on.
        case end
        /// At the given next offsets, if the cluster is the one that they belong to (nil: any); else, and for
        /// partitions without one, at the beginning.
        case offsets([Int32: Int64], clusterID: String?)

        /// At the beginning of every partition.
        public static var beginning: Start { .offsets([:], clusterID: nil) }
    }

    /// A record, borrowed during the call.
    public var onRecord: (borrowing KafkaRecord) -> Void = { _ in }
    /// Records come as they are written from now on: every partition has been read up to its end, or is being read.
    public var onPositioned: () -> Void = {}
    /// What was written to the partition until then has been read. Called each time that its end is reached.
    public var onEnd: (_ partition: Int32) -> Void = { _ in }
    /// From now on records may be missing or late, until the next `onPositioned`.
    public var onUnpositioned: () -> Void = {}
    /// The topic is not there (any more); whoever may make it should. Called again with each look.
    public var onMissingTopic: (_ topic: String) -> Void = { _ in }
    /// The partition goes on elsewhere: at its beginning, or at its end if started with `.end`.
    public var onPositionLost: (_ partition: Int32) -> Void = { _ in }
    /// The cluster's id became known or changed. Comes before the first record and before `onPositionLost`.
    public var onCluster: (_ clusterID: String) -> Void = { _ in }
    /// Called when the state changes, on the loop.
    public var onState: (KafkaState) -> Void {
        get { core.onState }
        set { core.onState = newValue }
    }
    /// Whether the cluster answers.
    public var state: KafkaState { core.state }
    /// The cluster's id; nil until it is known.
    public internal(set) var clusterID: String?
    /// Every known partition has reported its end or a record, and nothing has given reason to doubt since.
    public var isPositioned: Bool { !isDoubted && table.isPositioned }
    /// Partitions that are known.
    public var partitionCount: Int { table.numbers.count }
    /// The next offset to be read of each partition; only those that are known.
    public var nextOffsets: [Int32: Int64] { table.nextOffsets }

    private static let defaults = [
        KafkaProperty("enable.auto.commit", "false"),
        KafkaProperty("enable.auto.offset.store", "false"),
        KafkaProperty("enable.partition.eof", "true"),
        // Not a silent jump: a lost position is reported and decided here.
        KafkaProperty("auto.offset.reset", "error"),
        KafkaProperty("fetch.error.backoff.ms", "100"),
        KafkaProperty("allow.auto.create.topics", "false"),
    ]
    private static let events = RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG

    let core: ClientCore
    let client: NativeClient
    let topicName: String
    let start: Start
    var topic: NativeTopic?
    var pump: EventPump?
    var table = PartitionTable()
    /// Something was heard, or not heard, that makes every position doubtful. Ends with a look that finds all well.
    var isDoubted = false
    /// What `onPositioned` and `onUnpositioned` have said.
    var hasToldPosition = false
    /// The start has been used: what is found from now on is new.
    var hasBegun = false
    var lookTimer: TimerID?
    var looking = false
    /// Between two looks while something is wrong.
    var looks = RetryBackoff(first: 250_000_000, last: 1_000_000_000)
    /// Between two tries to assign partitions.
    var assignments = RetryBackoff(first: 250_000_000, last: 10_000_000_000)
    /// Between two tries to read partitions that are refused.
    var readings = RetryBackoff(first: 1_000_000_000, last: 10_000_000_000)
    var refusedPartitions: Set<Int32> = []
    var readTimer: TimerID?
    var closed = false
    let positionedGauge: Gauge
    private let recordCount: Counter
    private let lagGauge: Gauge

    /// - Throws: a property of the configuration that librdkafka refuses.
    public init(
        loop: EventLoop, configuration: KafkaConfiguration, topic: String, start: Start
    ) throws(KafkaError) {
        core = try ClientCore(loop: loop, configuration: configuration, role: "consumer-" + topic)
        topicName = topic
        self.start = start
        let registry = MetricRegistry.shared
        recordCount = registry.counter(
            name: .own("kafka_records_total"), help: "Records read.", labels: ["topic": topic])
        lagGauge = registry.gauge(
            name: .own("kafka_lag_records"), help: "Records fetched from the cluster's end but not yet read.",
            labels: ["topic": topic])
        positionedGauge = registry.gauge(
            name: .own("kafka_positioned"),
            help: "1 while every partition is read up to its end; 0: what is written may arrive late or not at all.",
            labels: ["topic": topic])
        let limits = configuration.limits
        let more = [
            KafkaProperty("group.id", configuration.group),
            KafkaProperty("queued.max.messages.kbytes", String(limits.consumerKilobytes)),
        ]
        client = try NativeClient(.consumer, configuration, defaults: Self.defaults + more, events: Self.events)
        self.topic = try NativeTopic(topic, of: client)
        unsafe rd_kafka_set_log_queue(client.handle, nil)
        // One queue for everything: records, errors, log lines.
        unsafe rd_kafka_poll_set_consumer(client.handle)
        guard let queue = unsafe rd_kafka_queue_get_consumer(client.handle) else {
            throw KafkaError.configuration("librdkafka gave no queue")
        }
        pump = try unsafe EventPump(
            loop: loop, queue: queue, budget: limits.eventsPerTurn, drained: { [weak self] in self?.afterDrain() },
            handle: { [weak self] in unsafe self?.handle($0) })
        look()
    }

    // MARK: Flow and position

    /// Stops `onRecord`; what is fetched ahead is bounded by `KafkaLimits.consumerKilobytes`.
    public func pause() { pump?.pause() }

    /// Lets `onRecord` be called again.
    public func resume() { pump?.resume() }

    /// Stores next offsets under the configured group, so that the lag can be seen. Not waited for.
    public func commit(_ offsets: [Int32: Int64]) {
        guard !closed, !offsets.isEmpty else { return }
        let list = unsafe Self.list(topicName, offsets)
        defer { unsafe rd_kafka_topic_partition_list_destroy(list) }
        let error = unsafe rd_kafka_commit(client.handle, list, 1)
        if error != RD_KAFKA_RESP_ERR_NO_ERROR { core.report(KafkaError(error), "a position was not committed") }
    }

    /// Ends: no callback comes any more once the completion is called.
    ///
    /// The scar: librdkafka's own end is not waited for. It hangs for ever in a client whose topic was deleted while it
    /// read it (2.0.2), and would hold up the end of the program.
    public func close(_ completion: @escaping () -> Void = {}) {
        if closed { return completion() }
        closed = true
        if let lookTimer { core.loop.cancel(lookTimer) }
        if let readTimer { core.loop.cancel(readTimer) }
        positionedGauge.set(0)
        // Not inside the pump's own drain: its event is still to be destroyed.
        core.loop.execute {
            self.pump?.stop()
            self.pump = nil
            self.topic = nil
            let client = self.client
            self.core.worker.submit { client.destroy() }
            self.core.worker.finish()
            completion()
        }
    }

    static func list(
        _ topic: String, _ offsets: [Int32: Int64]
    ) -> UnsafeMutablePointer<rd_kafka_topic_partition_list_t> {
        let list = unsafe rd_kafka_topic_partition_list_new(Int32(offsets.count))!
        for (partition, offset) in offsets {
            unsafe rd_kafka_topic_partition_list_add(list, topic, partition).pointee.offset = offset
        }
        return unsafe list
    }

    // MARK: Events

    private func handle(_ event: OpaquePointer) {
        switch unsafe rd_kafka_event_type(event) {
        case RD_KAFKA_EVENT_FETCH:
            while let message = unsafe rd_kafka_event_message_next(event) {
                let partition = unsafe message.pointee.partition
                guard unsafe message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
                    unsafe handleError(KafkaError(message.pointee.err), partition: partition, offset: -1)
                    continue
                }
                recordCount.increment()
                onRecord(unsafe KafkaRecord(message))
                unsafe position(partition, next: message.pointee.offset &+ 1)
            }
        case RD_KAFKA_EVENT_ERROR:
            let error = unsafe ClientCore.error(of: event)
            if let place = unsafe rd_kafka_event_topic_partition(event) {
                defer { unsafe rd_kafka_topic_partition_destroy(place) }
                handleError(error, partition: unsafe place.pointee.partition, offset: unsafe place.pointee.offset)
            } else if rd_kafka_resp_err_t(rawValue: error.code) == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN {
                isAway(error)
            } else {
                core.handleError(error)
            }
        case RD_KAFKA_EVENT_LOG: unsafe core.handleLog(event)
        default: break
        }
    }

    /// librdkafka has no connection left. A look tells whether that is so, and when it is over.
    private func isAway(_ error: KafkaError) {
        if case .down = core.state { return }
        core.isDown(error)
        doubt()
        look()
    }

    private func handleError(_ error: KafkaError, partition: Int32, offset: Int64) {
        switch rd_kafka_resp_err_t(rawValue: error.code) {
        case RD_KAFKA_RESP_ERR__PARTITION_EOF:
            core.isUp()
            let isMoving = table[partition]?.isMoving ?? true
            position(partition, next: offset)
            if !isMoving { onEnd(partition) }
        case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
            // Of a place that it is leaving.
            guard table[partition]?.isMoving == false else { return }
            core.report(error, "the position in \(topicName)/\(partition) is gone")
            lose(partition)
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
            RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
            core.report(error, "\(topicName)/\(partition) is gone")
            vanish()
            onMissingTopic(topicName)
            lookSoon()
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
            RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
            core.report(error, "\(topicName)/\(partition) may not be read")
            refused(partition, error)
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN: isAway(error)
        default: core.report(error, "a record of \(topicName)/\(partition) was skipped")
        }
    }

    private func afterDrain() {
        guard !closed else { return }
        var lag: Int64 = 0
        for (partition, next) in table.nextOffsets {
            var low: Int64 = 0
            var high: Int64 = 0
            let error = unsafe rd_kafka_get_watermark_offsets(client.handle, topicName, partition, &low, &high)
            // Offsets are a broker's word: no sum of them may overflow.
            if error == RD_KAFKA_RESP_ERR_NO_ERROR && high > next {
                lag = min(lag, .max / 2) + min(high - next, .max / 2)
            }
        }
        lagGauge.set(Int(clamping: lag))
    }
}
