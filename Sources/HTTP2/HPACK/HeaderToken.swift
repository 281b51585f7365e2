import Bytes

/// A header name that someone looks for, as a number: comparing names costs one comparison.
///
/// 1…61 are the names of HPACK's static table (RFC 7541 appendix A) by their first index there; those from 64 up are names
/// that HTTP/2's rules or its riders need and the static table lacks. 0 is any other name.
public struct HeaderToken: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable
    init(_ rawValue: UInt8) { self.rawValue = rawValue }

    public static let other = HeaderToken(0)
    public static let authority = HeaderToken(1)
    public static let method = HeaderToken(2)
    public static let path = HeaderToken(4)
    public static let scheme = HeaderToken(6)
    public static let status = HeaderToken(8)
    public static let acceptEncoding = HeaderToken(16)
    public static let contentLength = HeaderToken(28)
    public static let contentType = HeaderToken(31)
    public static let cookie = HeaderToken(32)
    public static let host = HeaderToken(38)
    public static let transferEncoding = HeaderToken(57)
    public static let userAgent = HeaderToken(58)

    public static let te = HeaderToken(64)
    public static let connection = HeaderToken(65)
    public static let keepAlive = HeaderToken(66)
    public static let proxyConnection = HeaderToken(67)
    public static let upgrade = HeaderToken(68)
    public static let `protocol` = HeaderToken(69)
    public static let grpcTimeout = HeaderToken(70)
    public static let grpcEncoding = HeaderToken(71)
    public static let grpcAcceptEncoding = HeaderToken(72)
    public static let grpcStatus = HeaderToken(73)
    public static let grpcMessage = HeaderToken(74)
    public static let grpcStatusDetails = HeaderToken(75)

    /// Names that the static table lacks.
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
