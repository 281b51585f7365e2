import KafkaClient
import Operations
import RideAPI

extension TopicSpecification {
    /// Where revocations are: compacted, and kept for as long as one says something. What the operator wants for other topics does
    /// not count here: a shorter retention would let revoked tokens in again. One partition, since there are few.
    public static func revocations(_ settings: ProgramSettings) -> TopicSpecification {
        TopicSpecification(
            name: Revocation.topic, partitions: 1, replicationFactor: Int32(clamping: settings.kafkaReplicationFactor),
            retentionMilliseconds: Revocation.life, isCompacted: true)
    }
}
