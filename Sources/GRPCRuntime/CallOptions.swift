/// What a caller may say about one call.
public struct CallOptions: Sendable {
    /// Nanoseconds until the call ends with DEADLINE_EXCEEDED; the server is told (`grpc-timeout`). Nil: no deadline.
    public var timeoutNanoseconds: UInt64?
    /// Sent as request headers.
    public var metadata: Metadata
    /// While the backend can't be reached: wait for it (until the deadline) instead of failing with UNAVAILABLE.
    public var waitForReady: Bool

    public init(timeoutNanoseconds: UInt64? = nil, metadata: Metadata = Metadata(), waitForReady: Bool = false) {
        self.timeoutNanoseconds = timeoutNanoseconds
        self.metadata = metadata
        self.waitForReady = waitForReady
    }
}
