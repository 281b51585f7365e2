import Reactor

/// What a caller may say about one call.
public struct CallOptions: Sendable {
    /// When the call ends with DEADLINE_EXCEEDED; the server is told (`grpc-timeout`). Nil: no deadline.
    public var timeout: Duration? {
        get { timeoutNanoseconds.map { .nanoseconds(Int64(clamping: $0)) } }
        set { timeoutNanoseconds = newValue?.nanoseconds }
    }
    package var timeoutNanoseconds: UInt64?
    /// Sent as request headers.
    public var metadata: Metadata
    /// While the backend can't be reached: wait for it (until the deadline) instead of failing with UNAVAILABLE.
    public var waitForReady: Bool
    /// How the request's messages are compressed; nil: as `ChannelOptions.compression` says. With gzip the answer may be in gzip, too.
    /// A server that does not understand it ends the call with UNIMPLEMENTED.
    public var compression: MessageCompression?
    /// Whether the server may compress its answer with gzip; nil: as `ChannelOptions.acceptsCompression` says.
    public var acceptsCompression: Bool?

    package init(timeoutNanoseconds: UInt64?, metadata: Metadata = Metadata(), waitForReady: Bool = false) {
        self.timeoutNanoseconds = timeoutNanoseconds
        self.metadata = metadata
        self.waitForReady = waitForReady
    }

    /// Options of a call; those that are left out are the defaults.
    public init(timeout: Duration? = nil, metadata: Metadata = Metadata(), waitForReady: Bool = false) {
        self.init(timeoutNanoseconds: timeout?.nanoseconds, metadata: metadata, waitForReady: waitForReady)
    }
}
