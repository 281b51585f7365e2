/// Every limit of the WebSocket engine, each with its reason.
public struct WebSocketLimits: Sendable, BitwiseCopyable {
    /// Payload bytes of one message, all its fragments together. A client of Cabstand never needs more than a few
    /// hundred bytes; 64 KiB leaves room for other uses and bounds what a connection can make the server assemble.
    public var maximumMessageSize: Int
    /// Frames of one message. Empty fragments cost the sender six bytes and the receiver work without end.
    public var maximumFramesPerMessage: Int

    /// Bounds; those that are left out are the defaults.
    @inlinable
    public init(maximumMessageSize: Int = 64 << 10, maximumFramesPerMessage: Int = 1024) {
        self.maximumMessageSize = maximumMessageSize
        self.maximumFramesPerMessage = maximumFramesPerMessage
    }
}
