import CRdKafka
import Reactor
import Telemetry

/// A topic as it has to be there.
public struct TopicSpecification: Sendable, Hashable {
    /// The topic's name.
    public let name: String
    /// How many partitions it is made with.
    public let partitions: Int32
    /// On how many brokers each partition lies.
    public let replicationFactor: Int32
    /// nil: the broker's own.
    public let retentionMilliseconds: Int64?
    /// Whether of each key the newest record alone is kept, and none of them longer than the retention.
    public let isCompacted: Bool

    /// A topic as it is to be made; without a retention the cluster's own holds.
    public init(
        name: String, partitions: Int32, replicationFactor: Int32, retentionMilliseconds: Int64? = nil,
        isCompacted: Bool = false
    ) {
        self.name = name
        self.partitions = partitions
        self.replicationFactor = replicationFactor
        self.retentionMilliseconds = retentionMilliseconds
        self.isCompacted = isCompacted
    }
}

/// Makes topics that are missing; what is there is left as it is. Tries until it succeeds or is cancelled, and may be asked
/// again whenever somebody misses one: it looks at a bounded rate.
///
/// All calls and callbacks on `loop`; the questions are asked on a thread of its own, by a client that lives as long as
/// there is something to do.
public final class KafkaAdmin {
    /// Called when the state changes, on the loop.
    public var onState: (KafkaState) -> Void {
        get { core.onState }
        set { core.onState = newValue }
    }

    /// Whether the cluster answers.
    public var state: KafkaState { core.state }

    private let core: ClientCore
    private var client: NativeClient?
    private let topics: [TopicSpecification]
    private var completions: [() -> Void] = []
    private var isWanted = false
    private var isRunning = false
    private var isCancelled = false
    private var timer: TimerID?
    /// Between two tries of one round.
    private var tries = RetryBackoff(first: 500_000_000, last: 5_000_000_000)
    /// Between two rounds: a client with an old view, which misses a topic that is there, must not keep this busy.
    private var rounds = RetryBackoff(first: 1_000_000_000, last: 30_000_000_000)

    /// - Throws: a property of the configuration that librdkafka refuses.
    public init(
        loop: EventLoop, configuration: KafkaConfiguration, topics: [TopicSpecification]
    ) throws(KafkaError) {
        core = try ClientCore(loop: loop, configuration: configuration, role: "admin")
        client = try Self.makeClient(configuration)
        self.topics = topics
    }

    /// A client that asks for topics must not make them by asking, as a producer does where the broker allows that.
    private static func makeClient(_ configuration: KafkaConfiguration) throws(KafkaError) -> NativeClient {
        try NativeClient(
            .consumer, configuration,
            defaults: [
                KafkaProperty("group.id", configuration.group), KafkaProperty("allow.auto.create.topics", "false"),
                // Nobody reads this client's queue: what it had to say would gather there for as long as an outage lasts.
                KafkaProperty("log_level", "2"), KafkaProperty("log.queue", "false"),
            ], events: 0)
    }

    /// `completion` is called once, when all topics are there.
    public func ensureTopics(_ completion: @escaping () -> Void = {}) {
        if isCancelled { return }
        completions.append(completion)
        begin()
    }

    /// Somebody misses a topic: makes it, unless that is being done.
    public func missesTopic() {
        if isRunning || isCancelled || isWanted { return }
        begin()
    }

    /// Gives up; no completion is called any more.
    public func cancel() {
        if isCancelled { return }
        isCancelled = true
        completions = []
        if let timer { core.loop.cancel(timer) }
        release()
        core.worker.finish()
    }

    private func begin() {
        if isRunning || isWanted { return }
        // The first of a row at once.
        let wait = rounds.failed(at: core.loop.now)
        let delay = rounds.failures == 1 ? 0 : wait
        isWanted = true
        timer = core.loop.schedule(after: delay) { [weak self] in
            guard let self, !isCancelled else { return }
            timer = nil
            isWanted = false
            isRunning = true
            attempt()
        }
    }

    private func attempt() {
        let client: NativeClient
        do throws(KafkaError) {
            if let kept = self.client {
                client = kept
            } else {
                client = try Self.makeClient(core.configuration)
            }
            self.client = client
        } catch {
            core.report(error, "no client to make topics with")
            return again()
        }
        let topics = topics
        let limits = core.configuration.limits
        core.worker.run(on: core.loop) { () -> Result<[(topic: String, error: KafkaError)], KafkaError> in
            client.look(at: .everything, timeout: limits.metadataTimeoutMilliseconds).map { there in
                let missing = topics.filter { there[$0.name].map { $0.error?.isMissingTopic ?? false } ?? true }
                if missing.isEmpty { return [] }
                switch Self.create(missing, client, timeout: limits.creationTimeoutMilliseconds) {
                case .success(let failures): return failures
                case .failure(let error): return missing.map { ($0.name, error) }
                }
            }
        } then: { [weak self] outcome in
            guard let self, !isCancelled else { return }
            switch outcome {
            case .failure(let error):
                core.isDown(error)
                again()
            case .success(let failures): take(failures)
            }
        }
    }

    private func take(_ failures: [(topic: String, error: KafkaError)]) {
        core.isUp()
        for topic in topics {
            let words = "Making the topic \(topic.name)"
            if let failure = failures.first(where: { $0.topic == topic.name }) {
                core.refuses(words, failure.error)
            } else {
                core.works(words)
            }
        }
        if failures.isEmpty { finish() } else { again() }
    }

    private func again() {
        timer = core.loop.schedule(after: tries.failed(at: core.loop.now)) { [weak self] in
            guard let self, !isCancelled else { return }
            timer = nil
            attempt()
        }
    }

    private func finish() {
        isRunning = false
        tries.succeeded()
        release()
        let done = completions
        completions = []
        for completion in done { completion() }
    }

    private func release() {
        guard let old = client else { return }
        client = nil
        core.worker.submit { old.destroy() }
    }

    /// Blocks. The topics that could not be made, unless somebody else made them meanwhile.
    private static func create(
        _ topics: [TopicSpecification], _ client: NativeClient, timeout: Int32
    ) -> Result<[(topic: String, error: KafkaError)], KafkaError> {
        var made = unsafe [OpaquePointer?]()
        defer { unsafe rd_kafka_NewTopic_destroy_array(&made, made.count) }
        var text = [CChar](repeating: 0, count: 512)
        for topic in topics {
            let new = unsafe rd_kafka_NewTopic_new(
                topic.name, topic.partitions, topic.replicationFactor, &text, text.count)
            guard unsafe new != nil else {
                let words = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                return .success(topics.map { ($0.name, .configuration(words)) })
            }
            unsafe made.append(new)
            if let retention = topic.retentionMilliseconds {
                _ = unsafe rd_kafka_NewTopic_set_config(new, "retention.ms", String(retention))
            }
            if topic.isCompacted {
                // With a retention older records go, too: else the newest of each key stays for ever.
                let policy = topic.retentionMilliseconds == nil ? "compact" : "compact,delete"
                _ = unsafe rd_kafka_NewTopic_set_config(new, "cleanup.policy", policy)
            }
        }
        guard let queue = unsafe rd_kafka_queue_new(client.handle) else { return .failure(.configuration("no queue")) }
        defer { unsafe rd_kafka_queue_destroy(queue) }
        let options = unsafe rd_kafka_AdminOptions_new(client.handle, RD_KAFKA_ADMIN_OP_CREATETOPICS)
        defer { unsafe rd_kafka_AdminOptions_destroy(options) }
        _ = unsafe rd_kafka_AdminOptions_set_request_timeout(options, timeout, &text, text.count)
        _ = unsafe rd_kafka_AdminOptions_set_operation_timeout(options, timeout, &text, text.count)
        unsafe rd_kafka_CreateTopics(client.handle, &made, made.count, options, queue)
        guard let event = unsafe rd_kafka_queue_poll(queue, timeout + 1_000) else {
            return .failure(.timedOut("no answer to the making of topics"))
        }
        defer { unsafe rd_kafka_event_destroy(event) }
        let whole = unsafe rd_kafka_event_error(event)
        if whole != RD_KAFKA_RESP_ERR_NO_ERROR { return unsafe .failure(ClientCore.error(of: event)) }
        var count = 0
        guard let result = unsafe rd_kafka_event_CreateTopics_result(event),
            let answers = unsafe rd_kafka_CreateTopics_result_topics(result, &count)
        else { return .failure(.timedOut("no answer to the making of topics")) }
        var failures: [(topic: String, error: KafkaError)] = []
        for index in 0..<count {
            let error = unsafe rd_kafka_topic_result_error(answers[index])
            if error == RD_KAFKA_RESP_ERR_NO_ERROR || error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS { continue }
            let text = unsafe rd_kafka_topic_result_error_string(answers[index]).map { unsafe String(cString: $0) }
            let name = unsafe rd_kafka_topic_result_name(answers[index]).map { unsafe String(cString: $0) } ?? ""
            failures.append((name, KafkaError(error, message: text)))
        }
        return .success(failures)
    }
}
