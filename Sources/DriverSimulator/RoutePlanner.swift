import RideDomain

/// A way along the roads: stretches of edges, one after the other.
struct Route: Equatable, Sendable {
    struct Leg: Equatable, Sendable {
        let edge: Int32
        /// Metres from the edge's `from`; `end` less than `start` means driving towards `from`.
        let start: Double
        let end: Double

        var length: Double { abs(end - start) }
        var isForward: Bool { end >= start }
    }

    var legs: [Leg]
    /// Seconds at the roads' speeds.
    var time: Double
}

/// Finds the fastest way between two places (A*, with the straight line at the highest speed as the estimate).
///
/// It keeps its tables between calls: not for two threads at once.
struct RoutePlanner {
    let graph: RoadGraph
    /// By node, valid when `stamp` is the current search's.
    private var times: [Double]
    private var arrivals: [RoadGraph.Exit]
    private var stamps: [UInt32]
    private var stamp: UInt32 = 0
    private var queue = TimeQueue()

    init(graph: RoadGraph) {
        self.graph = graph
        times = [Double](repeating: 0, count: graph.nodes.count)
        arrivals = [RoadGraph.Exit](repeating: RoadGraph.Exit(edge: -1, isForward: true), count: graph.nodes.count)
        stamps = [UInt32](repeating: 0, count: graph.nodes.count)
    }

    /// The fastest way. (There always is one: every node reaches every other one.)
    mutating func route(from start: RoadGraph.Point, to goal: RoadGraph.Point) -> Route? {
        let startEdge = graph.edges[Int(start.edge)]
        let goalEdge = graph.edges[Int(goal.edge)]
        var best: Route?
        if start.edge == goal.edge, goal.offset >= start.offset || !startEdge.isOneway {
            best = Route(
                legs: [Route.Leg(edge: start.edge, start: start.offset, end: goal.offset)],
                time: startEdge.time(abs(goal.offset - start.offset)))
        }

        stamp &+= 1
        queue.removeAll()
        let target = graph.position(of: goal)
        reach(
            startEdge.to, startEdge.time(startEdge.length - start.offset), RoadGraph.Exit(edge: -1, isForward: true),
            target)
        if !startEdge.isOneway {
            reach(startEdge.from, startEdge.time(start.offset), RoadGraph.Exit(edge: -1, isForward: false), target)
        }
        // The goal lies on an edge: it is reached from that edge's ends.
        var lastNode: Int32?
        var bestTime = best?.time ?? .infinity
        while let (estimate, node) = queue.popFirst() {
            if estimate >= bestTime { break }
            let time = times[Int(node)]
            if estimate > time + remaining(node, target) + 1e-6 { continue }
            if node == goalEdge.from, time + goalEdge.time(goal.offset) < bestTime {
                bestTime = time + goalEdge.time(goal.offset)
                lastNode = node
            }
            if node == goalEdge.to, !goalEdge.isOneway,
                time + goalEdge.time(goalEdge.length - goal.offset) < bestTime
            {
                bestTime = time + goalEdge.time(goalEdge.length - goal.offset)
                lastNode = node
            }
            for exit in graph.exits[Int(node)] {
                let edge = graph.edges[Int(exit.edge)]
                reach(exit.isForward ? edge.to : edge.from, time + edge.time(edge.length), exit, target)
            }
        }
        guard let lastNode else { return best }
        return Route(legs: legs(from: start, to: goal, through: lastNode), time: bestTime)
    }

    /// The legs of the way that ends at `lastNode` and goes on to the goal.
    private func legs(from start: RoadGraph.Point, to goal: RoadGraph.Point, through lastNode: Int32) -> [Route.Leg] {
        var legs: [Route.Leg] = []
        let goalEdge = graph.edges[Int(goal.edge)]
        legs.append(
            Route.Leg(
                edge: goal.edge, start: lastNode == goalEdge.from ? 0 : goalEdge.length, end: goal.offset))
        var node = lastNode
        while arrivals[Int(node)].edge >= 0 {
            let arrival = arrivals[Int(node)]
            let edge = graph.edges[Int(arrival.edge)]
            legs.append(
                arrival.isForward
                    ? Route.Leg(edge: arrival.edge, start: 0, end: edge.length)
                    : Route.Leg(edge: arrival.edge, start: edge.length, end: 0))
            node = arrival.isForward ? edge.from : edge.to
        }
        let isForward = arrivals[Int(node)].isForward
        legs.append(
            Route.Leg(
                edge: start.edge, start: start.offset, end: isForward ? graph.edges[Int(start.edge)].length : 0))
        return legs.reversed()
    }

    private mutating func reach(_ node: Int32, _ time: Double, _ arrival: RoadGraph.Exit, _ target: Position) {
        let index = Int(node)
        guard stamps[index] != stamp || time < times[index] else { return }
        stamps[index] = stamp
        times[index] = time
        arrivals[index] = arrival
        queue.insert(time + remaining(node, target), node)
    }

    /// At least so many seconds from `node` to `target`. (Roads are measured a little longer than they are drawn, never
    /// shorter, so the straight line never overestimates.)
    private func remaining(_ node: Int32, _ target: Position) -> Double {
        graph.nodes[Int(node)].distance(to: target) / graph.maximumSpeed * 0.98
    }
}

/// A binary heap of nodes by time, the earliest first.
private struct TimeQueue {
    private var items: [(time: Double, node: Int32)] = []

    mutating func removeAll() { items.removeAll(keepingCapacity: true) }

    mutating func insert(_ time: Double, _ node: Int32) {
        items.append((time, node))
        var child = items.count - 1
        while child > 0, items[child].time < items[(child - 1) / 2].time {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func popFirst() -> (time: Double, node: Int32)? {
        guard let first = items.first else { return nil }
        let last = items.removeLast()
        guard !items.isEmpty else { return first }
        items[0] = last
        var parent = 0
        while true {
            var earliest = parent
            if 2 * parent + 1 < items.count, items[2 * parent + 1].time < items[earliest].time {
                earliest = 2 * parent + 1
            }
            if 2 * parent + 2 < items.count, items[2 * parent + 2].time < items[earliest].time {
                earliest = 2 * parent + 2
            }
            guard earliest != parent else { return first }
            items.swapAt(parent, earliest)
            parent = earliest
        }
    }
}
