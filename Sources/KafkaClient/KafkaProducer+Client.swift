import CRdKafka

/// How the producer's client is made.
extension KafkaProducer {
    /// What a message that can't be delivered does to the ones behind it.
    public enum Order: Sendable {
        /// They go out.
        case usual
        /// They wait for `reset`: nothing that was given after a message that failed is sent before. At most one request is
        /// on its way for each partition, with what gathered behind the one before: many messages share their requests.
        /// After `reset` what has no report is to be sent again, so readers must ignore what is older than what they have
        /// (`seq`).
        case strict
    }

    private static let defaults = [
        KafkaProperty("enable.idempotence", "true"),
        KafkaProperty("acks", "all"),
        KafkaProperty("message.timeout.ms", "0"),
        KafkaProperty("linger.ms", "0"),
        // What Java's producer does, and so Kafka Streams and Connect: topics that are written by both, or joined by key, have a
        // key in the same partition. librdkafka's own choice is another hash.
        KafkaProperty("partitioner", "murmur2_random"),
        // The scar: with five requests under way, which is the default and the most that idempotence allows, and a message
        // behind them, librdkafka (2.0.2) polls without a pause until the broker answers.
        KafkaProperty("max.in.flight.requests.per.connection", "4"),
    ]
    private static let events = RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG

    static func makeClient(
        _ configuration: KafkaConfiguration, _ order: Order
    ) throws(KafkaError) -> NativeClient {
        let limits = configuration.limits
        let bounds = [
            KafkaProperty("queue.buffering.max.messages", String(limits.producerMessages)),
            KafkaProperty("queue.buffering.max.kbytes", String(limits.producerKilobytes)),
        ]
        let client = try NativeClient(
            .producer, configuration, defaults: defaults + bounds,
            overrides: order == .strict ? StrictBatches.properties(configuration) : [], events: events)
        unsafe rd_kafka_set_log_queue(client.handle, nil)
        return client
    }
}
