import Bytes
import HTTP1

/// Answers one request. The request is a view: it can't be kept beyond the call; the responder can.
public typealias HTTPHandler = (borrowing HTTPRequest, HTTPResponder) -> Void

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

    public init() {}

    public func get(_ pattern: String, _ handler: @escaping HTTPHandler) { add(.get, pattern, handler) }
    public func post(_ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler) {
        add(.post, pattern, bodyBytes: bodyBytes, handler)
    }
    public func put(_ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler) {
        add(.put, pattern, bodyBytes: bodyBytes, handler)
    }
    public func patch(_ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler) {
        add(.patch, pattern, bodyBytes: bodyBytes, handler)
    }
    public func delete(_ pattern: String, _ handler: @escaping HTTPHandler) { add(.delete, pattern, handler) }

    /// Adds a route. HEAD is answered by GET's handler, without the body.
    ///
    /// - Parameter bodyBytes: the longest body that it takes; nil is the server's limit.
    public func add(
        _ method: HTTP1Method, _ pattern: String, bodyBytes: Int? = nil, _ handler: @escaping HTTPHandler
    ) {
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

    /// What answers a path that no pattern fits, whatever the method: files of a folder, for example. Without it: 404.
    /// May be called again at any time, on the loop; requests in flight are answered by the old one.
    public func fallback(_ handler: @escaping HTTPHandler) { fallback = handler }

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
