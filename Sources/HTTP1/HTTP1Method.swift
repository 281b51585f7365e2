/// A request method (RFC 9110 §9, RFC 5789), or `other` for any name that is not registered here: a server answers it 501.
public enum HTTP1Method: UInt8, Sendable, CaseIterable {
    /// A registered method.
    case get, head, post, put, delete, patch, options, connect, trace
    /// A valid token that has no name here.
    case other

    /// The method's name as it stands in a request line.
    public var name: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .patch: "PATCH"
        case .options: "OPTIONS"
        case .connect: "CONNECT"
        case .trace: "TRACE"
        case .other: "?"
        }
    }

    /// The method that `bytes` names. Method names are case-sensitive.
    static func named(_ bytes: UnsafeBufferPointer<UInt8>) -> HTTP1Method {
        // Packed into one word, a name is compared with one instruction instead of a loop.
        guard bytes.count <= 8 else { return .other }
        var word: UInt64 = 0
        for index in 0..<bytes.count { word = unsafe word << 8 | UInt64(bytes[index]) }
        return switch word {
        case 0x47_4554: .get
        case 0x4845_4144: .head
        case 0x504F_5354: .post
        case 0x50_5554: .put
        case 0x4445_4C45_5445: .delete
        case 0x50_4154_4348: .patch
        case 0x4F_5054_494F_4E53: .options
        case 0x43_4F4E_4E45_4354: .connect
        case 0x54_5241_4345: .trace
        default: .other
        }
    }
}
