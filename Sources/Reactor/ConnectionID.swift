/// Names a connection of one loop: its place in the slab and the generation of that place.
///
/// A place is used again, a (place, generation) is not, so an identifier that is kept too long finds nothing instead of
/// somebody else's connection. `generation ‖ slot` is also the epoll token: an event for a closed connection is dropped.
public struct ConnectionID: Hashable, Sendable, BitwiseCopyable {
    /// The place in the loop's table.
    public let slot: UInt32
    /// Which user of the place it is.
    public let generation: UInt32

    /// An identifier of a place and its generation.
    @inlinable
    public init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    /// Names no connection, ever.
    public static let none = ConnectionID(slot: 0, generation: 0)

    /// `generation` in the upper half, `slot` in the lower.
    @inlinable
    public var token: UInt64 { UInt64(generation) << 32 | UInt64(slot) }

    /// The identifier that `token` stands for.
    @inlinable
    public init(token: UInt64) {
        slot = UInt32(truncatingIfNeeded: token)
        generation = UInt32(truncatingIfNeeded: token >> 32)
    }
}

/// Why a connection has ended.
public enum CloseReason: Sendable, Equatable, CustomStringConvertible {
    /// This side closed it.
    case local
    /// The other side closed it in order.
    case peer
    /// The connection broke: `ECONNRESET`, `EPIPE`, `ETIMEDOUT` and so on.
    case reset(errno: Int32)
    /// There was no connection to be had, with the system's error number.
    case connectFailed(errno: Int32)
    /// There was no connection within its time.
    case connectTimeout
    /// The TLS handshake or the record layer failed; OpenSSL's words.
    case tls(String)
    /// A deadline of the loop has passed: handshake, the last output not taken.
    case deadline
    /// The handler left more input unconsumed than the loop keeps for one connection.
    case inputOverflow
    /// More output waited than the loop keeps for one connection.
    case outputOverflow
    /// The loop has stopped.
    case shutdown

    public var description: String {
        switch self {
        case .local: "closed by this side"
        case .peer: "closed by the peer"
        case .reset(let code): "broken: \(errorText(code))"
        case .connectFailed(let code): "connecting failed: \(errorText(code))"
        case .connectTimeout: "connecting took too long"
        case .tls(let text): "TLS: \(text)"
        case .deadline: "deadline passed"
        case .inputOverflow: "too much unconsumed input"
        case .outputOverflow: "too much unsent output"
        case .shutdown: "the loop has stopped"
        }
    }
}
