import Basics
import Bytes
import KafkaClient
import Reactor
import RideAPI
import Telemetry

/// What can write records: Kafka, or a test.
protocol AuditOutlet: AnyObject {
    /// Hands over a record by its number. False: there is no room; `AuditPublisher.goOn` comes.
    func send(_ record: AuditRecord, number: UInt64) -> Bool
}

/// What one service tells of its audit. They are there from the start, also where nothing is recorded.
public struct AuditMetrics {
    let lost: Counter
    let waiting: Gauge

    /// - Parameter service: whose, for the label `role`.
    public init(_ service: ServiceName) {
        let labels: MetricLabels = ["role": service.rawValue]
        lost = MetricRegistry.shared.counter(
            name: "cabstand_audit_records_lost_total", help: "Audit records that found no room while Kafka was away.",
            labels: labels)
        waiting = MetricRegistry.shared.gauge(
            name: "cabstand_audit_records_waiting", help: "Audit records that Kafka has not acknowledged yet.",
            labels: labels)
    }
}

/// Writes `audit_events`: each record until Kafka has acknowledged it. On the loop.
///
///     publish ──room──▶ outlet ──acknowledged──▶ forgotten
///        │   └─none──▶ waiting ◀──refused, back-off──┘
///        └─ too many are held: lost, and counted
final class AuditPublisher {
    /// Records that are held while Kafka is away; those that come then are lost. Reason: some 5 MB.
    static let limit = 10_000
    /// Nanoseconds between two tries of what Kafka refused: doubled from the first up to the second.
    private static let retry: (first: UInt64, last: UInt64) = (250_000_000, 5_000_000_000)

    private let loop: EventLoop
    private let outlet: any AuditOutlet
    private let metrics: AuditMetrics
    private let logger = Logger(label: "audit")
    private var next: UInt64 = 1
    /// What was not acknowledged, by number.
    private var held: [UInt64: AuditRecord] = [:]
    /// What is still to be handed over, in order, and up to where that is done.
    private var waiting: [UInt64] = []
    private var handed = 0
    private var backoff = RetryBackoff(first: retry.first, last: retry.last)
    private var retryTimer: TimerID?
    private var logs = LogRateLimit()

    init(loop: EventLoop, outlet: any AuditOutlet, metrics: AuditMetrics) {
        self.loop = loop
        self.outlet = outlet
        self.metrics = metrics
    }

    /// Records that are not acknowledged.
    var count: Int { held.count }
    /// Places of the queue.
    var queued: Int { waiting.count }

    func publish(_ record: AuditRecord) {
        guard held.count < Self.limit else {
            metrics.lost.increment()
            if let more = logs.admit(now: loop.now) {
                logger.error(
                    "Kafka takes no audit records, and no more are held: the log alone has them",
                    metadata: ["held": "\(held.count)", "held_back": "\(more)"])
            }
            return
        }
        held[next] = record
        waiting.append(next)
        next += 1
        metrics.waiting.set(held.count)
        goOn()
    }

    /// There may be room again.
    func goOn() {
        guard retryTimer == nil else { return }
        while handed < waiting.count {
            let number = waiting[handed]
            if let record = held[number], !outlet.send(record, number: number) { return forgetHanded() }
            handed += 1
        }
        waiting.removeAll()
        handed = 0
    }

    /// What was handed over is forgotten when it is half of all, also while there is never room for everything.
    private func forgetHanded() {
        guard handed > waiting.count / 2 else { return }
        waiting.removeFirst(handed)
        handed = 0
    }

    /// What became of a record that was sent: acknowledged, or why not.
    func delivered(_ number: UInt64, failure: String?) {
        guard let failure else {
            backoff.succeeded()
            held[number] = nil
            return metrics.waiting.set(held.count)
        }
        if let more = logs.admit(now: loop.now) {
            logger.error(
                "Kafka refused an audit record; it is tried again",
                metadata: ["error": failure, "waiting": "\(held.count)", "held_back": "\(more)"])
        }
        waiting.append(number)
        guard retryTimer == nil else { return }
        retryTimer = loop.schedule(after: backoff.failed(at: loop.now)) { [weak self] in
            self?.retryTimer = nil
            self?.goOn()
        }
    }
}

/// `audit_events` by a producer of its own.
public final class KafkaAudit: AuditOutlet {
    private let producer: KafkaProducer
    private var publisher: AuditPublisher!

    /// The topic is not there. Called again and again.
    public var onMissingTopic: (_ topic: String) -> Void {
        get { producer.onMissingTopic }
        set { producer.onMissingTopic = newValue }
    }

    /// - Throws: a property of the configuration that librdkafka refuses.
    public init(loop: EventLoop, configuration: KafkaConfiguration, metrics: AuditMetrics) throws {
        producer = try KafkaProducer(loop: loop, configuration: configuration)
        let publisher = AuditPublisher(loop: loop, outlet: self, metrics: metrics)
        self.publisher = publisher
        producer.onDelivery = { [weak publisher] number, result in
            switch result {
            case .success: publisher?.delivered(number, failure: nil)
            case .failure(let error): publisher?.delivered(number, failure: error.description)
            }
        }
        producer.onWritable = { [weak publisher] in publisher?.goOn() }
    }

    /// Writes a record; while Kafka is away it waits, up to a bound. On the loop.
    public func publish(_ record: AuditRecord) { publisher.publish(record) }

    func send(_ record: AuditRecord, number: UInt64) -> Bool {
        var value = ByteBuffer(capacity: 512)
        record.encode(into: &value)
        let headers = [KafkaHeader("content-type", "application/json"), KafkaHeader("event-type", "Audit")]
        let isTaken = producer.produce(
            topic: AuditRecord.topic, key: record.key, value: value.span, headers: headers, opaque: number)
        return isTaken
    }

    /// Kafka takes what it can in that time; then `completion` is called, on the loop.
    public func close(within patience: Duration, _ completion: @escaping () -> Void) {
        producer.close(timeout: patience) { _ in completion() }
    }
}
