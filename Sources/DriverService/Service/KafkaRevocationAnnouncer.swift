import Bytes
import KafkaClient
import Reactor
import RideAPI
import Telemetry

/// Writes `auth_revocations`, keyed by what is revoked: each until Kafka has acknowledged it, however long that takes.
///
///     publish ──room──▶ Kafka ──acknowledged──▶ delivered
///        └──none──▶ waiting ◀──refused, back-off──┘
///
/// Bounded by the revocations that hold. On the loop.
final class KafkaRevocationAnnouncer: RevocationAnnouncer {
    private struct Message {
        let revocation: Revocation
        let delivered: () -> Void
    }

    /// Where the numbers of messages begin: those below are of drivers' events, which the same producer sends.
    private static let firstNumber: UInt64 = 1 << 62

    private let loop: EventLoop
    private let producer: KafkaProducer
    private let unacknowledged = MetricRegistry.shared.gauge(
        name: "cabstand_revocations_waiting", help: "Revocations that Kafka has not acknowledged yet.")
    private let logger = Logger(label: "revocations")
    private var next = firstNumber
    /// What was not acknowledged, by number.
    private var messages: [UInt64: Message] = [:]
    /// What is still to be handed to the producer, in order, and up to where that is done.
    private var waiting: [UInt64] = []
    private var handed = 0
    private var backoff = RetryBackoff(first: AuthLimits.publishRetry.first, last: AuthLimits.publishRetry.last)
    private var retryTimer: TimerID?
    private var refusalLogs = LogRateLimit()

    /// Whoever heard of the producer's deliveries before goes on to hear of their own.
    init(loop: EventLoop, producer: KafkaProducer) {
        self.loop = loop
        self.producer = producer
        let (onDelivery, onWritable) = (producer.onDelivery, producer.onWritable)
        producer.onDelivery = { [weak self] number, result in
            if number < Self.firstNumber { onDelivery(number, result) } else { self?.delivered(number, result) }
        }
        producer.onWritable = { [weak self] in
            self?.send()
            onWritable()
        }
    }

    func publish(_ revocation: Revocation, delivered: @escaping () -> Void) {
        messages[next] = Message(revocation: revocation, delivered: delivered)
        waiting.append(next)
        next += 1
        unacknowledged.set(messages.count)
        send()
    }

    private func send() {
        guard retryTimer == nil else { return }
        var value = ByteBuffer()
        while handed < waiting.count {
            let number = waiting[handed]
            if let revocation = messages[number]?.revocation {
                value.removeAll()
                revocation.encode(into: &value)
                let headers = [KafkaHeader("content-type", "application/json"), KafkaHeader("event-type", "Revoked")]
                let isTaken = producer.produce(
                    topic: Revocation.topic, key: revocation.target.key, value: value.span, headers: headers,
                    opaque: number)
                // onWritable comes.
                guard isTaken else { return }
            }
            handed += 1
        }
        waiting.removeAll()
        handed = 0
    }

    private func delivered(_ number: UInt64, _ result: Result<Int64, KafkaError>) {
        switch result {
        case .success:
            backoff.succeeded()
            let message = messages.removeValue(forKey: number)
            unacknowledged.set(messages.count)
            message?.delivered()
        case .failure(let error):
            if let held = refusalLogs.admit(now: loop.now) {
                logger.error(
                    "Kafka refused a revocation; it is tried again",
                    metadata: ["error": error.description, "waiting": "\(messages.count)", "held_back": "\(held)"])
            }
            waiting.append(number)
            guard retryTimer == nil else { return }
            retryTimer = loop.schedule(after: backoff.failed(at: loop.now)) { [weak self] in
                self?.retryTimer = nil
                self?.send()
            }
        }
    }
}
