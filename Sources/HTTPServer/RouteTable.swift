import Bytes
import HTTP1

/// A router's tree in flat memory: matching a path touches no object, no reference count and no exclusivity check.
@safe struct RouteTable: ~Copyable {
    private struct Node {
        var firstLiteral: UInt32
        var literalCount: UInt32
        /// Node for any segment; -1: none.
        var parameter: Int32
        /// Whether a pattern ends here.
        var isEnd: Bool
        /// Route by method; -1: none.
        var routes: InlineArray<10, Int16>
    }

    private struct Literal {
        var text: UInt32
        var count: UInt32
        var node: Int32
    }

    private let nodes: UnsafeMutableBufferPointer<Node>
    private let literals: UnsafeMutableBufferPointer<Literal>
    private let text: UnsafeMutableBufferPointer<UInt8>
    private let handlers: UnsafeMutableBufferPointer<Unmanaged<RouteHandler>>

    init(_ router: Router) {
        var flatNodes: [Node] = []
        var flatLiterals: [Literal] = []
        var flatText: [UInt8] = []
        for node in router.nodes {
            var routes = InlineArray<10, Int16>(repeating: -1)
            for index in 0..<10 { routes[index] = Int16(node.routes[index]) }
            flatNodes.append(
                Node(
                    firstLiteral: UInt32(flatLiterals.count), literalCount: UInt32(node.literals.count),
                    parameter: Int32(node.parameter), isEnd: !node.allow.isEmpty, routes: routes))
            for literal in node.literals {
                flatLiterals.append(
                    Literal(
                        text: UInt32(flatText.count), count: UInt32(literal.text.count), node: Int32(literal.node)))
                flatText += literal.text
            }
        }
        unsafe nodes = unsafe Self.copy(flatNodes)
        unsafe literals = unsafe Self.copy(flatLiterals)
        unsafe text = unsafe Self.copy(flatText)
        unsafe handlers = Self.copy(
            router.routes.map { unsafe Unmanaged.passRetained(RouteHandler($0.handler)) })
    }

    deinit {
        unsafe nodes.deallocate()
        unsafe literals.deallocate()
        unsafe text.deallocate()
        for index in unsafe 0..<handlers.count { unsafe handlers[index].release() }
        unsafe handlers.deallocate()
    }

    private static func copy<Element>(_ elements: [Element]) -> UnsafeMutableBufferPointer<Element> {
        let memory = UnsafeMutableBufferPointer<Element>.allocate(capacity: elements.count)
        _ = unsafe memory.initialize(fromContentsOf: elements)
        return unsafe memory
    }

    /// The route of a node for a method; -1: none.
    func route(_ node: Int, _ method: HTTP1Method) -> Int { unsafe Int(nodes[node].routes[Int(method.rawValue)]) }

    /// Calls the handler of `route`.
    @inline(__always)
    func call(_ route: Int, _ request: borrowing HTTPRequest, _ responder: HTTPResponder) {
        unsafe handlers[route]._withUnsafeGuaranteedRef { handler in
            do throws(Problem) { try handler.call(request, responder) } catch { responder.problem(error) }
        }
    }

    /// Finds the node for `path`, which begins with a slash, and notes where its parameters lie. -1: no pattern fits.
    func match(_ path: Span<UInt8>, _ match: inout RouteMatch) -> Int {
        match.count = 0
        guard path.count > 0, path[0] == UInt8(ascii: "/") else { return -1 }
        return descend(0, path, 1, &match)
    }

    private func descend(_ node: Int, _ path: Span<UInt8>, _ start: Int, _ match: inout RouteMatch) -> Int {
        var end = start
        while end < path.count && path[end] != UInt8(ascii: "/") { end += 1 }
        let isLast = end == path.count
        let segment = path.extracting(start..<end)
        let first = unsafe Int(nodes[node].firstLiteral)
        for index in unsafe first..<(first + Int(nodes[node].literalCount))
        where unsafe isEqual(segment, literals[index]) {
            let next = unsafe Int(literals[index].node)
            if isLast {
                if unsafe nodes[next].isEnd { return next }
            } else if case let found = descend(next, path, end + 1, &match), found >= 0 {
                return found
            }
        }
        let next = unsafe Int(nodes[node].parameter)
        guard next >= 0, end > start else { return -1 }
        let depth = match.count
        match.set(depth, start, end - start)
        match.count = depth + 1
        if isLast {
            if unsafe nodes[next].isEnd { return next }
        } else if case let found = descend(next, path, end + 1, &match), found >= 0 {
            return found
        }
        match.count = depth
        return -1
    }

    /// Whether a segment, decoded, equals a pattern's text.
    @inline(__always)
    private func isEqual(_ segment: Span<UInt8>, _ literal: Literal) -> Bool {
        let count = Int(literal.count)
        let start = Int(literal.text)
        if segment.count == count {
            var index = 0
            while unsafe index < count && segment[index] == text[start + index] { index += 1 }
            return index == count
        }
        return segment.count > count && isEqualDecoded(segment, start..<(start + count))
    }

    @inline(never)
    private func isEqualDecoded(_ segment: Span<UInt8>, _ range: Range<Int>) -> Bool {
        for index in 0..<segment.count where segment[index] == UInt8(ascii: "%") {
            return PercentCoding.decode(segment).map { unsafe $0.utf8.elementsEqual(text[range]) } ?? false
        }
        return false
    }
}

/// A handler in an object of its own: it is called without counting references.
private final class RouteHandler {
    let call: HTTPHandler
    init(_ call: @escaping HTTPHandler) { self.call = call }
}
