import Bytes
import HTTP1
import Reactor

/// An HTTP/1.1 client of one loop: requests over connections that are kept for each origin (RFC 9112 §9.3).
///
///     let client = HTTPClient(loop: loop, tls: try TLSClientContext())
///     let response = try await client.get("https://example.org/.well-known/jwks.json", limit: 64 << 10, timeout: .seconds(5))
///
/// Everything it does has a bound (`HTTPClientLimits`) and an end: each request has a deadline for all that it takes, and hears of its
/// end exactly once. A server's certificate is verified for the URL's host. Redirects are not followed unless a request says so. There
/// are no cookies and no cache.
///
/// On the loop only, from making it on; tasks of the loop (`EventLoop.spawn`) use the calls that are `async`. `close` it when it is not
/// needed.
public final class HTTPClient {
    /// The loop that the client belongs to.
    public var loop: EventLoop { core.loop }
    /// The client's bounds.
    public var limits: HTTPClientLimits { core.limits }
    let core: ClientCore

    /// - Parameters:
    ///   - tls: whom to trust with https; nil: https URLs are `.noTLS`. One for all loops is enough.
    ///   - userAgent: said to servers unless a request says another; empty: nothing is said.
    public init(
        loop: EventLoop, tls: TLSClientContext? = nil, limits: HTTPClientLimits = .init(), userAgent: String = ""
    ) {
        let agent = userAgent.utf8.allSatisfy { $0 >= 32 && $0 != 127 } ? userAgent : ""
        core = ClientCore(loop: loop, tls: tls, limits: limits, userAgent: agent)
    }

    /// Sends a request; `completion` gets the whole response, once, on the loop, never before this returns.
    ///
    /// - Parameter limit: bytes of the body, decoded; a longer one is `.bodyTooLarge`.
    @discardableResult
    public func send(
        _ request: HTTPClientRequest, limit: Int = 1 << 20,
        _ completion: @escaping (Result<HTTPClientResponse, HTTPClientError>) -> Void
    ) -> HTTPCall {
        HTTPCall(core: core, handle: core.begin(request, .collector(limit: limit, completion)))
    }

    /// Sends a request and gives the response out as it comes, on the loop, never before this returns.
    ///
    /// - Parameters:
    ///   - onHead: once, with the final head, if there is one.
    ///   - onBody: each with some bytes of the body, valid during the call. `HTTPCall.pause` holds the rest back.
    ///   - onEnd: once, and last; nil: the response was complete.
    @discardableResult
    public func stream(
        _ request: HTTPClientRequest, onHead: @escaping (HTTPClientResponse) -> Void,
        onBody: @escaping (Span<UInt8>) -> Void, onEnd: @escaping (HTTPClientError?) -> Void
    ) -> HTTPCall {
        HTTPCall(core: core, handle: core.begin(request, .stream(onHead: onHead, onBody: onBody, onEnd: onEnd)))
    }

    /// Ends all requests (`.closed`) and all connections. Final.
    public func close() { core.closeAll() }

    /// Requests that have not ended.
    public var openRequests: Int { core.exchanges.count }
    /// Connections, those that are being made included.
    public var openConnections: Int { core.connections.count }
    /// Requests that wait for a connection.
    public var waitingRequests: Int { core.waiting }
    /// Bytes that are kept: requests' bodies, bodies that are being collected, decoders; what the loop holds in and out.
    public var heldBytes: Int { core.held + core.account.input + core.account.output }
}
