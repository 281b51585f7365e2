import Reactor

/// How to reach Kafka, and the properties that go over this room's own choices.
public struct KafkaConfiguration: Sendable {
    /// `host:port`, several separated by commas.
    public var bootstrapServers: String
    /// What the brokers see in their logs and quotas.
    public var clientID: String
    /// librdkafka properties, applied last: SASL, TLS, time-outs. See librdkafka's CONFIGURATION.md.
    public var properties: [KafkaProperty]
    /// The group under which a consumer's position is committed. It is only for watching the lag: nobody joins a group.
    public var group: String
    /// The time between two looks of a producer at the cluster: whether it answers, whether its topics are there.
    @Nanoseconds public var metadataInterval: Duration
    /// The time between two looks of a consumer at the cluster: its id, the topic's partitions, whether it answers. A
    /// consumer that is behind without knowing it keeps people waiting, so it looks often; a look is one small request.
    @Nanoseconds public var livenessInterval: Duration
    /// The bounds of what is kept and waited for.
    public var limits: KafkaLimits

    /// A configuration.
    public init(
        bootstrapServers: String, clientID: String = "kafka-client", properties: [KafkaProperty] = [],
        group: String = "kafka-client", metadataInterval: Duration = .seconds(10),
        livenessInterval: Duration = .seconds(1), limits: KafkaLimits = KafkaLimits()
    ) {
        self.bootstrapServers = bootstrapServers
        self.clientID = clientID
        self.properties = properties
        self.group = group
        self.metadataInterval = metadataInterval
        self.livenessInterval = livenessInterval
        self.limits = limits
    }
}

/// One librdkafka property.
public struct KafkaProperty: Sendable, Hashable {
    /// The property's name.
    public let key: String
    /// Its value, as librdkafka reads it.
    public let value: String

    /// A property and its value.
    public init(_ key: String, _ value: String) {
        self.key = key
        self.value = value
    }
}

/// Every bound of the room, in one place.
public struct KafkaLimits: Sendable {
    /// Messages a producer holds before `produce` answers false.
    public var producerMessages = 100_000
    /// KiB a producer holds before `produce` answers false.
    public var producerKilobytes = 65_536
    /// KiB a consumer fetches ahead of its reader, for all partitions together.
    public var consumerKilobytes = 16_384
    /// Events taken from librdkafka in one turn of the loop; the rest follows in the next turn.
    public var eventsPerTurn = 512
    /// Milliseconds a question to the cluster may take, on the client's own thread.
    public var metadataTimeoutMilliseconds: Int32 = 3_000
    /// Milliseconds the making of topics may take.
    public var creationTimeoutMilliseconds: Int32 = 10_000
    /// The time without an answer to a consumer's look after which it takes its position for lost: the broker may hang,
    /// and a healthy one answers in milliseconds.
    @Nanoseconds public var doubtAfter: Duration = .milliseconds(500)

    /// As librdkafka counts them.
    var producerBytes: Int { producerKilobytes * 1024 }

    /// The defaults.
    public init() {}
}
