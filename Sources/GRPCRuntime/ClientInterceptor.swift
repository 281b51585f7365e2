/// Sees each call of a channel before it is sent: adds metadata, such as a token, or a deadline; or ends the call with an error
/// (throws), which its caller hears of as of any other. On the channel's loop.
public protocol ClientInterceptor: Sendable {
    /// - Parameters:
    ///   - path: `/package.Service/Method`.
    ///   - options: what the caller has said about the call.
    func intercept(_ path: StaticString, _ options: inout CallOptions) throws(RPCError)
}
