import HTTP1
import Reactor

/// Routes that share a beginning of their paths, or several, and the gates before them.
///
///     let api = router.group(["", "/v1"], gates: [Limit(), Authentication()])
///     api.get("/trips/{id}", getTrip)
///     let operators = api.group("/admin", gates: [OnlyOperators()])
public struct RouteGroup {
    let router: Router
    let prefixes: [String]
    let gates: [AnyGate]

    /// A group within this one: its paths begin with both prefixes, its gates stand behind these.
    public func group(_ prefix: String = "", gates: [any Gate] = []) -> RouteGroup {
        RouteGroup(
            router: router, prefixes: prefixes.map { $0 + prefix }, gates: self.gates + gates.map { .fast($0) })
    }

    /// A group within this one, behind a gate that may wait.
    public func group(_ prefix: String = "", gate: any AsyncGate) -> RouteGroup {
        RouteGroup(router: router, prefixes: prefixes.map { $0 + prefix }, gates: gates + [.async(gate)])
    }

    /// Adds a GET route, which answers HEAD, too.
    public func get(_ pattern: String, _ handler: @escaping HTTPHandler) { add(.get, pattern, handler) }
    /// Adds a POST route, whose bodies have at most `bodyBytes` bytes; nil: the server's limit.
    public func post(_ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler) {
        add(.post, pattern, bodyBytes: bodyBytes, handler)
    }
    /// Adds a PUT route, whose bodies have at most `bodyBytes` bytes; nil: the server's limit.
    public func put(_ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler) {
        add(.put, pattern, bodyBytes: bodyBytes, handler)
    }
    /// Adds a PATCH route, whose bodies have at most `bodyBytes` bytes; nil: the server's limit.
    public func patch(_ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler) {
        add(.patch, pattern, bodyBytes: bodyBytes, handler)
    }
    /// Adds a DELETE route.
    public func delete(_ pattern: String, _ handler: @escaping HTTPHandler) { add(.delete, pattern, handler) }

    /// Adds a route under each of the group's prefixes. HEAD is answered by GET's handler, without the body.
    ///
    /// - Parameter bodyBytes: the longest body that it takes; nil is the server's limit.
    public func add(
        _ method: HTTP1Method, _ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler
    ) {
        let guarded = guarded(handler)
        for prefix in prefixes { router.insert(method, prefix + pattern, bodyBytes, guarded) }
    }

    /// What answers a path that no pattern fits, whatever the method and whatever the group's prefix: files of a folder, for
    /// example. Without it: 404. May be called again at any time, on the loop; requests in flight are answered by the old one.
    public func fallback(_ handler: @escaping HTTPHandler) { router.fallback = guarded(handler) }

    /// Drains `service` together with the server, as `Router.drains(with:)`.
    public func drains(with service: any LoopService) { router.drains(with: service) }

    /// Where there is no gate, nothing stands between a route and its handler.
    private func guarded(_ handler: @escaping HTTPHandler) -> HTTPHandler {
        gates.isEmpty ? handler : GatedHandler(gates, handler).handle
    }
}
