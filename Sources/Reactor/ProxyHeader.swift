/// The header of the PROXY protocol, version 2 (haproxy's proxy-protocol.txt, §2.2): what a proxy says in front of a connection's
/// bytes about whom it speaks for.
///
///     12 bytes of signature | version, command | family, transport | length (2 bytes) | addresses, then extensions
///
/// Extensions are passed over. Version 1, which is text, is refused.
public struct ProxyHeader: Sendable, Hashable {
    /// Why there is no header.
    public enum Failure: String, Error, Sendable {
        /// The bytes are another protocol's: somebody who is no proxy, or one that does not speak this.
        case missing
        /// Version 1: the proxy is to be set to version 2.
        case version1
        /// A version or command that is not known, or a family or transport that is no TCP.
        case unknown
        /// It is too short for its addresses, or longer than `maximumLength`.
        case length
    }

    /// What the beginning of a connection is.
    public enum Outcome: Sendable, Hashable {
        /// A header may become of it.
        case needsMore
        /// It is a whole header.
        case header(ProxyHeader)
        /// It is none, and never becomes one: why.
        case failed(Failure)
    }

    /// Whom the proxy speaks for; nil: for itself (LOCAL, a health check), or it does not know.
    public let source: SocketAddress?
    /// Bytes of the whole header.
    public let length: Int

    /// Bytes that a header may have. Reason: addresses of TCP take 52, and the longest extensions known, what a client's
    /// certificate says, some hundred.
    public static let maximumLength = 2048

    private static let signature: InlineArray<12, UInt8> = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    private static let version1: InlineArray<6, UInt8> = [0x50, 0x52, 0x4F, 0x58, 0x59, 0x20]
    private static let fixedLength = 16

    /// Reads the header that `bytes` begin with. What can't become one is refused with its first wrong byte.
    public static func parse(_ bytes: Span<UInt8>) -> Outcome {
        if bytes.count > 0, bytes[0] == version1[0] { return startsAsVersion1(bytes) }
        for index in 0..<min(bytes.count, 12) where bytes[index] != signature[index] { return .failed(.missing) }
        guard bytes.count > 12 else { return .needsMore }
        // Version in the upper half, command in the lower: LOCAL or PROXY.
        guard bytes[12] == 0x20 || bytes[12] == 0x21 else { return .failed(.unknown) }
        let isLocal = bytes[12] == 0x20
        guard bytes.count > 13 else { return .needsMore }
        let family = bytes[13]
        guard isLocal || [0x00, 0x11, 0x21].contains(family) else { return .failed(.unknown) }
        guard bytes.count >= fixedLength else { return .needsMore }
        let count = Int(bytes[14]) << 8 | Int(bytes[15])
        let needed = isLocal ? 0 : family == 0x11 ? 12 : family == 0x21 ? 36 : 0
        guard count >= needed, fixedLength + count <= maximumLength else { return .failed(.length) }
        guard bytes.count >= fixedLength + count else { return .needsMore }
        let source: SocketAddress? =
            switch needed {
            case 12:
                SocketAddress(
                    ipv4: UInt32(truncatingIfNeeded: number(bytes, 16, 4)),
                    port: UInt16(truncatingIfNeeded: number(bytes, 24, 2)))
            case 36:
                SocketAddress(
                    ipv6High: number(bytes, 16, 8), low: number(bytes, 24, 8),
                    port: UInt16(truncatingIfNeeded: number(bytes, 48, 2)))
            default: nil
            }
        return .header(ProxyHeader(source: source, length: fixedLength + count))
    }

    private static func startsAsVersion1(_ bytes: Span<UInt8>) -> Outcome {
        for index in 0..<min(bytes.count, 6) where bytes[index] != version1[index] { return .failed(.missing) }
        return bytes.count < 6 ? .needsMore : .failed(.version1)
    }

    /// Bytes in network order.
    private static func number(_ bytes: Span<UInt8>, _ start: Int, _ count: Int) -> UInt64 {
        var number: UInt64 = 0
        for index in start..<(start + count) { number = number << 8 | UInt64(bytes[index]) }
        return number
    }
}
