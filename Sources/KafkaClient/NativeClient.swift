import CRdKafka

/// One `rd_kafka_t`: a producer or a consumer with librdkafka's own threads behind it.
///
/// Proof of `@unchecked Sendable`: librdkafka's handle is thread-safe, and this class changes nothing after `init`.
/// Not freed by `deinit`: destroying it blocks, so whoever owns it calls `destroy()` on a thread that may.
@safe final class NativeClient: @unchecked Sendable {
    enum Kind { case producer, consumer }

    let handle: OpaquePointer

    /// - Parameters:
    ///   - defaults: the house's choices; `configuration.properties` go over them.
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
            // The default of 10 s would keep a restarted broker waiting that long.
            KafkaProperty("reconnect.backoff.max.ms", "500"),
            // One wake-up a minute is enough for a cache that the client's own look refreshes.
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

    /// What the cluster says of one topic, or of all topics. Blocks for at most `timeout` milliseconds.
    func partitionCounts(of topic: NativeTopic?, timeout: Int32) -> Result<[String: Int32], KafkaError> {
        var answer: UnsafePointer<rd_kafka_metadata>?
        let error = unsafe rd_kafka_metadata(handle, topic == nil ? 1 : 0, topic?.handle, &answer, timeout)
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata = unsafe answer else {
            return .failure(KafkaError(error))
        }
        defer { unsafe rd_kafka_metadata_destroy(metadata) }
        var counts: [String: Int32] = [:]
        for index in 0..<Int(unsafe metadata.pointee.topic_cnt) {
            let entry = unsafe metadata.pointee.topics[index]
            let name = unsafe String(cString: entry.topic)
            if unsafe entry.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                counts[name] = unsafe entry.partition_cnt
            } else if topic != nil {
                return .failure(unsafe KafkaError(entry.err))
            }
        }
        return .success(counts)
    }

    /// Asks any broker anything: nil if one answered within `timeout` milliseconds. Blocks.
    func signOfLife(timeout: Int32) -> KafkaError? {
        var answer: UnsafePointer<rd_kafka_metadata>?
        let error = unsafe rd_kafka_metadata(handle, 0, nil, &answer, timeout)
        if let metadata = unsafe answer { unsafe rd_kafka_metadata_destroy(metadata) }
        return error == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : KafkaError(error)
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
