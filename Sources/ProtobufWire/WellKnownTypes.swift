import Bytes

extension Google_Protobuf_Timestamp {
    /// The instant that is `milliseconds` after (or before) 1970-01-01T00:00:00Z.
    @inlinable
    public init(unixMilliseconds milliseconds: Int64) {
        self.init()
        var (seconds, rest) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        if rest < 0 {
            seconds -= 1
            rest += 1000
        }
        self.seconds = seconds
        nanos = Int32(rest) * 1_000_000
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, rounded down; what lies outside of the years 1 to 9999 is not a
    /// valid timestamp, and becomes the first or last instant of them.
    @inlinable
    public var unixMilliseconds: Int64 {
        let seconds = min(max(seconds, -62_135_596_800), 253_402_300_799)
        return seconds * 1000 + Int64(min(max(nanos, 0), 999_999_999) / 1_000_000)
    }
}

extension Google_Protobuf_Duration {
    /// A span of time of as many milliseconds.
    public init(milliseconds: Int64) {
        self.init(seconds: milliseconds / 1000, nanos: Int32(milliseconds % 1000) * 1_000_000)
    }

    /// Milliseconds, rounded towards zero; at most 10,000 years.
    public var milliseconds: Int64 {
        min(max(seconds, -315_576_000_000), 315_576_000_000) * 1000 + Int64(nanos / 1_000_000)
    }
}

extension Google_Protobuf_Any {
    /// Packs a message under `type.googleapis.com/`.
    public init<Message: ProtobufMessage>(packing message: Message) {
        self.init(typeURL: "type.googleapis.com/" + Message.fullName, value: message.encoded())
    }

    /// Whether a message of this type is packed: the URL's last segment is its name.
    public func holds<Message: ProtobufMessage>(_ type: Message.Type) -> Bool {
        typeURL.split(separator: "/", omittingEmptySubsequences: false).last.map { $0 == Message.fullName } ?? false
    }

    /// The packed message; nil if it is of another type, or can't be read.
    public func unpacked<Message: ProtobufMessage>(as type: Message.Type) -> Message? {
        holds(type) ? try? Message(decoding: value) : nil
    }
}
