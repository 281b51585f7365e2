import CRdKafka
import Reactor

/// librdkafka's mock cluster: one broker in this process, on a free port of 127.0.0.1, for a laptop and for tests.
///
/// It keeps nothing beyond the process and at most about 5 MB per partition. It answers a fetch only after the
/// consumer's `fetch.wait.max.ms`: consumers should use `properties`. It makes no topics on request, so they are made
/// here. Thread-safe: nothing changes after `init`.
@safe public final class EmbeddedBroker: Sendable {
    /// What clients of this broker should set.
    public static let properties = [KafkaProperty("fetch.wait.max.ms", "10")]

    /// `127.0.0.1:port`.
    public let bootstrapServers: String
    private let client: NativeClient
    private let cluster: NativeCluster

    /// - Throws: if there is no port or no thread to be had.
    public init(topics: [TopicSpecification]) throws(KafkaError) {
        let configuration = KafkaConfiguration(bootstrapServers: "", clientID: "embedded-broker")
        // The log level keeps the mock's connection lines quiet; nobody reads this client's queue.
        client = try NativeClient(
            .producer, configuration,
            defaults: [KafkaProperty("log_level", "2"), KafkaProperty("log.queue", "false")], events: 0)
        // librdkafka blocks signals for its clients' threads, and not for that of its mock cluster, which takes the mask of
        // whoever makes it.
        let inherited = SignalMask.block()
        defer { SignalMask.restore(inherited) }
        guard let cluster = unsafe rd_kafka_mock_cluster_new(client.handle, 1) else {
            client.destroy()
            throw KafkaError.configuration("no embedded broker could be started")
        }
        self.cluster = unsafe NativeCluster(cluster)
        // Proof: the text belongs to the cluster and is copied.
        bootstrapServers = unsafe String(cString: rd_kafka_mock_cluster_bootstraps(cluster))
        for topic in topics {
            let error = unsafe rd_kafka_mock_topic_create(cluster, topic.name, topic.partitions, 1)
            if error != RD_KAFKA_RESP_ERR_NO_ERROR {
                stop()
                throw KafkaError(error)
            }
        }
    }

    /// Ends the broker and drops everything. Blocks; once, and never on a loop.
    public func stop() {
        unsafe rd_kafka_mock_cluster_destroy(cluster.handle)
        client.destroy()
    }

    /// For tests: the broker stops answering (connections are closed) and comes back with its data.
    public func setReachable(_ reachable: Bool) {
        if reachable {
            _ = unsafe rd_kafka_mock_broker_set_up(cluster.handle, 1)
        } else {
            _ = unsafe rd_kafka_mock_broker_set_down(cluster.handle, 1)
        }
    }

    /// For tests: whatever concerns this topic is answered with this error code of the Kafka protocol, as if the topic were
    /// not there (3) or not for us (29); 0 ends that. Its data stay.
    public func failTopic(_ name: String, _ code: Int32) {
        unsafe rd_kafka_mock_topic_set_error(cluster.handle, name, rd_kafka_resp_err_t(rawValue: code))
    }

    /// For tests: the broker takes this many milliseconds for an answer.
    public func setDelay(_ milliseconds: Int32) {
        _ = unsafe rd_kafka_mock_broker_set_rtt(cluster.handle, 1, milliseconds)
    }

    /// For tests: the next produce requests are answered with these error codes of the Kafka protocol.
    public func failProduceRequests(_ codes: [Int32]) {
        let errors = codes.map { rd_kafka_resp_err_t(rawValue: $0) }
        unsafe rd_kafka_mock_push_request_errors_array(cluster.handle, 0, errors.count, errors)
    }
}

/// Proof of `@unchecked Sendable`: the mock cluster's functions hand their work to its own thread.
@safe private final class NativeCluster: @unchecked Sendable {
    let handle: OpaquePointer
    init(_ handle: OpaquePointer) { unsafe self.handle = handle }
}
