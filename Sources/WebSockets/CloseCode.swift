/// Why a connection ends (RFC 6455 §7.4). Any number fits; `mayBeSent` says which ones may travel in a Close frame.
public struct CloseCode: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    public let rawValue: UInt16

    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// 1000: the purpose is fulfilled.
    public static let normal = CloseCode(rawValue: 1000)
    /// 1001: the server stops, or the page was left.
    public static let goingAway = CloseCode(rawValue: 1001)
    /// 1002: a frame broke the protocol.
    public static let protocolError = CloseCode(rawValue: 1002)
    /// 1003: a kind of message that is not taken here.
    public static let unsupportedData = CloseCode(rawValue: 1003)
    /// Never in a frame: the peer's Close frame carried no code.
    public static let noStatus = CloseCode(rawValue: 1005)
    /// Never in a frame: the connection ended without a Close frame.
    public static let abnormal = CloseCode(rawValue: 1006)
    /// 1007: a message is not what it says, such as text that is not UTF-8.
    public static let invalidData = CloseCode(rawValue: 1007)
    /// 1008: a message breaks a rule of the endpoint.
    public static let policyViolation = CloseCode(rawValue: 1008)
    /// 1009: a message is too long.
    public static let messageTooBig = CloseCode(rawValue: 1009)
    /// 1011: the server met something unexpected.
    public static let internalError = CloseCode(rawValue: 1011)
    /// 1013: the server is overloaded; come back later.
    public static let tryAgainLater = CloseCode(rawValue: 1013)

    /// Whether an endpoint may put this code into a Close frame: what IANA has registered for it and the ranges of
    /// libraries (3000–3999) and applications (4000–4999).
    @inlinable
    public var mayBeSent: Bool {
        switch rawValue {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }

    public var description: String { String(rawValue) }
}
