import KafkaClient
import Settings

extension KafkaConfiguration {
    /// What the operator says.
    public init(_ settings: SettingsValues, clientID: String, group: String) {
        self.init(
            bootstrapServers: settings[CabstandSettings.kafkaBootstrapServers], clientID: clientID,
            properties: settings[CabstandSettings.kafkaConfig].map { KafkaProperty($0.key, $0.value) }, group: group)
    }
}

extension TopicSpecification {
    /// A topic with the partitions, replicas and retention that the operator wants.
    public init(_ name: String, _ settings: SettingsValues) {
        self.init(
            name: name, partitions: Int32(settings[CabstandSettings.kafkaPartitions]),
            replicationFactor: Int32(settings[CabstandSettings.kafkaReplicationFactor]),
            retentionMilliseconds: Int64(settings[CabstandSettings.kafkaRetentionMs]))
    }
}
