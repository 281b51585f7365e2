/// Members (small numbers) by position, in memory: which are in a box, which are the nearest to a point.
///
/// A grid of 0.005° cells, of which only occupied ones exist; members of a cell lie together, with their position on
/// the unit sphere, so that a query walks few cells and compares with three multiplications each. A query never looks
/// at more cells than are occupied, so an empty ocean or a whole continent cost no more than one pass over all.
///
/// Costs: insert, move and remove O(1); box O(cells + members in them); nearest O(members within about twice the radius
/// of the result).
public struct GeoIndex: Sendable {
    struct Entry {
        var position: Position
        var vector: UnitVector
        var member: Int32
    }

    /// Where a member's entry lies.
    private struct Place {
        var bucket: Int32
        var offset: Int32
        static let none = Place(bucket: -1, offset: -1)
    }

    private struct Bucket {
        var cell: UInt32
        var entries: [Entry]
    }

    /// Cells per degree. Reason: about 550 m, so that the sixteen nearest of a busy city lie in nine cells.
    static let perDegree = 200.0
    private static let columns: Int32 = 72_000
    private static let rows: Int32 = 36_000

    private var places: [Place] = []
    private var buckets: [Bucket] = []
    private var freeBuckets: [Int32] = []
    private var bucketOfCell: [UInt32: Int32] = [:]
    /// Members in the index.
    public private(set) var count = 0

    public init() {}

    public func contains(_ member: Int32) -> Bool {
        Int(member) < places.count && places[Int(member)].bucket >= 0
    }

    // MARK: Changing

    /// Puts a member at a valid position, or moves it there.
    public mutating func set(_ member: Int32, at position: Position) {
        while places.count <= Int(member) { places.append(.none) }
        let cell = Self.cell(Self.row(position.lat), Self.column(position.lon))
        let entry = Entry(position: position, vector: UnitVector(position), member: member)
        let place = places[Int(member)]
        if place.bucket >= 0 {
            if buckets[Int(place.bucket)].cell == cell {
                buckets[Int(place.bucket)].entries[Int(place.offset)] = entry
                return
            }
            take(place)
        } else {
            count += 1
        }
        let bucket = bucketForInsert(cell)
        places[Int(member)] = Place(bucket: bucket, offset: Int32(buckets[Int(bucket)].entries.count))
        buckets[Int(bucket)].entries.append(entry)
    }

    /// Takes a member out; one that is not in the index is ignored.
    public mutating func remove(_ member: Int32) {
        guard contains(member) else { return }
        take(places[Int(member)])
        places[Int(member)] = .none
        count -= 1
    }

    /// Takes an entry out of its bucket: the last one fills the gap.
    private mutating func take(_ place: Place) {
        let bucket = Int(place.bucket)
        let last = buckets[bucket].entries.removeLast()
        if Int(place.offset) < buckets[bucket].entries.count {
            buckets[bucket].entries[Int(place.offset)] = last
            places[Int(last.member)].offset = place.offset
        }
        if buckets[bucket].entries.isEmpty {
            bucketOfCell[buckets[bucket].cell] = nil
            freeBuckets.append(place.bucket)
        }
    }

    private mutating func bucketForInsert(_ cell: UInt32) -> Int32 {
        if let bucket = bucketOfCell[cell] { return bucket }
        let bucket: Int32
        if let free = freeBuckets.popLast() {
            bucket = free
            buckets[Int(free)].cell = cell
        } else {
            bucket = Int32(buckets.count)
            buckets.append(Bucket(cell: cell, entries: []))
        }
        bucketOfCell[cell] = bucket
        return bucket
    }

    // MARK: Asking

    /// The members in `box`, in no order.
    public func members(in box: Box) -> [Int32] {
        var found: [Int32] = []
        forEach(touching: box) { entry in
            if box.contains(entry.position) { found.append(entry.member) }
        }
        return found
    }

    /// The members in `box`, in no order; nil if they are more than `limit`, whose search ends there.
    /// - Parameter work: is lowered by the cells that there were to look at and the members that were found.
    public func members(in box: Box, atMost limit: Int, work: inout Int) -> [Int32]? {
        var found: [Int32] = []
        var seen = 0
        let cells = walk(touching: box) { entry in
            seen += 1
            if box.contains(entry.position) { found.append(entry.member) }
            return found.count <= limit
        }
        work -= cells + seen
        return found.count <= limit ? found : nil
    }

    /// The nearest `limit` members to `center`, within `radius` metres when one is given, nearest first.
    ///
    /// `precedes` orders members at the same distance. `truncated`: more than `limit` match. `matches`, when it is given, says
    /// which members are looked for at all.
    public func nearest(
        to center: Position, radius: Double?, limit: Int, where matches: ((Int32) -> Bool)? = nil,
        precedes: @escaping (Int32, Int32) -> Bool
    ) -> (hits: [(member: Int32, metres: Double)], truncated: Bool) {
        let origin = UnitVector(center)
        // A radius that is not a number, or negative, is none: the search below ends when it has reached the widest circle.
        let widest = min(max(0, radius ?? .infinity), Self.halfCircumference)
        var heap = NearestHeap(capacity: limit, precedes: precedes)
        // When everything fits into the answer there is nothing to search for.
        var reach = count <= limit ? widest : min(widest, Self.firstReach)
        while true {
            heap.removeAll()
            let bound = UnitVector.squaredChord(metres: reach)
            forEach(touching: Box(around: center, radius: reach)) { entry in
                let distance = origin.squaredChord(to: entry.vector)
                if distance <= bound, matches?(entry.member) ?? true { heap.show(entry.member, distance: distance) }
            }
            // More than enough inside the circle: whatever lies outside is farther.
            if heap.seen > limit || reach >= widest { break }
            reach = min(widest, reach * 2)
        }
        // With its labels from the start: giving them to a whole array casts each element at run time.
        let hits = heap.sorted().map { (member: $0.member, metres: UnitVector.metres(squaredChord: $0.distance)) }
        return (hits, heap.seen > limit)
    }

    /// The `limit` members in `box` that are nearest to its centre, nearest first, by the same rules.
    public func nearest(
        in box: Box, limit: Int, where matches: ((Int32) -> Bool)? = nil, precedes: @escaping (Int32, Int32) -> Bool
    ) -> (members: [Int32], truncated: Bool) {
        let origin = UnitVector(box.center)
        var heap = NearestHeap(capacity: limit, precedes: precedes)
        forEach(touching: box) { entry in
            guard box.contains(entry.position), matches?(entry.member) ?? true else { return }
            heap.show(entry.member, distance: origin.squaredChord(to: entry.vector))
        }
        return (heap.sorted().map(\.member), heap.seen > limit)
    }

    /// Metres of the first circle that is searched; each further one is twice as wide.
    private static let firstReach = 300.0
    private static let halfCircumference = Position.earthRadius * .pi

    /// Calls `body` with every entry of the cells that `box` touches (also with entries outside `box`).
    @inline(__always)
    private func forEach(touching box: Box, _ body: (Entry) -> Void) {
        _ = walk(touching: box) { entry in
            body(entry)
            return true
        }
    }

    /// As above, until `body` says false. Returns how many cells there were to look at.
    @inline(__always)
    private func walk(touching box: Box, _ body: (Entry) -> Bool) -> Int {
        // What is no box (its south lies north, a border is not a number) has no cells, and no range of them.
        guard box.isValid else { return 0 }
        let south = Self.row(box.south)
        let north = Self.row(box.north)
        let west = Self.column(box.west)
        let east = Self.column(box.east)
        // A box that goes almost round the Earth begins and ends in the same column, which is walked once.
        let width = min(Int(Self.columns), Int(east - west) + 1 + (box.crossesAntimeridian ? Int(Self.columns) : 0))
        let cells = width * Int(north - south + 1)
        guard cells < bucketOfCell.count else {
            for bucket in buckets where !bucket.entries.isEmpty {
                let row = Int32(bucket.cell / UInt32(Self.columns))
                let column = Int32(bucket.cell % UInt32(Self.columns))
                let isTouched = east < west ? column >= west || column <= east : column >= west && column <= east
                guard row >= south, row <= north, isTouched || width == Self.columns else { continue }
                for entry in bucket.entries where !body(entry) { return buckets.count }
            }
            return buckets.count
        }
        for row in south...north {
            var column = west
            for _ in 0..<width {
                if let bucket = bucketOfCell[Self.cell(row, column)] {
                    for entry in buckets[Int(bucket)].entries where !body(entry) { return cells }
                }
                column = column == Self.columns - 1 ? 0 : column + 1
            }
        }
        return cells
    }

    // MARK: Cells

    private static func row(_ lat: Double) -> Int32 {
        GeoCell.place((lat + 90) * perDegree, of: rows)
    }

    private static func column(_ lon: Double) -> Int32 {
        GeoCell.place((lon + 180) * perDegree, of: columns)
    }

    private static func cell(_ row: Int32, _ column: Int32) -> UInt32 {
        UInt32(row) * UInt32(columns) + UInt32(column)
    }
}
