import CRdKafka

/// What librdkafka or a broker answered.
public struct KafkaError: Error, Sendable, Hashable, CustomStringConvertible {
    /// librdkafka's number: negative ones are the client's own, positive ones a broker's.
    public let code: Int32
    /// librdkafka's name of the number, as `_MSG_TIMED_OUT`.
    public let name: String
    /// What librdkafka says of it, in words.
    public let message: String
    /// The client that met it can do nothing any more and has to be made anew.
    public let isFatal: Bool

    init(code: Int32, message: String? = nil, isFatal: Bool = false) {
        self.code = code
        let native = rd_kafka_resp_err_t(rawValue: code)
        // Proof: both functions return static, NUL-terminated text.
        name = unsafe String(cString: rd_kafka_err2name(native))
        self.message = unsafe message ?? String(cString: rd_kafka_err2str(native))
        self.isFatal = isFatal
    }

    init(_ native: rd_kafka_resp_err_t, message: String? = nil) {
        self.init(code: native.rawValue, message: message, isFatal: native == RD_KAFKA_RESP_ERR__FATAL)
    }

    /// A configuration that librdkafka refuses.
    static func configuration(_ message: String) -> KafkaError {
        KafkaError(code: RD_KAFKA_RESP_ERR__INVALID_ARG.rawValue, message: message)
    }

    /// A topic with a partition that no broker leads now.
    static var leaderless: KafkaError { KafkaError(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) }

    /// The bound on the wait passed.
    static func timedOut(_ message: String) -> KafkaError {
        KafkaError(code: RD_KAFKA_RESP_ERR__TIMED_OUT.rawValue, message: message)
    }

    /// The topic, or the partition of it, is not there.
    public var isMissingTopic: Bool {
        switch rd_kafka_resp_err_t(rawValue: code) {
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
            RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
            true
        default: false
        }
    }

    /// The cluster answered, and its answer is no.
    var isRefusal: Bool { code > 0 || isMissingTopic }

    /// The message was taken back by ourselves: nobody refused it.
    var isPurge: Bool {
        let native = rd_kafka_resp_err_t(rawValue: code)
        return native == RD_KAFKA_RESP_ERR__PURGE_QUEUE || native == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT
    }

    public var description: String { "\(message) (\(name))" }
}
