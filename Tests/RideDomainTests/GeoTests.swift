import Basics
import RideDomain
import Testing

func randomPosition(_ random: inout SplitMix, near center: Position, degrees: Double) -> Position {
    let degrees = min(90, degrees)
    let lat = max(-90, min(90, center.lat + Double.random(in: -degrees...degrees, using: &random)))
    var lon = center.lon + Double.random(in: -degrees...degrees, using: &random) * 2
    if lon > 180 { lon -= 360 }
    if lon < -180 { lon += 360 }
    return Position(lat: lat, lon: lon)
}

/// Places where geometry goes wrong: a city, the equator, the antimeridian, both poles, the corners.
let awkwardPlaces = [
    Position(lat: 53.56, lon: 13.26), Position(lat: 0, lon: 0), Position(lat: -17, lon: 179.99),
    Position(lat: 52, lon: -180), Position(lat: 89.99, lon: 40), Position(lat: -90, lon: 0),
    Position(lat: 90, lon: 180),
]

@Suite struct GeoTests {
    @Test func distancesAreTheKnownOnes() {
        let berlin = Position(lat: 52.520008, lon: 13.404954)
        let paris = Position(lat: 48.856613, lon: 2.352222)
        #expect(abs(berlin.distance(to: paris) - 877_460) < 100)
        #expect(berlin.distance(to: berlin) == 0)
        #expect(abs(Position(lat: 0, lon: 179.9).distance(to: Position(lat: 0, lon: -179.9)) - 22_239) < 1)
        #expect(abs(Position(lat: 90, lon: 0).distance(to: Position(lat: -90, lon: 77)) - 20_015_115) < 1)
        #expect(abs(berlin.bearing(to: Position(lat: 53, lon: 13.404954))) < 1e-9)
        #expect(abs(Position(lat: 0, lon: 0).bearing(to: Position(lat: 0, lon: 1)) - 90) < 1e-9)
        #expect(abs(Position(lat: 0, lon: 0).bearing(to: Position(lat: 0, lon: -1)) - 270) < 1e-9)
    }

    @Test func onlyRealPositionsAreValid() {
        #expect(Position(lat: 90, lon: -180).isValid && Position(lat: -90, lon: 180).isValid)
        for bad in [(90.000001, 0), (0, 180.1), (.nan, 0), (0, .infinity)] as [(Double, Double)] {
            #expect(!Position(lat: bad.0, lon: bad.1).isValid)
        }
        #expect(!Box(west: 0, south: 1, east: 1, north: 0).isValid)
        #expect(!Box(west: .nan, south: 0, east: 1, north: 1).isValid)
    }

    @Test func theBoxAroundACircleHoldsTheCircle() {
        var random = SplitMix(seed: 3)
        for center in awkwardPlaces {
            for radius in [1.0, 500, 10_000, 100_000, 3_000_000, 20_100_000] {
                let box = Box(around: center, radius: radius)
                for _ in 0..<300 {
                    let degrees = radius / 111_000 * 1.5
                    let position = randomPosition(&random, near: center, degrees: degrees)
                    if center.distance(to: position) <= radius {
                        #expect(box.contains(position), "\(center) \(radius) \(position)")
                    }
                }
            }
        }
    }

    @Test func cellsTileTheEarth() {
        var random = SplitMix(seed: 4)
        for center in awkwardPlaces {
            for _ in 0..<500 {
                let position = randomPosition(&random, near: center, degrees: 0.05)
                let cell = GeoCell(position)
                #expect(cell.box.contains(position))
                // The box of what a rider sees is covered by the cells that are fetched for it.
                let view = Box(around: position, radius: Double.random(in: 1...3_000, using: &random))
                guard GeoCell.count(in: view) < 10_000 else { continue }
                var cells: [GeoCell] = []
                GeoCell.forEach(in: view) { cells.append($0) }
                #expect(cells.count == GeoCell.count(in: view))
                #expect(Set(cells).count == cells.count && cells.contains(cell))
                let other = randomPosition(&random, near: position, degrees: 0.02)
                if view.contains(other) { #expect(cells.contains(GeoCell(other))) }
            }
        }
    }
}

/// Boxes that are none: what a request, a file or a program may say all the same.
let noBoxes = [
    Box(west: 0, south: 50, east: 1, north: -50), Box(west: 5, south: 0, east: .nan, north: 1),
    Box(west: .nan, south: .nan, east: .nan, north: .nan), Box(west: 0, south: 1, east: 1, north: .nan),
    Box(west: -.infinity, south: -1e308, east: .infinity, north: 1e308), Box(west: 1e308, south: 0, east: 0, north: 1),
    Box(around: Position(lat: 0, lon: 0), radius: -1_000_000),
]

@Suite struct GeoIndexTests {
    @Test func whatIsNoBoxHoldsNothing() {
        var index = GeoIndex()
        for (member, place) in awkwardPlaces.enumerated() { index.set(Int32(member), at: place) }
        // More members than any of the boxes has cells, so that cells are walked, and then one for the other way.
        for member in 100..<5_000 as Range<Int32> {
            index.set(member, at: Position(lat: Double(member) / 100, lon: 10 + Double(member) / 100))
        }
        for box in noBoxes {
            #expect(index.members(in: box).isEmpty)
            var work = 1_000
            #expect(index.members(in: box, atMost: 10, work: &work) == [])
            #expect(work == 1_000)
            #expect(GeoCell.count(in: box) == 0)
            GeoCell.forEach(in: box) { Issue.record("\(box) has the cell \($0)") }
        }
    }

    @Test func aRadiusThatIsNoneFindsNobodyAndEnds() {
        var index = GeoIndex()
        for member in 0..<100 as Range<Int32> { index.set(member, at: Position(lat: Double(member) / 10, lon: 0)) }
        for radius in [.nan, -1, -1e308, -.infinity] as [Double] {
            let (hits, truncated) = index.nearest(to: Position(lat: 5.05, lon: 0), radius: radius, limit: 10) {
                $0 < $1
            }
            #expect(hits.isEmpty && !truncated)
        }
        let (hits, _) = index.nearest(to: Position(lat: .nan, lon: 1e308), radius: 100, limit: 10) { $0 < $1 }
        #expect(hits.isEmpty)
    }

    /// The index against a plain list, through random insertions, moves and removals.
    @Test(arguments: 0..<7) func theIndexAnswersWhatAListWould(place: Int) {
        var random = SplitMix(seed: UInt64(place))
        let center = awkwardPlaces[place]
        var index = GeoIndex()
        var list: [Int32: Position] = [:]
        for round in 0..<60 {
            for _ in 0..<40 {
                let member = Int32.random(in: 0..<300, using: &random)
                if Int.random(in: 0..<4, using: &random) == 0 {
                    index.remove(member)
                    list[member] = nil
                } else {
                    let spread = [0.001, 0.02, 0.5, 30].randomElement(using: &random)!
                    let position = randomPosition(&random, near: center, degrees: spread)
                    index.set(member, at: position)
                    list[member] = position
                }
            }
            #expect(index.count == list.count)
            let from = randomPosition(&random, near: center, degrees: 0.1)
            let limit = [1, 3, 16, 1_000].randomElement(using: &random)!
            let radius: Double? = [nil, 100, 3_000, 100_000].randomElement(using: &random)!
            let answer = index.nearest(to: from, radius: radius, limit: limit, precedes: <)
            let expected = list.map { (member: $0.key, metres: from.distance(to: $0.value)) }
                .filter { $0.metres <= radius ?? .infinity }.sorted { ($0.metres, $0.member) < ($1.metres, $1.member) }
            #expect(answer.truncated == (expected.count > limit), "round \(round)")
            #expect(answer.hits.count == min(limit, expected.count))
            for (hit, wanted) in zip(answer.hits, expected) { #expect(abs(hit.metres - wanted.metres) < 0.01) }
            let box = Box(around: from, radius: Double.random(in: 10...200_000, using: &random))
            let members = index.members(in: box).sorted()
            #expect(members == list.filter { box.contains($0.value) }.map(\.key).sorted())
            let inBox = index.nearest(in: box, limit: limit, precedes: <)
            #expect(inBox.truncated == (members.count > limit))
            func metres(_ member: Int32) -> Double { box.center.distance(to: list[member] ?? from) }
            let nearest = members.map(metres).sorted().prefix(limit)
            #expect(inBox.members.count == nearest.count && Set(inBox.members).isSubset(of: members))
            for (member, wanted) in zip(inBox.members, nearest) { #expect(abs(metres(member) - wanted) < 0.01) }
        }
    }

    @Test func aBoxHasItsCentreHalfWayAlsoAcrossTheAntimeridian() {
        for (west, east, center) in [
            (13, 14, 13.5), (-180, 180, 0), (179, -179, 180), (170, -178, 176), (178, -170, -176), (-1, 1, 0),
            (1, -1, 180),
        ] as [(Double, Double, Double)] {
            let lon = Box(west: west, south: 50, east: east, north: 52).center.lon
            #expect(abs(lon) == abs(center) && (abs(center) == 180 || lon == center), "\(west) to \(east)")
        }
        #expect(Box(west: 0, south: 50, east: 1, north: 52).center.lat == 51)
    }

    @Test func membersAtTheSamePlaceComeInTheOrderAskedFor() {
        var index = GeoIndex()
        for member in [5, 3, 9, 1] as [Int32] { index.set(member, at: Position(lat: 1, lon: 1)) }
        let answer = index.nearest(to: Position(lat: 1, lon: 1), radius: nil, limit: 2, precedes: <)
        #expect(answer.hits.map(\.member) == [1, 3] && answer.truncated)
    }

    /// A database file, or a peer, may say anything.
    @Test func whatIsNoPositionIsInSomeCellAndFoundByNobody() throws {
        let numbers: [Double] = [
            .nan, .signalingNaN, .infinity, -.infinity, 1e300, -1e300, 91, -181, .leastNonzeroMagnitude,
        ]
        var index = GeoIndex()
        index.set(0, at: home)
        for (number, lat) in numbers.enumerated() {
            for (other, lon) in numbers.enumerated() {
                let position = Position(lat: lat, lon: lon)
                let cell = GeoCell(position)
                #expect((0..<18_000).contains(cell.row) && (0..<36_000).contains(cell.column))
                let member = Int32(1 + number * numbers.count + other)
                index.set(member, at: position)
                if (number + other) % 2 == 0 { index.remove(member) }
            }
        }
        #expect(index.nearest(to: home, radius: 1_000, limit: 10) { $0 < $1 }.hits.map(\.member) == [0])
        #expect(index.members(in: Box(west: 13, south: 53, east: 14, north: 54)) == [0])
        var restored = emptyRegistry()
        let lost = Driver(
            profile: profile("lost"), position: Position(lat: .nan, lon: 1e300), measuredAt: .min, updatedAt: .max,
            revision: .max)
        restored.restore([lost], at: firstMoment)
        #expect(restored.report(0, LocationPoint(position: home), at: firstMoment) == nil)
        #expect(restored.availableIDs(.around(home, radius: 10)) == ["lost"])
    }
}
