import Reactor

/// What a caller may say about one call.
public struct CallOptions: Sendable {
    /// Nanoseconds until the call ends with DEADLINE_EXCEEDED; the server is told (`grpc-timeout`). Nil: no deadline.
    public var timeoutNanoseconds: UInt64?
    /// Sent as request headers.
    public var metadata: Metadata
    /// While the backend can't be reached: wait for it (until the deadline) instead of failing with UNAVAILABLE.
    public var waitForReady: Bool

    /// Options of a call; those that are left out are the defaults.
    public init(timeoutNanoseconds: UInt64? = nil, metadata: Metadata = Metadata(), waitForReady: Bool = false) {
        self.timeoutNanoseconds = timeoutNanoseconds
        self.metadata = metadata
        self.waitForReady = waitForReady
    }

    /// Options of a call that ends with DEADLINE_EXCEEDED after `timeout`.
    public init(timeout: Duration, metadata: Metadata = Metadata(), waitForReady: Bool = false) {
        self.init(timeoutNanoseconds: timeout.nanoseconds, metadata: metadata, waitForReady: waitForReady)
    }
}
