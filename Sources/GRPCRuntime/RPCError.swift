/// Why a call failed: what a server's handler gives to `fail`, and what a client gets.
public struct RPCError: Error, Hashable, Sendable {
    /// Never `.ok`.
    public var code: StatusCode
    /// For people. Any Unicode text; it travels percent-encoded.
    public var message: String
    /// The bytes of a `google.rpc.Status` (`grpc-status-details-bin`), empty when there are none.
    public var statusDetails: [UInt8]
    /// The other metadata of the trailers.
    public var trailers: Metadata

    /// An error with a code and words for a person; details and trailers are for programs.
    public init(code: StatusCode, message: String, statusDetails: [UInt8] = [], trailers: Metadata = Metadata()) {
        self.code = code
        self.message = message
        self.statusDetails = statusDetails
        self.trailers = trailers
    }
}

extension RPCError: CustomStringConvertible {
    public var description: String {
        message.isEmpty ? code.description : "\(code): \(message)"
    }
}
