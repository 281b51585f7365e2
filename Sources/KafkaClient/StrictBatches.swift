import CRdKafka
import Reactor

/// What keeps a strict order: messages are held here, and given to librdkafka in batches, each when the one before is
/// reported.
///
///     held ──nothing sent──▶ batch ──flush──▶ reported ──▶ next batch
///                                                      └─a failure──▶ nothing until `reset`
///
/// The scar: librdkafka builds the next request of a partition while one is under way, whatever
/// `max.in.flight.requests.per.connection` says. After a refusal (`enable.gapless.guarantee` or not) it takes the
/// messages back that are in no request, and still sends the request that was built. A broker that does not know the
/// producer's sequence on that partition, because the refused request was its first, takes it. So there must never be a
/// second request to build: a batch is small enough for one request per partition, and as a request could be built
/// between two messages of it, librdkafka waits (`linger.ms`) until it is told (`rd_kafka_flush`) that the batch is whole.
struct StrictBatches {
    /// Milliseconds after which a flush that sees no end lets the client's thread do something else.
    static let flushTime: Int32 = 200
    /// Milliseconds that a message must have at least, if it has a limit: within them a batch is given and flushed.
    private static let shortestTimeout = 1_000

    /// A batch must fit into one request, also where all its messages are for one partition. librdkafka refuses to linger for
    /// longer than a message may take (`message.timeout.ms`).
    static func properties(_ configuration: KafkaConfiguration) throws(KafkaError) -> [KafkaProperty] {
        var linger = 60_000
        let names: Set = ["message.timeout.ms", "delivery.timeout.ms"]
        if let given = configuration.properties.last(where: { names.contains($0.key) }),
            let timeout = Int(given.value), timeout != 0
        {
            guard timeout >= shortestTimeout else {
                throw .configuration(
                    "\(given.key) is \(timeout); it must be 0 (no limit) or at least \(shortestTimeout), "
                        + "or the order of the messages can't be kept")
            }
            linger = min(linger, timeout / 2)
        }
        return [
            KafkaProperty("linger.ms", String(linger)), KafkaProperty("batch.num.messages", "10000"),
            KafkaProperty("batch.size", "1000000"),
        ]
    }
    private static let messages = 5_000
    /// Successful batches after which a larger one is tried again.
    private static let confidence = 1_000

    var held = HeldMessages()
    /// Topics that librdkafka has looked up. Messages of others wait inside until it has, and then reach their partitions
    /// one by one: so the first message of a topic goes alone.
    var knownTopics: Set<String> = []
    /// A message failed: nothing is sent before `reset`.
    var hasFailed = false
    fileprivate var timer: TimerID?
    fileprivate var isFlushing = false
    /// The messages of the batch that is under way.
    fileprivate var size = 0
    /// The topic of a message that went alone.
    fileprivate var newTopic: String?
    /// Bytes of a batch at most. Halved when one is refused, because the broker may take less; that leads to single
    /// messages, and so to the one that is refused for itself.
    private(set) var bytes: Int
    private let mostBytes: Int
    private var successes = 0

    init(_ configuration: KafkaConfiguration) {
        let most = configuration.properties.last { $0.key == "message.max.bytes" }.flatMap { Int($0.value) }
        mostBytes = min(512 << 10, (most ?? 1_000_000) / 2)
        bytes = mostBytes
    }

    /// Whether a message that has `more` bytes may join a batch.
    fileprivate func takes(_ message: HeldMessages.Message, _ count: Int, _ total: Int) -> Bool {
        count == 0
            || count < Self.messages && total + message.bytes <= bytes && knownTopics.contains(message.topic)
    }

    /// The batch is reported.
    fileprivate mutating func settle() {
        defer { size = 0 }
        if hasFailed {
            if size > 1 { bytes = max(1, bytes / 2) }
            successes = 0
        } else {
            if let newTopic { knownTopics.insert(newTopic) }
            successes += 1
            if successes >= Self.confidence {
                bytes = min(mostBytes, bytes * 2)
                successes = 0
            }
        }
        newTopic = nil
    }

    /// After a reset: begins anew.
    mutating func restart() {
        settle()
        hasFailed = false
    }
}

extension KafkaProducer {
    /// Keeps a message until its batch.
    func hold(_ message: HeldMessages.Message) {
        batches.held.append(message)
        if batches.held.bytes >= batches.bytes {
            sendHeld()
        } else if batches.timer == nil && sent == 0 {
            // In the next turn: with what else this one brings.
            batches.timer = core.loop.schedule(after: 0) { [weak self] in
                self?.batches.timer = nil
                self?.sendHeld()
            }
        }
    }

    /// Sends the next batch if the one before is reported.
    func sendHeld() {
        guard sent == 0 else { return }
        if batches.size > 0 { batches.settle() }
        // While librdkafka is still flushing, it would not wait for the rest of the batch.
        guard batches.held.count > 0, !batches.isFlushing, !batches.hasFailed, resetting == nil else { return }
        if let timer = batches.timer { core.loop.cancel(timer) }
        batches.timer = nil
        var total = 0
        while let message = batches.held.first, batches.takes(message, sent, total) {
            let outcome = send(
                topic: message.topic, key: message.key, value: message.value.span, headers: message.headers,
                opaque: message.opaque)
            if case .full = outcome { break }
            batches.held.removeFirst()
            if case .refused(let error) = outcome {
                // Nothing behind it goes before a reset.
                refuse(topic: message.topic, opaque: message.opaque, error)
                break
            }
            total += message.bytes
            if !batches.knownTopics.contains(message.topic) {
                batches.newTopic = message.topic
                break
            }
        }
        batches.size = sent
        if sent > 0 { return flushBatch() }
        if batches.hasFailed { return }
        batches.timer = core.loop.schedule(after: 1_000_000_000) { [weak self] in
            self?.batches.timer = nil
            self?.sendHeld()
        }
    }

    /// Tells librdkafka that the batch is whole, until it is reported.
    private func flushBatch() {
        batches.isFlushing = true
        let client = client
        core.worker.run(on: core.loop) {
            unsafe rd_kafka_flush(client.handle, StrictBatches.flushTime)
        } then: { [weak self] _ in
            guard let self else { return }
            batches.isFlushing = false
            if sent > 0 { flushBatch() } else { sendHeld() }
        }
    }
}
