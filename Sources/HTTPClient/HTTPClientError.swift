import HTTP1
import Reactor

/// Why there is no response.
public enum HTTPClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// How far a request had come.
    public enum Stage: Sendable, Hashable {
        /// For a connection: its own, or one that others use.
        case waiting
        /// The request was given to a connection; of the response nothing has come but interim ones.
        case sent
        /// The response's head has come.
        case body
    }

    /// The URL can't be asked for; what is wrong with it. (A URL that a server redirected to is `.badRedirect`.)
    case badURL(String)
    /// The request can't be sent: its method, a field, the size of its body.
    case badRequest(String)
    /// The URL is an https one, and the client has no `TLSClientContext`.
    case noTLS
    /// A bound of `HTTPClientLimits` was reached: which one.
    case busy(String)
    /// The host's name has no address, or they could not be found out.
    case unresolved(String)
    /// No address of the host could be connected to. The last one's reason, a certificate that was not accepted for instance.
    case unreachable(String, CloseReason)
    /// The request's own time was over.
    case timedOut(Stage)
    /// The connection has ended before a byte of the response came. Whether the server has done what was asked nobody knows; requests
    /// that may be repeated (RFC 9110 §9.2.2) were, if the connection had been kept from an earlier one.
    case lost(CloseReason)
    /// What came is no response, or only the beginning of one.
    case malformed(HTTP1Error)
    /// The body is longer than the caller's limit, in bytes; after its decoding, if it was compressed.
    case bodyTooLarge(limit: Int)
    /// The body is not what its Content-Encoding says.
    case badContentCoding
    /// A redirect that was to be followed leads nowhere, to plain http from https, or is one too many.
    case badRedirect(String)
    /// The caller has cancelled it, or their task was cancelled.
    case cancelled
    /// The client was closed.
    case closed

    static let noMemoryToDecode = HTTPClientError.busy("there is no memory to decode a body that is compressed")

    public var description: String {
        switch self {
        case .badURL(let why): "the URL can't be used: \(why)"
        case .badRequest(let why): "the request can't be sent: \(why)"
        case .noTLS: "https needs a TLSClientContext; the client was made without one"
        case .busy(let why): "too much at once: \(why)"
        case .unresolved(let why): why
        case .unreachable(let host, let reason): "\(host) can't be reached: \(reason)"
        case .timedOut(.waiting): "no connection within the request's time"
        case .timedOut(.sent): "no response within the request's time"
        case .timedOut(.body): "the response was not complete within the request's time"
        case .lost(let reason): "the connection ended before a response came: \(reason)"
        case .malformed(let error): "the response can't be read: \(error.reason)"
        case .bodyTooLarge(let limit): "the response's body has more than \(limit) bytes"
        case .badContentCoding: "the response's body is not in the coding that its Content-Encoding says"
        case .badRedirect(let why): "a redirect is not followed: \(why)"
        case .cancelled: "cancelled"
        case .closed: "the client is closed"
        }
    }
}
