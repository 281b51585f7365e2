import CRdKafka
import Telemetry

/// One record, borrowed from librdkafka during the call that hands it over. Nothing is copied.
@safe public struct KafkaRecord: ~Copyable {
    private let message: UnsafePointer<rd_kafka_message_t>

    /// Proof: the caller keeps the event that owns the message until the record's borrow has ended.
    init(_ message: UnsafePointer<rd_kafka_message_t>) {
        unsafe self.message = message
    }

    /// The partition that it lies in.
    public var partition: Int32 { unsafe message.pointee.partition }

    /// Its number in the partition.
    public var offset: Int64 { unsafe message.pointee.offset }

    /// Unix milliseconds, as the producer (or the broker, by the topic's configuration) set them; nil if there are none.
    public var timestampMilliseconds: Int64? {
        var type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
        let value = unsafe rd_kafka_message_timestamp(message, &type)
        return type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? nil : value
    }

    /// Empty if the record has no key.
    public var key: Span<UInt8> {
        @_lifetime(borrow self)
        borrowing get {
            let bytes = unsafe UnsafeRawBufferPointer(start: message.pointee.key, count: message.pointee.key_len)
            return unsafe _overrideLifetime(Span<UInt8>(_unsafeBytes: bytes), borrowing: self)
        }
    }

    /// Empty for a tombstone.
    public var value: Span<UInt8> {
        @_lifetime(borrow self)
        borrowing get {
            let bytes = unsafe UnsafeRawBufferPointer(start: message.pointee.payload, count: message.pointee.len)
            return unsafe _overrideLifetime(Span<UInt8>(_unsafeBytes: bytes), borrowing: self)
        }
    }

    /// The last header of that name, as UTF-8 text; nil if there is none.
    public func header(_ name: StaticString) -> String? {
        unsafe header(name) { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// Where what the record tells of began: its header `traceparent` (W3C Trace Context §3.2); `none` if there is none, or one
    /// that is not valid.
    public var trace: TraceContext {
        unsafe header("traceparent") { unsafe TraceContext(Span(_unsafeBytes: $0)) } ?? .none
    }

    private func header<Value>(_ name: StaticString, _ read: (UnsafeRawBufferPointer) -> Value) -> Value? {
        var headers: OpaquePointer?
        let found = unsafe rd_kafka_message_headers(message, &headers)
        guard found == RD_KAFKA_RESP_ERR_NO_ERROR, let headers = unsafe headers else { return nil }
        var bytes: UnsafeRawPointer?
        var count = 0
        // Proof: a StaticString is NUL-terminated, and the value lives as long as the message.
        let name = unsafe UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        let result = unsafe rd_kafka_header_get_last(headers, name, &bytes, &count)
        guard result == RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        return unsafe read(UnsafeRawBufferPointer(start: bytes, count: count))
    }
}

/// A header of a record that is produced.
public struct KafkaHeader: Sendable {
    /// The header's name.
    public let name: StaticString
    /// Its value, sent as UTF-8.
    public let value: String

    /// A header and its value.
    public init(_ name: StaticString, _ value: String) {
        self.name = name
        self.value = value
    }
}

extension [KafkaHeader] {
    /// Adds `traceparent`, if there is a trace.
    public mutating func add(_ trace: TraceContext) {
        if !trace.isNone { append(KafkaHeader("traceparent", trace.traceparent)) }
    }
}
