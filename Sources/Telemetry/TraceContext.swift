import Bytes

/// Where a request stands in a distributed trace: what `traceparent` says (W3C Trace Context §3.2).
///
/// Cabstand records no spans of its own, so it passes the context on as it came and writes its identifiers into log lines:
/// they are those of the caller's span.
@frozen public struct TraceContext: Sendable, Equatable {
    /// The trace's 16 bytes; not all zeros, except in `none`.
    @usableFromInline let high: UInt64
    @usableFromInline let low: UInt64
    /// The caller's span.
    @usableFromInline let parent: UInt64
    @usableFromInline let flags: UInt8

    /// No context: the caller gave none, or one that is not valid.
    @inlinable public static var none: TraceContext { TraceContext(high: 0, low: 0, parent: 0, flags: 0) }

    @inlinable
    init(high: UInt64, low: UInt64, parent: UInt64, flags: UInt8) {
        self.high = high
        self.low = low
        self.parent = parent
        self.flags = flags
    }

    /// Reads `00-` 32 hex digits `-` 16 hex digits `-` 2 hex digits; of a version to come the first four parts. `none` for
    /// anything else, and when an identifier is all zeros.
    public init(_ text: Span<UInt8>) {
        self = .none
        func isDash(_ index: Int) -> Bool { text[index] == UInt8(ascii: "-") }
        guard text.count >= 55, isDash(2), isDash(35), isDash(52),
            let version = Self.number(text, 0..<2), version != 0xFF,
            text.count == 55 || (version > 0 && isDash(55)),
            let high = Self.number(text, 3..<19), let low = Self.number(text, 19..<35), high | low != 0,
            let parent = Self.number(text, 36..<52), parent != 0, let flags = Self.number(text, 53..<55)
        else { return }
        self.init(high: high, low: low, parent: parent, flags: UInt8(truncatingIfNeeded: flags))
    }

    /// Whether there is none.
    @inlinable public var isNone: Bool { parent == 0 }

    /// 32 hexadecimal digits.
    public var traceID: String { Self.hex(high, 16) + Self.hex(low, 16) }

    /// 16 hexadecimal digits: the caller's span.
    public var spanID: String { Self.hex(parent, 16) }

    /// As it travels, in version 00.
    public var traceparent: String { "00-\(traceID)-\(spanID)-\(Self.hex(UInt64(flags), 2))" }

    /// Lower-case digits only, as the specification wants them.
    private static func number(_ text: Span<UInt8>, _ range: Range<Int>) -> UInt64? {
        var value: UInt64 = 0
        for index in range {
            let byte = text[index]
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - 48
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - 87
            default: return nil
            }
            value = value << 4 | UInt64(digit)
        }
        return value
    }

    private static func hex(_ value: UInt64, _ width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: width - digits.count) + digits
    }
}
