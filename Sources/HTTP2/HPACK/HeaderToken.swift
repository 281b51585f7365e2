import Bytes

/// A header name that someone looks for, as a number: comparing names costs one comparison.
///
/// 1…61 are the names of HPACK's static table (RFC 7541 appendix A) by their first index there; those from 64 up are names
/// that HTTP/2's rules or its riders need and the static table lacks. 0 is any other name.
public struct HeaderToken: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable
    init(_ rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable public static var other: HeaderToken { HeaderToken(0) }
    @inlinable public static var authority: HeaderToken { HeaderToken(1) }
    @inlinable public static var method: HeaderToken { HeaderToken(2) }
    @inlinable public static var path: HeaderToken { HeaderToken(4) }
    @inlinable public static var scheme: HeaderToken { HeaderToken(6) }
    @inlinable public static var status: HeaderToken { HeaderToken(8) }
    @inlinable public static var acceptEncoding: HeaderToken { HeaderToken(16) }
    @inlinable public static var contentLength: HeaderToken { HeaderToken(28) }
    @inlinable public static var contentType: HeaderToken { HeaderToken(31) }
    @inlinable public static var cookie: HeaderToken { HeaderToken(32) }
    @inlinable public static var host: HeaderToken { HeaderToken(38) }
    @inlinable public static var transferEncoding: HeaderToken { HeaderToken(57) }
    @inlinable public static var userAgent: HeaderToken { HeaderToken(58) }

    @inlinable public static var te: HeaderToken { HeaderToken(64) }
    @inlinable public static var connection: HeaderToken { HeaderToken(65) }
    @inlinable public static var keepAlive: HeaderToken { HeaderToken(66) }
    @inlinable public static var proxyConnection: HeaderToken { HeaderToken(67) }
    @inlinable public static var upgrade: HeaderToken { HeaderToken(68) }
    @inlinable public static var `protocol`: HeaderToken { HeaderToken(69) }
    @inlinable public static var grpcTimeout: HeaderToken { HeaderToken(70) }
    @inlinable public static var grpcEncoding: HeaderToken { HeaderToken(71) }
    @inlinable public static var grpcAcceptEncoding: HeaderToken { HeaderToken(72) }
    @inlinable public static var grpcStatus: HeaderToken { HeaderToken(73) }
    @inlinable public static var grpcMessage: HeaderToken { HeaderToken(74) }
    @inlinable public static var grpcStatusDetails: HeaderToken { HeaderToken(75) }

    /// The first token of a name that the static table lacks.
    static let firstExtra = 64

    /// The name of a token other than `.other`.
    static func name(_ token: HeaderToken) -> UnsafeRawBufferPointer {
        let raw = Int(token.rawValue)
        let text = raw < firstExtra ? HPACKStaticTable.entries[raw - 1].0 : extra[raw - firstExtra].0
        return unsafe UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    }

    /// Names that the static table lacks, in the order of their tokens.
    private static let extra: [(StaticString, HeaderToken)] = [
        ("te", .te), ("connection", .connection), ("keep-alive", .keepAlive), ("proxy-connection", .proxyConnection),
        ("upgrade", .upgrade), (":protocol", .protocol), ("grpc-timeout", .grpcTimeout),
        ("grpc-encoding", .grpcEncoding),
        ("grpc-accept-encoding", .grpcAcceptEncoding), ("grpc-status", .grpcStatus), ("grpc-message", .grpcMessage),
        ("grpc-status-details-bin", .grpcStatusDetails),
    ]

    /// Tokens by length of the name, then by comparison: a literal name is looked up once, when it enters the dynamic table.
    private static let byLength: [[(StaticString, HeaderToken)]] = {
        var table: [[(StaticString, HeaderToken)]] = Array(repeating: [], count: 32)
        var seen: Set<String> = []
        for index in 1...HPACKStaticTable.count {
            let name = HPACKStaticTable.entries[index - 1].0
            if seen.insert(name.description).inserted {
                table[name.utf8CodeUnitCount].append((name, HeaderToken(UInt8(index))))
            }
        }
        for (name, token) in extra { table[name.utf8CodeUnitCount].append((name, token)) }
        return table
    }()

    /// The token of a name.
    static func of(_ name: UnsafeRawBufferPointer) -> HeaderToken {
        guard name.count < 32 else { return .other }
        let span = unsafe Span<UInt8>(_unsafeBytes: name)
        for (candidate, token) in byLength[name.count] where ASCII.equals(span, candidate) { return token }
        return .other
    }
}
