import KafkaClient

extension KafkaConfiguration {
    /// What the operator says.
    public init(_ settings: ProgramSettings, clientID: String, group: String) {
        self.init(
            bootstrapServers: settings.kafkaBootstrapServers, clientID: clientID,
            properties: settings.kafkaConfig.map { KafkaProperty($0.key, $0.value) }, group: group)
    }
}

extension TopicSpecification {
    /// A topic with the partitions, replicas and retention that the operator wants.
    public init(_ name: String, _ settings: ProgramSettings) {
        self.init(
            name: name, partitions: Int32(settings.kafkaPartitions),
            replicationFactor: Int32(settings.kafkaReplicationFactor),
            retentionMilliseconds: Int64(settings.kafkaRetentionMs))
    }
}
