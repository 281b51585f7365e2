import Memory
import Reactor
import Telemetry

/// Stands before a server's handlers: sees each call when its headers have come, and lets it pass (returns), attaches what it
/// has found out for the handler (`attach`), asks to hear how it ends (`onEnd`), or ends the call with an error (throws). The server's own services, health and
/// reflection, are calls like others. On the server's loop.
public protocol ServerInterceptor {
    /// Returns to pass the call on; throws to end it with that status. On the loop of the call.
    func intercept(_ call: InterceptedCall) throws(RPCError)
}

/// An interceptor that has to wait for something. Its task runs on the server's loop, and is cancelled when the call ends
/// meanwhile; what the client sends is kept, within the bounds of its connection, and delivered afterwards.
public protocol AsyncServerInterceptor {
    /// Returns to pass the call on; throws to end it with that status. Its task runs on the loop of the call.
    func intercept(_ call: InterceptedCall) async throws(RPCError)
}

/// The interceptors of a server, in order.
enum AnyServerInterceptor {
    case fast(any ServerInterceptor)
    case async(any AsyncServerInterceptor)
}

/// A call whose handler has not been asked yet. Of one that has ended everything is empty.
public struct InterceptedCall {
    @usableFromInline let token: ServerCallToken
    /// `/package.Service/Method`.
    public let path: String
    /// The method's place in `GRPCServer.methods`.
    public let method: Int

    /// Whether one message is asked and one answered.
    public var isUnary: Bool { token.server.methods[method].isUnary }
    /// Whether the call has not ended.
    public var isOpen: Bool { token.server.calls.contains(token.call) }

    /// The loop that the call belongs to.
    public var loop: EventLoop { token.loop }
    /// The client's custom metadata.
    public var metadata: Metadata { token.metadata }
    /// When the client stops waiting, in nanoseconds of `EventLoop.now`. Nil: it set no deadline.
    public var deadline: UInt64? { token.deadline }
    /// The client's address.
    public var peer: SocketAddress? { token.peer }
    /// The request that the call is made for, as far as the client's metadata says it.
    public var origin: RequestOrigin { token.origin }
    /// Whether it came over TLS.
    public var isTLS: Bool { token.server.isTLS(token.call) }
    /// Whom the client's certificate names; nil: the connection is not TLS, or the client has shown none.
    public var peerCertificate: TLSPeerCertificate? { token.peerCertificate }

    /// What an interceptor has attached of this type; nil if none has.
    @inlinable
    public subscript<Value>(type: Value.Type) -> Value? { token[type] }

    /// Attaches a value of its type for the interceptors and the handler behind: a principal, a limit. A later one replaces it.
    @inlinable
    public func attach<Value>(_ value: Value) {
        token.server.setAttached(to: token.call, token.server.attached(to: token.call).adding(value))
    }

    /// Calls `body` with the first value of an ASCII key, where it lies: `metadata` would copy everything. Nil: there is none.
    ///
    /// - Returns: how many values the key has, and what `body` has returned.
    @inlinable
    public func withValue<Result>(
        of key: StaticString, _ body: (Span<UInt8>) -> Result
    ) -> (count: Int, result: Result?) {
        let (count, first) = unsafe token.server.value(token.call, of: key)
        return (count, count == 0 ? nil : unsafe body(Span(_unsafeBytes: first)))
    }

    /// Calls `action` when the call has ended, once: with nil if it was answered with OK, else with what it has failed with. That is
    /// CANCELLED when the client goes first; the handler may have done its work all the same. Of a call that has ended it is
    /// called at once, with CANCELLED. On the loop of the call; several are called in their order.
    public func onEnd(_ action: @escaping (RPCError?) -> Void) { token.server.whenEnded(token.call, action) }

    /// Ends the call with an error, also later, while its handler has it: the handler is told as of a deadline that has passed.
    public func end(_ error: RPCError) { token.server.interruptCall(token.call, error) }
}

extension ServerCallToken {
    /// What an interceptor has attached of this type.
    @inlinable
    subscript<Value>(type: Value.Type) -> Value? { server.attached(to: call)[type] }
}

extension UnaryServerCall {
    /// What an interceptor has attached of this type; nil if none has, or the call has ended.
    @inlinable
    public subscript<Value>(type: Value.Type) -> Value? { token[type] }
}

extension GRPCServer {
    /// The paths of all methods that are served, health and reflection among them: `/package.Service/Method`.
    public var methods: [String] { connections.methods.map(\.path) }

    /// Lets `interceptor` see every call, behind those that were added before. Before `listen`.
    public func add(_ interceptor: any ServerInterceptor) { connections.add(.fast(interceptor)) }

    /// Lets `interceptor` see every call, behind those that were added before. Before `listen`.
    public func add(_ interceptor: any AsyncServerInterceptor) { connections.add(.async(interceptor)) }
}
