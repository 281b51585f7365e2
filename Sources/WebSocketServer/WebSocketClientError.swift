import Reactor

/// Why a WebSocket was not opened.
public enum WebSocketClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was asked for makes no handshake; says what is wrong.
    case badRequest(String)
    /// The name has no address; the resolver's words.
    case unresolved(String)
    /// No connection, or it ended before the handshake did. Of several addresses, the last one's reason.
    case noConnection(CloseReason)
    /// There was no answer within `timeout`.
    case timedOut
    /// The server has answered with something else than 101.
    case refused(status: Int, reason: String)
    /// The answer breaks RFC 6455 §4.1 or was not asked for; says what is wrong.
    case badAnswer(String)

    public var description: String {
        switch self {
        case .badRequest(let text): text
        case .unresolved(let text): "the host can't be found: \(text)"
        case .noConnection(let reason): "no connection: \(reason)"
        case .timedOut: "the server has not answered in time"
        case .refused(let status, let reason): "the server refuses: \(status)\(reason.isEmpty ? "" : " ")\(reason)"
        case .badAnswer(let text): "the server's answer is no handshake: \(text)"
        }
    }
}
