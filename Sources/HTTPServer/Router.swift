import Bytes
import HTTP1
import Reactor

/// Answers one request, now or later; the problem that it throws is the answer. The request is a view: it can't be kept
/// beyond the call; the responder can.
public typealias HTTPHandler = (borrowing HTTPRequest, HTTPResponder) throws(Problem) -> Void

/// Finds the handler for a method and a path. Filled once, before the server is made; then only the fallback may change.
///
/// A pattern is a path whose segments may be `{name}`: any one segment that is not empty. A literal goes before a name.
/// Paths are compared after percent-decoding, once; a trailing slash makes another path.
public final class Router {
    /// One method of one pattern.
    struct Route {
        let method: HTTP1Method
        let pattern: String
        let parameters: [String]
        let bodyBytes: Int?
        let handler: HTTPHandler
    }

    /// A segment of the patterns' tree.
    struct Node {
        var literals: [(text: [UInt8], node: Int)] = []
        var parameter = -1
        /// Route by method; -1: none.
        var routes = InlineArray<10, Int>(repeating: -1)
        var allow: String = ""
    }

    var nodes: [Node] = [Node()]
    var routes: [Route] = []
    var fallback: HTTPHandler?
    /// Patterns whose 5xx are what was asked for.
    private(set) var reports: Set<String> = []
    /// What took connections over from the server, and ends with it.
    var companions: [any LoopService] = []

    /// No routes.
    public init() {}

    /// Routes whose paths begin with `prefix`, behind `gates`.
    public func group(_ prefix: String = "", gates: [any Gate] = []) -> RouteGroup {
        group([prefix], gates: gates)
    }

    /// The same routes under several prefixes.
    public func group(_ prefixes: [String], gates: [any Gate] = []) -> RouteGroup {
        RouteGroup(router: self, prefixes: prefixes, gates: gates.map { .fast($0) })
    }

    /// Says that a 5xx of this pattern is what was asked for, as of a probe that is told that something is away: no failure of this
    /// server's, and no line among those of failures.
    public func reports(_ pattern: String) { reports.insert(pattern) }

    /// Adds a GET route, which answers HEAD, too.
    public func get(_ pattern: String, _ handler: @escaping HTTPHandler) { group().get(pattern, handler) }
    /// Adds a POST route, whose bodies have at most `bodyBytes` bytes; nil: the server's limit.
    public func post(_ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler) {
        group().post(pattern, bodyBytes: bodyBytes, handler)
    }
    /// Adds a PUT route, whose bodies have at most `bodyBytes` bytes; nil: the server's limit.
    public func put(_ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler) {
        group().put(pattern, bodyBytes: bodyBytes, handler)
    }
    /// Adds a PATCH route, whose bodies have at most `bodyBytes` bytes; nil: the server's limit.
    public func patch(_ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler) {
        group().patch(pattern, bodyBytes: bodyBytes, handler)
    }
    /// Adds a DELETE route.
    public func delete(_ pattern: String, _ handler: @escaping HTTPHandler) { group().delete(pattern, handler) }

    /// Adds a route, as `RouteGroup.add`.
    public func add(
        _ method: HTTP1Method, _ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler
    ) {
        group().add(method, pattern, bodyBytes: bodyBytes, handler)
    }

    /// What answers a path that no pattern fits, as `RouteGroup.fallback`.
    public func fallback(_ handler: @escaping HTTPHandler) { group().fallback(handler) }

    /// Drains `service`, which takes over connections by `HTTPResponder.upgrade`, together with the server.
    public func drains(with service: any LoopService) {
        if !companions.contains(where: { $0 === service }) { companions.append(service) }
    }

    func insert(_ method: HTTP1Method, _ pattern: String, _ bodyBytes: Int?, _ handler: @escaping HTTPHandler) {
        precondition(pattern.hasPrefix("/"), "a pattern begins with a slash")
        var node = 0
        var parameters: [String] = []
        for segment in pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            if segment.hasPrefix("{") && segment.hasSuffix("}") {
                parameters.append(String(segment.dropFirst().dropLast()))
                if nodes[node].parameter < 0 { nodes[node].parameter = addNode() }
                node = nodes[node].parameter
            } else {
                let text = Array(segment.utf8)
                if let known = nodes[node].literals.first(where: { $0.text == text }) {
                    node = known.node
                } else {
                    let new = addNode()
                    nodes[node].literals.append((text, new))
                    node = new
                }
            }
        }
        precondition(parameters.count <= RouteMatch.maximumParameters, "a pattern has too many parameters")
        precondition(nodes[node].routes[Int(method.rawValue)] < 0, "\(method.name) \(pattern) is there already")
        nodes[node].routes[Int(method.rawValue)] = routes.count
        if method == .get { nodes[node].routes[Int(HTTP1Method.head.rawValue)] = routes.count }
        routes.append(
            Route(method: method, pattern: pattern, parameters: parameters, bodyBytes: bodyBytes, handler: handler))
        nodes[node].allow = allow(of: nodes[node])
    }

    private func addNode() -> Int {
        nodes.append(Node())
        return nodes.count - 1
    }

    private func allow(of node: Node) -> String {
        var names: [String] = []
        for method in HTTP1Method.allCases where method != .other {
            if node.routes[Int(method.rawValue)] >= 0 || method == .options { names.append("\(method.name)") }
        }
        return names.joined(separator: ", ")
    }
}

/// Where the parameters of a matched pattern lie in the path.
struct RouteMatch {
    static let maximumParameters = 4
    var count = 0
    private var starts = InlineArray<4, UInt16>(repeating: 0)
    private var counts = InlineArray<4, UInt16>(repeating: 0)

    mutating func set(_ index: Int, _ start: Int, _ count: Int) {
        guard index < Self.maximumParameters else { return }
        starts[index] = UInt16(truncatingIfNeeded: start)
        counts[index] = UInt16(truncatingIfNeeded: count)
    }

    func range(_ index: Int) -> Range<Int> {
        let start = Int(starts[index])
        return start..<(start + Int(counts[index]))
    }
}
