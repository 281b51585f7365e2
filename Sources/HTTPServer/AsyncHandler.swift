import HTTP1
import Reactor

/// Answers one request as a task on the loop of its connection; the problem that it throws is the answer.
///
/// It gets a copy of the request. The task is cancelled when the client goes away, and when the route's deadline passes: then
/// the answer is 504. What comes behind the request on its connection is answered after it, as always.
public typealias AsyncHTTPHandler = (HeldRequest) async throws(Problem) -> HTTPResponse

extension RouteGroup {
    /// Adds a route whose handler may wait.
    ///
    /// - Parameters:
    ///   - bodyBytes: the longest body that it takes; nil is the server's limit.
    ///   - deadline: what the answer may take, from the call of the handler.
    public func add(
        _ method: HTTP1Method, _ pattern: String, bodyBytes: Int? = nil, deadline: Duration = .seconds(30),
        _ handler: @escaping AsyncHTTPHandler
    ) {
        add(method, pattern, bodyBytes: bodyBytes) { request, responder in
            let held = HeldRequest(request)
            responder.wait(for: held, within: deadline) { () async throws(Problem) in
                responder.respond(try await handler(held))
            }
        }
    }

    /// Adds a GET route whose handler may wait, as `add` does.
    public func get(_ pattern: String, deadline: Duration = .seconds(30), _ handler: @escaping AsyncHTTPHandler) {
        add(.get, pattern, deadline: deadline, handler)
    }

    /// Adds a POST route whose handler may wait, as `add` does.
    public func post(
        _ pattern: String, bodyBytes: Int? = nil, deadline: Duration = .seconds(30),
        _ handler: @escaping AsyncHTTPHandler
    ) {
        add(.post, pattern, bodyBytes: bodyBytes, deadline: deadline, handler)
    }
}

extension Router {
    /// Adds a route whose handler may wait, as `RouteGroup.add` does.
    public func add(
        _ method: HTTP1Method, _ pattern: String, bodyBytes: Int? = nil, deadline: Duration = .seconds(30),
        _ handler: @escaping AsyncHTTPHandler
    ) {
        group().add(method, pattern, bodyBytes: bodyBytes, deadline: deadline, handler)
    }

    /// Adds a GET route whose handler may wait, as `RouteGroup.add` does.
    public func get(_ pattern: String, deadline: Duration = .seconds(30), _ handler: @escaping AsyncHTTPHandler) {
        add(.get, pattern, deadline: deadline, handler)
    }

    /// Adds a POST route whose handler may wait, as `RouteGroup.add` does.
    public func post(
        _ pattern: String, bodyBytes: Int? = nil, deadline: Duration = .seconds(30),
        _ handler: @escaping AsyncHTTPHandler
    ) {
        add(.post, pattern, bodyBytes: bodyBytes, deadline: deadline, handler)
    }
}
