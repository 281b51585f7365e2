import Bytes
import HTTP2

extension Metadata {
    /// Encodes the entries as header fields, `-bin` values in Base64 without padding.
    func encode(_ encoder: inout HPACKEncoder, into output: inout ByteBuffer) {
        for entry in entries {
            let value = entry.isBinary ? Self.base64(entry.value) : entry.value
            var key = entry.key
            key.withUTF8 { name in
                unsafe value.withUnsafeBytes { value in
                    // Short ones tend to come again; long ones are request identifiers and the like. Credentials are kept out
                    // of every table on their way (RFC 7541 §7.1.3).
                    unsafe encoder.encode(
                        UnsafeRawBufferPointer(name), value, entry.isSecret ? .never : .none, into: &output)
                }
            }
        }
    }

    /// Takes over a field of the peer, if it is custom metadata. A `-bin` value that is not Base64 is left out.
    mutating func append(_ field: HeaderField) {
        guard Self.isCustom(field) else { return }
        unsafe append(key: field.name, value: field.value)
    }

    mutating func append(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        let key = unsafe Key(lowercase: String(decoding: key, as: UTF8.self))
        guard key.isBinary else { return unsafe storage.append(Entry(key, Array(value))) }
        // Several values of one key may have been joined with commas.
        let text = unsafe Array(value).filter { $0 != UInt8(ascii: " ") }
        let parts = text.split(
            separator: UInt8(ascii: ","), maxSplits: GRPCLimits.maximumJoinedValues - 1,
            omittingEmptySubsequences: false)
        for part in parts {
            let bytes = Array(part)
            if let value = Base64.decode(bytes.span) { storage.append(Entry(key, value)) }
        }
    }

    /// Whether a field is the application's and not the protocol's.
    @inline(__always)
    static func isCustom(_ field: HeaderField) -> Bool {
        let token = field.token.rawValue
        guard token == 0 else {
            return (token < 64 ? protocolTokens.0 >> UInt64(token) : protocolTokens.1 >> UInt64(token - 64)) & 1 == 0
        }
        let name = unsafe field.name
        guard name.count >= 5 else { return true }
        let isProtocol = unsafe name.loadUnaligned(as: UInt32.self) == grpcPrefix && name[4] == UInt8(ascii: "-")
        return !isProtocol
    }

    /// "grpc" as it lies in memory.
    private static var grpcPrefix: UInt32 { UInt32(bigEndian: 0x6772_7063) }

    /// The protocol's own names, one bit for each token.
    private static let protocolTokens: (UInt64, UInt64) = {
        let low: [HeaderToken] = [
            .authority, .method, .path, .scheme, .status, .contentLength, .contentType, .host, .transferEncoding,
            .userAgent,
        ]
        let high: [HeaderToken] = [
            .te, .connection, .keepAlive, .proxyConnection, .upgrade, .protocol, .grpcTimeout, .grpcEncoding,
            .grpcAcceptEncoding, .grpcStatus, .grpcMessage, .grpcStatusDetails,
        ]
        return (
            low.reduce(0) { $0 | 1 << UInt64($1.rawValue) }, high.reduce(0) { $0 | 1 << UInt64($1.rawValue - 64) }
        )
    }()

    /// What the entries take in a header block, about.
    var encodedSize: Int {
        entries.reduce(0) { $0 + $1.key.utf8.count + ($1.isBinary ? $1.value.count * 4 / 3 : $1.value.count) + 8 }
    }

    static func base64(_ bytes: [UInt8]) -> [UInt8] {
        var buffer = ByteBuffer()
        Base64.encode(bytes.span, into: &buffer)
        var text = buffer.array()
        while text.last == UInt8(ascii: "=") { text.removeLast() }
        return text
    }
}

/// The percent-encoding of `grpc-message`: everything but printable ASCII, and `%` itself.
enum PercentCoding {
    /// The text, or as many whole characters of its beginning as fit into `limit` bytes, and an ellipsis.
    static func encode(_ text: String, limit: Int = .max) -> [UInt8] {
        let ellipsis = Array("%E2%80%A6".utf8)
        var result: [UInt8] = []
        result.reserveCapacity(min(text.utf8.count, limit))
        let digits = Array("0123456789ABCDEF".utf8)
        // Where the last character ended behind which the ellipsis has room.
        var whole = 0
        for byte in text.utf8 {
            let beginsCharacter = byte & 0xc0 != 0x80
            if beginsCharacter && result.count <= limit - ellipsis.count { whole = result.count }
            if byte >= 0x20 && byte <= 0x7e && byte != UInt8(ascii: "%") {
                result.append(byte)
            } else {
                result.append(UInt8(ascii: "%"))
                result.append(digits[Int(byte >> 4)])
                result.append(digits[Int(byte & 15)])
            }
            if result.count > limit { return result[..<whole] + ellipsis }
        }
        return result
    }

    /// Never fails: what is not a valid escape stays as it is.
    static func decode(_ bytes: UnsafeRawBufferPointer) -> String {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            let byte = unsafe bytes[index]
            if byte == UInt8(ascii: "%"), index + 2 < bytes.count,
                let high = unsafe ASCII.hexValue(bytes[index + 1]), let low = unsafe ASCII.hexValue(bytes[index + 2])
            {
                result.append(high << 4 | low)
                index += 3
            } else {
                result.append(byte)
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// `grpc-timeout`: at most eight digits and a unit.
struct GRPCTimeout {
    private var text = InlineArray<9, UInt8>(repeating: 0)
    private var count = 0

    /// The text for a timeout: the finest unit in which it has at most eight digits, rounded up, since a deadline must not come
    /// early at the server.
    init(_ nanoseconds: UInt64) {
        var value = nanoseconds
        var unit = UInt8(ascii: "n")
        if value > 99_999_999 {
            let units: [(UInt64, UInt8)] = [
                (1000, UInt8(ascii: "u")), (1000, UInt8(ascii: "m")), (1000, UInt8(ascii: "S")),
                (60, UInt8(ascii: "M")),
                (60, UInt8(ascii: "H")),
            ]
            for (size, letter) in units where value > 99_999_999 {
                value = value / size + (value % size == 0 ? 0 : 1)
                unit = letter
            }
        }
        var digits = 1
        var power: UInt64 = 10
        while value >= power {
            digits += 1
            power *= 10
        }
        count = digits + 1
        text[digits] = unit
        while digits > 0 {
            digits -= 1
            text[digits] = UInt8(truncatingIfNeeded: value % 10) + UInt8(ascii: "0")
            value /= 10
        }
    }

    /// Calls `body` with the text.
    func withUnsafeBytes(_ body: (UnsafeRawBufferPointer) -> Void) {
        unsafe text.span.withUnsafeBytes { unsafe body(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }

    /// Nanoseconds; nil when the text is not a timeout.
    static func decode(_ text: UnsafeRawBufferPointer) -> UInt64? {
        guard text.count >= 2 && text.count <= 9 else { return nil }
        let digits = unsafe UnsafeRawBufferPointer(rebasing: text.dropLast())
        guard let value = unsafe ASCII.decimal(Span(_unsafeBytes: digits)) else { return nil }
        let unit: UInt64
        switch unsafe text[text.count - 1] {
        case UInt8(ascii: "H"): unit = 3_600_000_000_000
        case UInt8(ascii: "M"): unit = 60_000_000_000
        case UInt8(ascii: "S"): unit = 1_000_000_000
        case UInt8(ascii: "m"): unit = 1_000_000
        case UInt8(ascii: "u"): unit = 1000
        case UInt8(ascii: "n"): unit = 1
        default: return nil
        }
        // 99999999H are 11,000 years: more nanoseconds than 64 bits hold.
        let (nanoseconds, overflowed) = value.multipliedReportingOverflow(by: unit)
        return overflowed ? longest : min(nanoseconds, longest)
    }

    /// Longer timeouts are cut to this, so that adding one to a clock can't overflow: 146 years.
    static let longest = UInt64(1) << 62
}

extension String {
    /// The text, cut to what an answer may repeat of it.
    var clipped: String {
        guard utf8.count > GRPCLimits.maximumQuote else { return self }
        return String(decoding: utf8.prefix(GRPCLimits.maximumQuote), as: UTF8.self) + "…"
    }

    /// The text of a client's bytes, cut to what an answer may repeat of them.
    init(clipped bytes: UnsafeRawBufferPointer) {
        self = unsafe String(decoding: bytes.prefix(GRPCLimits.maximumQuote), as: UTF8.self)
        if bytes.count > GRPCLimits.maximumQuote { self += "…" }
    }
}
