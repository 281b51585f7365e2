import CRdKafka
import Reactor
import Telemetry

/// A topic as it has to be there.
public struct TopicSpecification: Sendable, Hashable {
    public let name: String
    public let partitions: Int32
    public let replicationFactor: Int32
    /// nil: the broker's own.
    public let retentionMilliseconds: Int64?

    public init(name: String, partitions: Int32, replicationFactor: Int32, retentionMilliseconds: Int64? = nil) {
        self.name = name
        self.partitions = partitions
        self.replicationFactor = replicationFactor
        self.retentionMilliseconds = retentionMilliseconds
    }
}

/// Makes topics that are missing; what is there is left as it is. Tries until it succeeds or is cancelled.
///
/// All calls and callbacks on `loop`; the questions are asked on a thread of its own.
public final class KafkaAdmin {
    private static let retryInterval: UInt64 = 500_000_000
    private static let requestTimeoutMilliseconds: Int32 = 10_000

    private let core: ClientCore
    private let client: NativeClient
    private let topics: [TopicSpecification]
    private var completion: (() -> Void)?

    /// - Throws: a property of the configuration that librdkafka refuses.
    public init(
        loop: EventLoop, configuration: KafkaConfiguration, topics: [TopicSpecification]
    ) throws(KafkaError) {
        core = try ClientCore(loop: loop, configuration: configuration, role: "admin")
        client = try NativeClient(.producer, configuration, defaults: [], events: 0)
        self.topics = topics
    }

    /// `completion` is called once, when all topics are there.
    public func ensureTopics(_ completion: @escaping () -> Void) {
        self.completion = completion
        attempt()
    }

    /// Gives up; the completion is not called any more.
    public func cancel() {
        guard completion != nil else { return }
        completion = nil
        end()
    }

    private func attempt() {
        let client = client
        let topics = topics
        let timeout = core.configuration.limits.metadataTimeoutMilliseconds
        core.worker.run(on: core.loop) { () -> KafkaError? in
            switch client.partitionCounts(of: nil, timeout: timeout) {
            case .failure(let error): return error
            case .success(let there):
                let missing = topics.filter { there[$0.name] == nil }
                return missing.isEmpty ? nil : Self.create(missing, client)
            }
        } then: { [weak self] error in
            guard let self, let completion else { return }
            guard let error else {
                self.completion = nil
                core.isUp()
                end()
                return completion()
            }
            core.isDown(error)
            core.loop.schedule(after: Self.retryInterval) { [weak self] in
                if self?.completion != nil { self?.attempt() }
            }
        }
    }

    private func end() {
        let client = client
        core.worker.submit { client.destroy() }
        core.worker.finish()
    }

    /// Blocks. The first topic that could not be made, unless somebody else made it meanwhile.
    private static func create(_ topics: [TopicSpecification], _ client: NativeClient) -> KafkaError? {
        var made = unsafe [OpaquePointer?]()
        defer { unsafe rd_kafka_NewTopic_destroy_array(&made, made.count) }
        var text = [CChar](repeating: 0, count: 512)
        for topic in topics {
            let new = unsafe rd_kafka_NewTopic_new(
                topic.name, topic.partitions, topic.replicationFactor, &text, text.count)
            guard unsafe new != nil else {
                return KafkaError.configuration(
                    String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
            }
            unsafe made.append(new)
            if let retention = topic.retentionMilliseconds {
                _ = unsafe rd_kafka_NewTopic_set_config(new, "retention.ms", String(retention))
            }
        }
        guard let queue = unsafe rd_kafka_queue_new(client.handle) else { return .configuration("no queue") }
        defer { unsafe rd_kafka_queue_destroy(queue) }
        let options = unsafe rd_kafka_AdminOptions_new(client.handle, RD_KAFKA_ADMIN_OP_CREATETOPICS)
        defer { unsafe rd_kafka_AdminOptions_destroy(options) }
        _ = unsafe rd_kafka_AdminOptions_set_request_timeout(options, requestTimeoutMilliseconds, &text, text.count)
        _ = unsafe rd_kafka_AdminOptions_set_operation_timeout(options, requestTimeoutMilliseconds, &text, text.count)
        unsafe rd_kafka_CreateTopics(client.handle, &made, made.count, options, queue)
        guard let event = unsafe rd_kafka_queue_poll(queue, requestTimeoutMilliseconds + 1_000) else {
            return .timedOut("no answer to the making of topics")
        }
        defer { unsafe rd_kafka_event_destroy(event) }
        let whole = unsafe rd_kafka_event_error(event)
        if whole != RD_KAFKA_RESP_ERR_NO_ERROR { return unsafe ClientCore.error(of: event) }
        var count = 0
        guard let result = unsafe rd_kafka_event_CreateTopics_result(event),
            let answers = unsafe rd_kafka_CreateTopics_result_topics(result, &count)
        else { return .timedOut("no answer to the making of topics") }
        for index in 0..<count {
            let error = unsafe rd_kafka_topic_result_error(answers[index])
            if error == RD_KAFKA_RESP_ERR_NO_ERROR || error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS { continue }
            let text = unsafe rd_kafka_topic_result_error_string(answers[index]).map { unsafe String(cString: $0) }
            return KafkaError(error, message: text)
        }
        return nil
    }
}
