import GRPCRuntime

/// A call that the gateway passes on with its client's token, and stands for: the gateway has judged how much the client asks. It
/// shows its certificate, or its own token beside the client's. Found in a call by its handler and the interceptors behind `RPCAccess`.
public struct RelayedCall: Sendable {
    /// The key of the service's own token, as in `authorization`: by its end it is kept out of log lines like that one.
    static let key: StaticString = "relay-authorization"
}
