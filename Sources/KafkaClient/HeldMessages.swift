/// Messages of a strict producer that wait until everything before them is acknowledged, first in, first out.
struct HeldMessages {
    struct Message {
        let topic: String
        let key: String
        let value: [UInt8]
        let headers: [KafkaHeader]
        let opaque: UInt64

        /// Bytes in a request, rather too many: the fields of a record and what librdkafka counts for each.
        var bytes: Int {
            headers.reduce(key.utf8.count + value.count + 96) {
                $0 + $1.name.utf8CodeUnitCount + $1.value.utf8.count + 16
            }
        }
    }

    /// A ring would save the moving; the array is compacted when half of it is done.
    private var messages: [Message] = []
    private var head = 0
    private(set) var bytes = 0

    var count: Int { messages.count - head }
    var first: Message? { head < messages.count ? messages[head] : nil }

    mutating func append(_ message: Message) {
        messages.append(message)
        bytes += message.bytes
    }

    mutating func removeFirst() {
        bytes -= messages[head].bytes
        head += 1
        if head > 64 && head * 2 > messages.count {
            messages.removeFirst(head)
            head = 0
        }
    }

    /// Empties it, and answers what was there.
    mutating func removeAll() -> [Message] {
        let all = Array(messages[head...])
        self = HeldMessages()
        return all
    }
}
