import Basics
import HTTP1
import Reactor

/// Every bound of an HTTP client, in one place.
public struct HTTPClientLimits: Sendable {
    /// Those of the engine: heads and fields, chunk extensions, trailers.
    public var http1: HTTP1Limits = {
        var limits = HTTP1Limits()
        // Sites that are full of policies send heads that no client sends.
        limits.headBytes = 48 << 10
        return limits
    }()
    /// Connections to one origin, those that are being made included; what browsers have, and two more. Further requests wait.
    public var connectionsPerOrigin = 8
    /// Connections in all. Beyond, one that nobody uses is closed for the next, and without such a one it is `.busy`.
    public var connections = 256
    /// Requests that wait for a connection, in all; one more is `.busy`.
    public var waitingRequests = 1000
    /// Bytes of a request's body. Less than what a loop lets wait for one connection.
    public var requestBytes = 16 << 20
    /// Bytes of all requests' bodies, of all bodies that are collected, and of decoders; what would be more is `.busy`.
    public var heldBytes = 64 << 20
    /// Bytes of the body of a redirect, or of another response that nobody wants, that are read so that its connection can be used
    /// again; beyond, it is closed.
    public var discardedBytes = 64 << 10
    /// Interim responses (1xx) in front of one response.
    public var interimResponses = 16
    /// What finding the name's addresses, connecting and the TLS handshake may take together.
    @Nanoseconds public var connectTime: Duration = .seconds(10)
    /// What connecting to one of several addresses may take before the next one is tried: a network without IPv6 must not cost the
    /// whole of `connectTime`.
    @Nanoseconds public var addressTime: Duration = .seconds(2)
    /// How long a connection that nobody uses is kept. Less than servers keep theirs (60 s and more), so that it is seldom they who
    /// close it, while a request is on its way; where a server says less (`Keep-Alive: timeout=5`), a second less than that.
    @Nanoseconds public var idleTime: Duration = .seconds(30)

    /// The defaults.
    public init() {}
}
