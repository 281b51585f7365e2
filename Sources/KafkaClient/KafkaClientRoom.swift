// KafkaClient: being built.
