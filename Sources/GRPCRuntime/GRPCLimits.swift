/// Every limit of gRPC on one connection or call. The limits of HTTP/2 below it are in `HTTP2Limits`.
public struct GRPCLimits: Sendable {
    /// A larger message, in either direction, ends the call with RESOURCE_EXHAUSTED. Bytes; the default of every gRPC.
    public var maximumMessageSize = 4 << 20
    /// What a call may hold that was sent and has not left: behind it a slow reader's call is ended with
    /// RESOURCE_EXHAUSTED. Bytes.
    public var maximumQueuedBytes = 8 << 20
    /// `isWritable` turns false above this. Bytes.
    public var writableBelow = 64 << 10

    /// A peer that was silent for so long is sent a PING. Nanoseconds.
    public var keepaliveInterval: UInt64 = 2 * 3600 * 1_000_000_000
    /// A PING that is not answered for so long closes the connection. Nanoseconds.
    public var keepaliveTimeout: UInt64 = 20 * 1_000_000_000
    /// A client that pings more often than this … Nanoseconds; gRPC's default is five minutes.
    public var minimumPingInterval: UInt64 = 300 * 1_000_000_000
    /// … so many times is sent GOAWAY ENHANCE_YOUR_CALM "too_many_pings".
    public var maximumPingStrikes = 2
    /// Between the first GOAWAY of a drain and the second, unless the PING between them is answered sooner. Nanoseconds.
    public var drainGrace: UInt64 = 1_000_000_000

    // MARK: What goes out because of what came in

    /// Bytes of a `grpc-message`, percent-encoded: what is longer is cut. A message is for people, and much of it may be what
    /// the client itself sent.
    static let maximumStatusMessage = 1024
    /// Bytes of a call's trailers and error details, encoded: beyond, they are left out and the message says so. Most
    /// clients take 8 KiB of header fields in all.
    static let maximumTrailers = 8192 - maximumStatusMessage
    /// Bytes of a client's own words (a path, a name, an encoding) that an answer repeats.
    static let maximumQuote = 128
    /// Bytes of the name of a service that may be watched: it is kept as long as the watch.
    static let maximumServiceName = 256
    /// Bytes of a request of server reflection: its answer repeats it, as the protocol wants it.
    static let maximumReflectionRequest = 1024
    /// Values that one `-bin` field may have, joined by commas.
    static let maximumJoinedValues = 64

    public init() {}
}

/// How a channel behaves.
public struct ChannelOptions: Sendable {
    /// Largest message in either direction, in bytes.
    public var maximumMessageSize = 4 << 20
    /// A connection attempt that takes longer has failed. Nanoseconds.
    public var connectTimeout: UInt64 = 20 * 1_000_000_000
    /// Wait after the first failed attempt, ± `backoffJitter`. Nanoseconds. (gRPC's connection backoff protocol.)
    public var initialBackoff: UInt64 = 1_000_000_000
    public var backoffMultiplier = 1.6
    public var backoffJitter = 0.2
    /// The wait grows to this. Nanoseconds.
    public var maximumBackoff: UInt64 = 120 * 1_000_000_000
    /// Calls that wait for a connection or for one of the peer's MAX_CONCURRENT_STREAMS; one more fails with
    /// RESOURCE_EXHAUSTED.
    public var maximumQueuedCalls = 10_000
    /// How often a call that the server certainly did not process is sent again.
    public var maximumTransparentRetries = 5
    /// With calls open and nothing read for so long, a PING is sent. Nanoseconds.
    public var keepaliveInterval: UInt64 = 300 * 1_000_000_000
    /// A PING that is not answered for so long closes the connection. Nanoseconds.
    public var keepaliveTimeout: UInt64 = 20 * 1_000_000_000
    /// What a streaming call may hold that was sent and has not left. Bytes; one byte more fails the call.
    public var maximumQueuedBytes = 8 << 20
    /// A stream's `isWritable` turns false above this. Bytes.
    public var writableBelow = 64 << 10
    /// The `:authority` of calls. Nil: the target.
    public var authority: String?

    public init() {}
}
