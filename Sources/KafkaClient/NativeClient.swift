import CRdKafka
import Reactor

/// One `rd_kafka_t`: a producer or a consumer with librdkafka's own threads behind it.
///
/// Proof of `@unchecked Sendable`: librdkafka's handle is thread-safe, and this class changes nothing after `init`.
/// Not freed by `deinit`: destroying it blocks, so whoever owns it calls `destroy()` on a thread that may.
@safe final class NativeClient: @unchecked Sendable {
    enum Kind { case producer, consumer }

    let handle: OpaquePointer

    /// - Parameters:
    ///   - defaults: this room's choices; `configuration.properties` go over them.
    ///   - overrides: what this client can't do without: they go over everything.
    ///   - events: `RD_KAFKA_EVENT_…` flags that are to be delivered by queue.
    /// - Throws: a property that librdkafka does not know or whose value it refuses.
    init(
        _ kind: Kind, _ configuration: KafkaConfiguration, defaults: [KafkaProperty],
        overrides: [KafkaProperty] = [], events: Int32
    ) throws(KafkaError) {
        let common = [
            KafkaProperty("bootstrap.servers", configuration.bootstrapServers),
            KafkaProperty("client.id", configuration.clientID),
            // A broker that has restarted is found again within half a second; the default is 10 s.
            KafkaProperty("reconnect.backoff.max.ms", "500"),
            // Brokers close idle connections: that is no news.
            KafkaProperty("log.connection.close", "false"),
            // Log lines come by queue, so no foreign thread ever calls into Swift.
            KafkaProperty("log.queue", "true"),
        ]
        guard let conf = unsafe rd_kafka_conf_new() else { throw KafkaError.configuration("out of memory") }
        var text = [CChar](repeating: 0, count: 512)
        for property in common + defaults + configuration.properties + overrides {
            let result = unsafe rd_kafka_conf_set(conf, property.key, property.value, &text, text.count)
            if result != RD_KAFKA_CONF_OK {
                unsafe rd_kafka_conf_destroy(conf)
                throw KafkaError.configuration(Self.string(text))
            }
        }
        unsafe rd_kafka_conf_set_events(conf, events)
        let type = kind == .producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER
        // A thread that takes a signal ends the program without a drain.
        let inherited = SignalMask.block()
        defer { SignalMask.restore(inherited) }
        guard let handle = unsafe rd_kafka_new(type, conf, &text, text.count) else {
            unsafe rd_kafka_conf_destroy(conf)
            throw KafkaError.configuration(Self.string(text))
        }
        unsafe self.handle = handle
    }

    /// Blocks until librdkafka's threads have ended. Queues and topics of this client must be gone before.
    func destroy() {
        unsafe rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
    }

    /// Blocks for at most `timeout` milliseconds for a first answer of the cluster; later answers come from memory.
    func clusterID(timeout: Int32) -> String? {
        guard let text = unsafe rd_kafka_clusterid(handle, timeout) else { return nil }
        defer { unsafe rd_kafka_mem_free(handle, text) }
        return unsafe String(cString: text)
    }

    /// What the cluster says of topics: all that it has, one of this client's, or all of this client's (an answer also
    /// when it has none: a sign of life). Blocks for at most `timeout` milliseconds.
    func look(at subject: LookSubject, timeout: Int32) -> Result<[String: TopicView], KafkaError> {
        var answer: UnsafePointer<rd_kafka_metadata>?
        let all: Int32 =
            switch subject {
            case .everything: 1
            case .topic, .ownTopics: 0
            }
        var handle: OpaquePointer?
        if case .topic(let topic) = subject { unsafe handle = topic.handle }
        let error = unsafe rd_kafka_metadata(self.handle, all, handle, &answer, timeout)
        defer { if let metadata = unsafe answer { unsafe rd_kafka_metadata_destroy(metadata) } }
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata = unsafe answer else {
            return .failure(KafkaError(error))
        }
        var views: [String: TopicView] = [:]
        for index in 0..<max(0, Int(unsafe metadata.pointee.topic_cnt)) {
            let entry = unsafe metadata.pointee.topics[index]
            guard let name = unsafe entry.topic else { continue }
            var view = TopicView()
            if unsafe entry.err != RD_KAFKA_RESP_ERR_NO_ERROR { view.error = unsafe KafkaError(entry.err) }
            view.partitions = max(0, unsafe entry.partition_cnt)
            for index in 0..<Int(view.partitions) where unsafe entry.partitions[index].leader < 0 {
                view.leaderless += 1
            }
            unsafe views[String(cString: name)] = view
        }
        return .success(views)
    }

    /// The error that made the client useless, if there was one.
    var fatalError: KafkaError? {
        var text = [CChar](repeating: 0, count: 512)
        let error = unsafe rd_kafka_fatal_error(handle, &text, text.count)
        if error == RD_KAFKA_RESP_ERR_NO_ERROR { return nil }
        return KafkaError(code: error.rawValue, message: Self.string(text), isFatal: true)
    }

    private static func string(_ text: [CChar]) -> String {
        String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// Whom a look at the cluster is for.
enum LookSubject: Sendable {
    case everything
    case topic(NativeTopic)
    /// Those that the client has a handle of.
    case ownTopics
}

/// What the cluster says of a topic.
struct TopicView: Sendable {
    /// Why it can't be used: it is not there, or not for us.
    var error: KafkaError?
    var partitions: Int32 = 0
    /// Partitions that no broker leads: they can neither be read nor written.
    var leaderless: Int32 = 0
}

/// A topic handle of one client. Proof of `@unchecked Sendable`: reference-counted by librdkafka and immutable.
@safe final class NativeTopic: @unchecked Sendable {
    let handle: OpaquePointer

    init(_ name: String, of client: NativeClient) throws(KafkaError) {
        guard let handle = unsafe rd_kafka_topic_new(client.handle, name, nil) else {
            throw KafkaError(rd_kafka_last_error())
        }
        unsafe self.handle = handle
    }

    deinit { unsafe rd_kafka_topic_destroy(handle) }
}
