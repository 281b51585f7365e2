// Prints what is written to a topic from now on.
//   tail localhost:9092 orders

import Glibc
import KafkaClient

/// Holds the consumer of its loop.
final class Tail: LoopService {
    private let consumer: KafkaConsumer

    init(_ loop: EventLoop, brokers: String, topic: String) throws {
        consumer = try KafkaConsumer(
            loop: loop, configuration: KafkaConfiguration(bootstrapServers: brokers, clientID: "tail"), topic: topic,
            start: .end)
        consumer.onPositioned = { say("at the end of \(topic)") }
        consumer.onRecord = { record in
            say("\(record.partition)/\(record.offset) \(String(utf8: record.key)): \(String(utf8: record.value))")
        }
    }

    func drain(_ completion: @escaping () -> Void) { consumer.close(completion) }
}

/// A line at once, into a pipe too.
func say(_ line: String) {
    print(line)
    fflush(nil)
}

guard CommandLine.arguments.count == 3 else {
    print("usage: tail BROKERS TOPIC")
    exit(64)
}
let (brokers, topic) = (CommandLine.arguments[1], CommandLine.arguments[2])
exit(Server.run(loops: 1) { loop in [try Tail(loop, brokers: brokers, topic: topic)] })
