/// Why a connection ends (RFC 6455 §7.4). Any number fits; `mayBeSent` says which ones may travel in a Close frame.
public struct CloseCode: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    public let rawValue: UInt16

    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    public static let normal = CloseCode(rawValue: 1000)
    public static let goingAway = CloseCode(rawValue: 1001)
    public static let protocolError = CloseCode(rawValue: 1002)
    public static let unsupportedData = CloseCode(rawValue: 1003)
    /// Never in a frame: the peer's Close frame carried no code.
    public static let noStatus = CloseCode(rawValue: 1005)
    /// Never in a frame: the connection ended without a Close frame.
    public static let abnormal = CloseCode(rawValue: 1006)
    public static let invalidData = CloseCode(rawValue: 1007)
    public static let policyViolation = CloseCode(rawValue: 1008)
    public static let messageTooBig = CloseCode(rawValue: 1009)
    public static let internalError = CloseCode(rawValue: 1011)
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
