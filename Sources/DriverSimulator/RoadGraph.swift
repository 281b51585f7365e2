import Basics
import Bytes
import JSONWire
import RideDomain

/// The streets of a city, as cars drive them: nodes where roads meet, edges with a shape, a length and a speed.
///
/// Made from `ride-roads/1` (OpenStreetMap data under the ODbL; see public/map/LICENSE-ODbL.txt). Every node reaches
/// every other one.
struct RoadGraph: Sendable {
    struct Edge: Sendable {
        let from: Int32
        let to: Int32
        /// Metres along the road.
        let length: Double
        /// Metres per second.
        let speed: Double
        let isOneway: Bool
        /// From `from` to `to`, at least two points.
        let points: [Position]
        /// Metres from the first point to each point as drawn (a little less than along the road).
        let distances: [Double]

        /// Seconds for `metres` of it.
        func time(_ metres: Double) -> Double { metres / speed }

        /// Where one is after `offset` metres from `from`, and the direction of travel towards `to` there.
        func place(at offset: Double) -> (position: Position, heading: Double) {
            let drawn = min(1, max(0, offset / length)) * distances[distances.count - 1]
            var segment = 0
            while segment < points.count - 2, distances[segment + 1] < drawn { segment += 1 }
            let start = points[segment]
            let end = points[segment + 1]
            let stretch = distances[segment + 1] - distances[segment]
            let share = stretch > 0 ? (drawn - distances[segment]) / stretch : 0
            let position = Position(
                lat: start.lat + (end.lat - start.lat) * share, lon: start.lon + (end.lon - start.lon) * share)
            return (position, start.bearing(to: end))
        }
    }

    /// A step from a node: along `edge`, forwards (from → to) or back.
    struct Exit: Sendable {
        let edge: Int32
        let isForward: Bool
    }

    let nodes: [Position]
    let edges: [Edge]
    /// By node: where one can go from it.
    let exits: [[Exit]]
    /// Metres per second of the fastest edge.
    let maximumSpeed: Double

    init(nodes: [Position], edges: [Edge]) {
        self.nodes = nodes
        self.edges = edges
        var exits = [[Exit]](repeating: [], count: nodes.count)
        for (index, edge) in edges.enumerated() {
            exits[Int(edge.from)].append(Exit(edge: Int32(index), isForward: true))
            if !edge.isOneway { exits[Int(edge.to)].append(Exit(edge: Int32(index), isForward: false)) }
        }
        self.exits = exits
        maximumSpeed = edges.reduce(1) { max($0, $1.speed) }
    }

    /// A place on a road: `offset` metres from the edge's `from`.
    struct Point: Hashable, Sendable {
        var edge: Int32
        var offset: Double
    }

    func position(of point: Point) -> Position { edges[Int(point.edge)].place(at: point.offset).position }

    /// A place somewhere on the roads; longer roads are likelier.
    func randomPoint(using random: inout SplitMix) -> Point {
        let edge = edges.indices.randomElement(using: &random) ?? 0
        return Point(edge: Int32(edge), offset: Double.random(in: 0...edges[edge].length, using: &random))
    }

    /// The place on the roads that is nearest to `position` (where a car stops for someone who stands there).
    func nearestPoint(to position: Position) -> Point {
        // Flat around the position: one degree of longitude is shorter than one of latitude.
        let lonScale = Self.lonScale(at: position.lat)
        var best = Point(edge: 0, offset: 0)
        var bestDistance = Double.infinity
        for (index, edge) in edges.enumerated() {
            for segment in 0..<(edge.points.count - 1) {
                let ax = (edge.points[segment].lon - position.lon) * lonScale
                let ay = edge.points[segment].lat - position.lat
                let bx = (edge.points[segment + 1].lon - position.lon) * lonScale - ax
                let by = edge.points[segment + 1].lat - position.lat - ay
                let square = bx * bx + by * by
                let share = square > 0 ? min(1, max(0, -(ax * bx + ay * by) / square)) : 0
                let x = ax + bx * share
                let y = ay + by * share
                let distance = x * x + y * y
                guard distance < bestDistance else { continue }
                bestDistance = distance
                let drawn = edge.distances[segment] + (edge.distances[segment + 1] - edge.distances[segment]) * share
                let whole = edge.distances[edge.distances.count - 1]
                best = Point(edge: Int32(index), offset: whole > 0 ? drawn / whole * edge.length : 0)
            }
        }
        return best
    }

    private static func lonScale(at lat: Double) -> Double {
        let east = Position(lat: lat, lon: 0).distance(to: Position(lat: lat, lon: 1))
        let north = Position(lat: lat, lon: 0).distance(to: Position(lat: lat < 89 ? lat + 1 : lat - 1, lon: 0))
        return east / north
    }
}
