import Basics
import RideDomain
import Testing

@testable import DriverSimulator

/// The real streets, read once.
let city: RoadGraph = {
    let path = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
    return try! RoadGraph(path: path + "/public/map/neubrandenburg-roads.json")
}()

/// A square of streets, 1,000 m each: 0 – 1 – 2 – 3 – 0, and a fast diagonal that is one-way from 0 to 2.
let square: RoadGraph = {
    let corner = Position(lat: 53.5, lon: 13)
    let north = 1_000 / 111_195.0
    let east = north / 0.5948
    let nodes = [
        corner, Position(lat: corner.lat, lon: corner.lon + east),
        Position(lat: corner.lat + north, lon: corner.lon + east), Position(lat: corner.lat + north, lon: corner.lon),
    ]
    func edge(_ from: Int32, _ to: Int32, _ length: Double, _ speed: Double, oneway: Bool = false) -> RoadGraph.Edge {
        RoadGraph.Edge(
            from: from, to: to, length: length, kilometresPerHour: speed, isOneway: oneway,
            points: [nodes[Int(from)], nodes[Int(to)]])
    }
    return RoadGraph(
        nodes: nodes,
        edges: [
            edge(0, 1, 1_000, 36), edge(1, 2, 1_000, 36), edge(2, 3, 1_000, 36), edge(3, 0, 1_000, 36),
            edge(0, 2, 1_420, 72, oneway: true),
        ])
}()

@Suite struct RoadGraphTests {
    @Test func theWholeCityIsRead() {
        #expect(city.nodes.count == 1_692 && city.edges.count == 2_196)
        let kilometres = city.edges.reduce(0) { $0 + $1.length } / 1_000
        #expect(abs(kilometres - 263.3) < 0.1)
        for edge in city.edges {
            let drawn = edge.distances[edge.distances.count - 1]
            #expect(drawn > edge.length * 0.97 - 2 && drawn < edge.length * 1.01 + 1)
        }
    }

    @Test func damagedFilesAreRefusedWithTheReason() {
        #expect(throws: RoadGraphError.self) { try RoadGraph(json: Array("{}".utf8)) }
        #expect(throws: RoadGraphError.self) { try RoadGraph(json: Array("{\"format\":\"ride-roads/1\"".utf8)) }
        let wrongNode = """
            {"format":"ride-roads/1","origin":[13,53],"scale":1000000,"nodes":[0,0,10,10],"edges":{"from":[0],"to":[2],
            "speed":[50],"oneway":[0],"length":[10],"shape":[[]]}}
            """
        let error = #expect(throws: RoadGraphError.self) { try RoadGraph(json: Array(wrongNode.utf8)) }
        #expect(error == .inconsistent("edge 0"))
    }

    /// Numbers that would stop the loop (streets without length), or make a position of nothing.
    @Test(arguments: [
        ("1e-300", "50", "1000000"), ("0", "50", "1000000"), ("1e308", "50", "1000000"), ("-1", "50", "1000000"),
        ("10", "0", "1000000"), ("10", "-9223372036854775808", "1000000"), ("10", "9223372036854775807", "1000000"),
        ("10", "50", "1e-300"), ("10", "50", "0"), ("10", "50", "-1"),
    ])
    func streetsThatNobodyCanDriveAreRefused(length: String, speed: String, scale: String) {
        func file(_ length: String, _ speed: String, _ scale: String) -> [UInt8] {
            let edges = #"{"from":[0],"to":[1],"speed":[\#(speed)],"oneway":[0],"length":[\#(length)],"shape":[[]]}"#
            return Array(
                #"{"format":"ride-roads/1","origin":[13,53],"scale":\#(scale),"nodes":[1,1,100,100],"edges":\#(edges)}"#
                    .utf8)
        }
        #expect(throws: Never.self) { try RoadGraph(json: file("10", "50", "1000000")) }
        #expect(throws: RoadGraphError.self) { try RoadGraph(json: file(length, speed, scale)) }
    }

    @Test func theNearestPointLiesOnTheNearestRoad() {
        let middle = Position(lat: square.nodes[0].lat - 0.001, lon: (square.nodes[0].lon + square.nodes[1].lon) / 2)
        let point = square.nearestPoint(to: middle)
        #expect(point.edge == 0 && abs(point.offset - 500) < 1)
        var random = SplitMix(seed: 5)
        for _ in 0..<200 {
            let place = city.randomPoint(using: &random)
            let found = city.position(of: city.nearestPoint(to: city.position(of: place)))
            #expect(found.distance(to: city.position(of: place)) < 1)
        }
    }
}

@Suite struct RoutePlannerTests {
    func seconds(_ from: RoadGraph.Point, _ to: RoadGraph.Point) -> Double? {
        var planner = RoutePlanner(graph: square)
        return planner.route(from: from, to: to)?.time
    }

    @Test func theFastestWayIsFoundAndOneWayStreetsAreKept() throws {
        // Along the diagonal: 1,420 m at 20 m/s; back only round the square, at 10 m/s.
        let corner0 = RoadGraph.Point(edge: 0, offset: 0)
        let corner2 = RoadGraph.Point(edge: 2, offset: 0)
        #expect(abs(try #require(seconds(corner0, corner2)) - 71) < 0.01)
        #expect(abs(try #require(seconds(corner2, corner0)) - 200) < 0.01)
        // On one street, both ways; on the one-way street, back means round the square.
        let a = RoadGraph.Point(edge: 0, offset: 200)
        let b = RoadGraph.Point(edge: 0, offset: 700)
        #expect(seconds(a, b) == 50 && seconds(b, a) == 50)
        let c = RoadGraph.Point(edge: 4, offset: 100)
        let d = RoadGraph.Point(edge: 4, offset: 300)
        #expect(abs(try #require(seconds(c, d)) - 10) < 0.01)
        // 1,120 m to the end, 2,000 m round the square, 100 m from the beginning.
        #expect(abs(try #require(seconds(d, c)) - 261) < 0.01)
    }

    /// Every leg begins where the last one ended, in a permitted direction, and no way is slower than another search's.
    @Test func waysThroughTheCityAreWholeAndFastest() throws {
        var planner = RoutePlanner(graph: city)
        var random = SplitMix(seed: 11)
        for _ in 0..<60 {
            let start = city.randomPoint(using: &random)
            let goal = city.randomPoint(using: &random)
            let found = planner.route(from: start, to: goal)
            let route = try #require(found)
            let first = try #require(route.legs.first)
            let last = try #require(route.legs.last)
            #expect(first.edge == start.edge && first.start == start.offset)
            #expect(last.edge == goal.edge && last.end == goal.offset)
            var time = 0.0
            for (index, leg) in route.legs.enumerated() {
                let edge = city.edges[Int(leg.edge)]
                #expect(leg.isForward || !edge.isOneway)
                time += leg.length / edge.speed
                guard index + 1 < route.legs.count else { continue }
                let next = route.legs[index + 1]
                let nextEdge = city.edges[Int(next.edge)]
                let node = leg.end == 0 ? edge.from : edge.to
                #expect(leg.end == 0 || leg.end == edge.length)
                #expect(node == (next.start == 0 ? nextEdge.from : nextEdge.to))
            }
            #expect(abs(time - route.time) < 1e-6)
            #expect(route.time <= slowButSure(start, goal) + 1e-6)
        }
    }

    /// Bellman-Ford over the nodes.
    func slowButSure(_ start: RoadGraph.Point, _ goal: RoadGraph.Point) -> Double {
        var times = [Double](repeating: .infinity, count: city.nodes.count)
        let startEdge = city.edges[Int(start.edge)]
        times[Int(startEdge.to)] = (startEdge.length - start.offset) / startEdge.speed
        if !startEdge.isOneway { times[Int(startEdge.from)] = start.offset / startEdge.speed }
        var changed = true
        while changed {
            changed = false
            for edge in city.edges {
                let time = edge.length / edge.speed
                if times[Int(edge.from)] + time < times[Int(edge.to)] - 1e-9 {
                    times[Int(edge.to)] = times[Int(edge.from)] + time
                    changed = true
                }
                if !edge.isOneway, times[Int(edge.to)] + time < times[Int(edge.from)] - 1e-9 {
                    times[Int(edge.from)] = times[Int(edge.to)] + time
                    changed = true
                }
            }
        }
        let edge = city.edges[Int(goal.edge)]
        var best = times[Int(edge.from)] + goal.offset / edge.speed
        if !edge.isOneway { best = min(best, times[Int(edge.to)] + (edge.length - goal.offset) / edge.speed) }
        if start.edge == goal.edge, goal.offset >= start.offset || !edge.isOneway {
            best = min(best, abs(goal.offset - start.offset) / edge.speed)
        }
        return best
    }
}

@Suite struct SimulatedDriverTests {
    /// Drives until `done` or 3,600 s; every step must be possible for a car and lie on a road.
    func drive(
        _ driver: inout SimulatedDriver, _ planner: inout RoutePlanner, told: SimulatedDriver.Assignment? = nil,
        until done: (SimulatedDriver.Step) -> Bool
    ) -> SimulatedDriver.Step? {
        var last: Position?
        for _ in 0..<3_600 {
            // The same news again and again, as a stream brings it.
            if let told { driver.assign(told, planner: &planner) }
            let step = driver.step(seconds: 1, planner: &planner)
            if let last {
                let metres = last.distance(to: step.position)
                #expect(metres <= planner.graph.maximumSpeed * 1.05 + 1)
            }
            #expect(step.speed <= planner.graph.maximumSpeed + 0.1 && (0..<360).contains(step.heading))
            last = step.position
            if done(step) { return step }
        }
        return nil
    }

    @Test func theSameSeedDrivesTheSameWay() {
        func positions(_ seed: UInt64) -> [Position] {
            var planner = RoutePlanner(graph: city)
            var driver = SimulatedDriver(seed: seed, position: city.nodes[900], graph: city)
            return (0..<900).map { _ in driver.step(seconds: 1, planner: &planner).position }
        }
        let first = positions(1)
        let isRepeatable = first == positions(1)
        let isSeeded = first != positions(2)
        #expect(isRepeatable && isSeeded)
    }

    @Test func carsKeepMovingOnTheRoads() {
        var planner = RoutePlanner(graph: city)
        var random = SplitMix(seed: 1)
        for seed in 0..<20 {
            var driver = SimulatedDriver(
                seed: UInt64(seed), position: city.position(of: city.randomPoint(using: &random)), graph: city)
            var metres = 0.0
            var steps = 0
            _ = drive(&driver, &planner) { step in
                metres += step.speed
                steps += 1
                if steps % 50 == 0 {
                    let road = city.position(of: city.nearestPoint(to: step.position))
                    #expect(road.distance(to: step.position) < 1)
                }
                return steps == 600
            }
            #expect(metres > 1_500)
        }
    }

    @Test func aTripIsDrivenToItsEndWhateverIsRepeated() throws {
        var planner = RoutePlanner(graph: city)
        for seed in 0..<10 {
            var random = SplitMix(seed: UInt64(seed))
            var driver = SimulatedDriver(seed: UInt64(seed), position: city.nodes[seed], graph: city)
            let pickup = city.position(of: city.randomPoint(using: &random))
            let dropoff = city.position(of: city.randomPoint(using: &random))
            var trip = SimulatedDriver.Assignment(tripID: "t", pickup: pickup, dropoff: dropoff, isPickedUp: false)
            driver.assign(trip, planner: &planner)
            let there = drive(&driver, &planner, told: trip) { $0.action == .pickUp(tripID: "t") }
            #expect(try #require(there).position.distance(to: pickup) < 5)
            // The answer was lost: the car waits and asks again.
            let again = driver.step(seconds: 1, planner: &planner)
            #expect(again.action == .pickUp(tripID: "t") && again.speed == 0)
            trip.isPickedUp = true
            driver.assign(trip, planner: &planner)
            let end = drive(&driver, &planner) { $0.action == .complete(tripID: "t") }
            #expect(try #require(end).position.distance(to: dropoff) < 5)
            #expect(driver.step(seconds: 1, planner: &planner).action == .complete(tripID: "t"))
            driver.unassign()
            #expect(drive(&driver, &planner) { $0.speed > 1 } != nil)
            #expect(driver.step(seconds: 1, planner: &planner).action == nil)
        }
    }

    @Test func aTripThatWasPickedUpBeforeARestartGoesToItsDropoff() throws {
        var planner = RoutePlanner(graph: city)
        var driver = SimulatedDriver(seed: 1, position: city.nodes[0], graph: city)
        let trip = SimulatedDriver.Assignment(
            tripID: "t", pickup: city.nodes[10], dropoff: city.nodes[900], isPickedUp: true)
        driver.assign(trip, planner: &planner)
        let end = drive(&driver, &planner) { $0.action != nil }
        #expect(end?.action == .complete(tripID: "t"))
        #expect(try #require(end).position.distance(to: city.nodes[900]) < 5)
    }

    @Test func aCancelledTripIsLeftAtOnce() {
        var planner = RoutePlanner(graph: city)
        var driver = SimulatedDriver(seed: 1, position: city.nodes[0], graph: city)
        driver.assign(
            SimulatedDriver.Assignment(
                tripID: "t", pickup: city.nodes[0], dropoff: city.nodes[900], isPickedUp: false), planner: &planner)
        #expect(drive(&driver, &planner) { $0.action == .pickUp(tripID: "t") } != nil)
        driver.unassign()
        #expect(drive(&driver, &planner) { $0.speed > 1 } != nil)
        #expect(driver.assignment == nil)
    }
}
