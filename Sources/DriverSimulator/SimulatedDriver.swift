import Basics
import RideDomain

/// A simulated driver on the streets: the deterministic part, without any clock or socket. Seed and time come from outside.
///
///     roaming ──assign──▶ to pickup ──arrived──▶ boarding ──picked up──▶ to dropoff ──arrived──▶ alighting
///        ▲  └─assign (picked up already)─────────────────────────────────────▲                      │
///        └───────────────────────────── unassign (completed or cancelled) ◀─────────────────────────┘
///
/// It asks for `pickUp` and `complete` again with every step until what it learns of its trip shows that they are done:
/// a lost answer or a restarted service stops nobody.
struct SimulatedDriver {
    /// What the driver's app has to do now.
    enum Action: Equatable {
        case pickUp(tripID: String)
        case complete(tripID: String)
    }

    /// Where the car is after a step.
    struct Step: Equatable {
        let position: Position
        /// Degrees clockwise from north.
        let heading: Double
        /// Metres per second, on average over the step.
        let speed: Double
        let action: Action?
    }

    struct Assignment: Equatable {
        let tripID: String
        let pickup: Position
        let dropoff: Position
        var isPickedUp: Bool
    }

    private enum Phase: Equatable {
        case roaming
        case toPickup
        case boarding
        case toDropoff
        case alighting
    }

    /// Seconds that a passenger takes to get in or out.
    static let stopTime = 3.0

    private(set) var assignment: Assignment?
    private var phase = Phase.roaming
    private var random: SplitMix
    private var point: RoadGraph.Point
    private var heading: Double
    private var route: [Route.Leg] = []
    private var leg = 0
    /// Seconds that the car still stands.
    private var standing = 0.0

    /// A car on the road nearest to `position`.
    init(seed: UInt64, position: Position, graph: RoadGraph) {
        random = SplitMix(seed: seed)
        point = graph.nearestPoint(to: position)
        heading = graph.edges[Int(point.edge)].place(at: point.offset).heading
    }

    // MARK: What the app learns

    /// The driver has this trip (or learns that its passenger is in).
    mutating func assign(_ new: Assignment, planner: inout RoutePlanner) {
        guard new != assignment else { return }
        let isSameRide = new.tripID == assignment?.tripID
        assignment = new
        if new.isPickedUp {
            if isSameRide, phase == .toDropoff || phase == .alighting { return }
            phase = .toDropoff
            drive(to: new.dropoff, &planner)
        } else if !isSameRide {
            phase = .toPickup
            drive(to: new.pickup, &planner)
        }
    }

    /// The driver has no trip (any more).
    mutating func unassign() {
        guard assignment != nil else { return }
        assignment = nil
        phase = .roaming
        route = []
        leg = 0
        standing = 0
    }

    private mutating func drive(to position: Position, _ planner: inout RoutePlanner) {
        let goal = planner.graph.nearestPoint(to: position)
        route = planner.route(from: point, to: goal)?.legs ?? []
        leg = 0
    }

    // MARK: Driving

    /// Drives for `seconds`.
    mutating func step(seconds: Double, planner: inout RoutePlanner) -> Step {
        var left = seconds
        var metres = 0.0
        while left > 1e-9 {
            if standing > 0 {
                let pause = min(standing, left)
                standing -= pause
                left -= pause
                continue
            }
            if leg >= route.count {
                guard arrive(&planner) else { break }
                continue
            }
            let (driven, time) = advance(left, planner.graph)
            metres += driven
            left -= time
        }
        return Step(
            position: planner.graph.position(of: point).rounded,
            heading: heading.rounded().truncatingRemainder(dividingBy: 360),
            speed: (metres / seconds * 10).rounded() / 10, action: action)
    }

    /// What is asked of the app, once the passenger had time to get in or out.
    private var action: Action? {
        guard let assignment, standing <= 0 else { return nil }
        return switch phase {
        case .boarding: .pickUp(tripID: assignment.tripID)
        case .alighting: .complete(tripID: assignment.tripID)
        default: nil
        }
    }

    /// At the end of a way. Returns whether the car goes on in this step.
    private mutating func arrive(_ planner: inout RoutePlanner) -> Bool {
        switch phase {
        case .roaming:
            let goal = planner.graph.randomPoint(using: &random)
            route = planner.route(from: point, to: goal)?.legs ?? []
            leg = 0
            return route.contains { $0.length > 0 }
        case .toPickup:
            phase = .boarding
            standing = Self.stopTime
            return true
        case .toDropoff:
            phase = .alighting
            standing = Self.stopTime
            return true
        case .boarding, .alighting:
            return false
        }
    }

    /// Drives along the current leg for at most `seconds`; returns the metres driven and the seconds used.
    private mutating func advance(_ seconds: Double, _ graph: RoadGraph) -> (metres: Double, seconds: Double) {
        let current = route[leg]
        let edge = graph.edges[Int(current.edge)]
        if point.edge != current.edge { point = RoadGraph.Point(edge: current.edge, offset: current.start) }
        let rest = abs(current.end - point.offset)
        let reach = edge.speed * seconds
        if reach >= rest {
            point.offset = current.end
            leg += 1
            // The next leg may be on the same edge only at its end: the offset must be the next leg's start.
            if leg < route.count { point = RoadGraph.Point(edge: route[leg].edge, offset: route[leg].start) }
            if rest > 0 { turn(current, edge) }
            return (rest, rest / edge.speed)
        }
        point.offset += current.isForward ? reach : -reach
        turn(current, edge)
        return (reach, seconds)
    }

    private mutating func turn(_ leg: Route.Leg, _ edge: RoadGraph.Edge) {
        let offset = point.edge == leg.edge ? point.offset : leg.end
        let forward = edge.place(at: offset).heading
        heading = leg.isForward ? forward : (forward + 180).truncatingRemainder(dividingBy: 360)
    }
}
