import Bytes
import JSONWire
import RideAPI
import RideDomain
import WebSockets

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A list as it is sent: one text frame, header and payload contiguous, for everybody who asks the same.
struct LiveList: Sendable {
    let frame: SharedBytes
    /// Where the part begins that counts when two lists are compared: all but `version` and `as_of`.
    fileprivate let contentOffset: Int

    /// Whether this list shows what `other` shows: then it is not sent.
    func showsTheSame(as other: LiveList) -> Bool {
        let count = frame.count - contentOffset
        guard other.frame.count - other.contentOffset == count else { return false }
        return frame.withSpan { mine in
            other.frame.withSpan { theirs in
                unsafe mine.extracting(contentOffset...).withUnsafeBytes { mine in
                    unsafe theirs.extracting(other.contentOffset...).withUnsafeBytes { theirs in
                        guard let mine = mine.baseAddress, let theirs = theirs.baseAddress else {
                            return count == 0
                        }
                        return unsafe memcmp(mine, theirs, count) == 0
                    }
                }
            }
        }
    }
}

/// Makes the exact list of a query (its circle or box, its order, its limit) out of snapshots, a portion at a time: ten thousand
/// cars in one turn would keep everybody waiting. What changes meanwhile is for the next list.
///
///     select and sort a portion ─▶ … ─▶ write a portion, the runs merged ─▶ … ─▶ list
struct LiveListMaker: ~Copyable {
    /// Drivers that are looked at, or written, in one portion. Reason: half a millisecond.
    static let portion = 1_024
    /// Drivers that are sorted at once. Reason: as above; and the longest list has ten such runs.
    private static let run = 1_024

    fileprivate struct Found {
        var unit: Int32
        var place: Int32
        /// Metres from the area's centre; 0 where it has none.
        var distance: Double
    }

    private let query: AreaQuery
    private let units: [UnitSnapshot]
    private let snapshot: LiveSnapshot
    private let isStale: Bool
    private var isTruncated: Bool
    /// What the list is ordered by the distance from.
    private let center: Position?
    /// One unit without a centre is in order already.
    private let sorts: Bool

    /// Where the selection goes on.
    private var unit = 0
    private var place = 0
    /// Drivers of the list, and those of the run that grows: each run is in order.
    private var runs: [[Found]] = []
    private var growing: [Found] = []
    /// The first of each run that is not written.
    private var heads: [Int] = []
    /// Drivers of the whole list, and those that are written.
    private var count = 0
    private var written = 0
    private var buffer = ByteBuffer()
    private var contentOffset = 0

    /// - Parameters:
    ///   - units: what covers the area; every driver is in one of them at most.
    ///   - isExact: they are one, which is the query's own answer.
    init(_ query: AreaQuery, _ units: [UnitSnapshot], isExact: Bool, _ snapshot: LiveSnapshot, isStale: Bool) {
        self.query = query
        self.units = units
        self.snapshot = snapshot
        self.isStale = isStale
        isTruncated = isExact && units.contains(where: \.isTruncated)
        center = query.area.center
        sorts = center != nil || units.count > 1
    }

    /// Makes the next portion. Returns the list once it is whole, and the drivers that were looked at or written.
    mutating func goOn() -> (list: LiveList?, work: Int) {
        if unit < units.count { return (nil, select()) }
        if heads.isEmpty { begin() }
        let before = written
        write()
        return (written == count ? finish() : nil, written - before)
    }

    // MARK: Selecting

    private mutating func select() -> Int {
        var looked = 0
        while unit < units.count, looked < Self.portion {
            let drivers = units[unit].drivers
            let end = min(place + Self.portion - looked, drivers.count)
            looked += end - place
            while place < end {
                if let distance = distance(to: drivers[place].position) {
                    growing.append(Found(unit: Int32(unit), place: Int32(place), distance: distance))
                }
                place += 1
            }
            if place == drivers.count {
                unit += 1
                place = 0
            }
        }
        if sorts, growing.count >= Self.run { endRun() }
        return looked
    }

    /// Metres, 0 where they do not count; nil: outside.
    private func distance(to position: Position) -> Double? {
        if case .box(let box) = query.area, !box.contains(position) { return nil }
        guard let center else { return 0 }
        let distance = center.distance(to: position)
        if case .around(_, let radius?) = query.area, distance > radius { return nil }
        return distance
    }

    private mutating func endRun() {
        var run: [Found] = []
        swap(&run, &growing)
        let units = units
        if sorts { run.sort { Self.precedes($0, $1, units) } }
        runs.append(run)
    }

    private static func precedes(_ left: Found, _ right: Found, _ units: [UnitSnapshot]) -> Bool {
        if left.distance != right.distance { return left.distance < right.distance }
        return units[left].id < units[right].id
    }

    // MARK: Writing

    private mutating func begin() {
        endRun()
        heads = [Int](repeating: 0, count: runs.count)
        let found = runs.reduce(0) { $0 + $1.count }
        count = min(found, query.limit)
        if found > query.limit { isTruncated = true }
        buffer = ByteBuffer(capacity: 160 + count * 320)
        FrameWriter.beginFrame(in: &buffer)
        buffer.append("{\"type\":\"drivers\",\"version\":")
        buffer.append(decimal: snapshot.version)
        buffer.appendJSON("as_of", instant: snapshot.asOf)
        contentOffset = buffer.count
        buffer.appendJSON("truncated", bool: isTruncated)
        if isStale { buffer.appendJSON("stale", bool: true) }
        buffer.append(",\"drivers\":[")
    }

    private mutating func write() {
        let end = min(written + Self.portion, count)
        while written < end {
            if written > 0 { buffer.append(UInt8(ascii: ",")) }
            let item = takeFirst()
            let text = units[item].text
            if query.hasDistances {
                buffer.appendJSON(driverText: text.span, distance: item.distance)
            } else {
                buffer.append(text)
            }
            written += 1
        }
    }

    /// The first of all runs.
    private mutating func takeFirst() -> Found {
        var first = 0
        for run in runs.indices.dropFirst() where heads[run] < runs[run].count {
            let isFirstEmpty = heads[first] == runs[first].count
            if isFirstEmpty || Self.precedes(runs[run][heads[run]], runs[first][heads[first]], units) { first = run }
        }
        heads[first] += 1
        return runs[first][heads[first] - 1]
    }

    private mutating func finish() -> LiveList {
        buffer.append("]}")
        let before = buffer.count
        FrameWriter.finishFrame(.text, in: &buffer)
        let offset = contentOffset - (before - buffer.count)
        var whole = ByteBuffer()
        swap(&whole, &buffer)
        return LiveList(frame: SharedBytes(whole), contentOffset: offset)
    }
}

extension [UnitSnapshot] {
    fileprivate subscript(found: LiveListMaker.Found) -> LiveDriver { self[Int(found.unit)].drivers[Int(found.place)] }
}

extension AreaQuery {
    /// Drivers show their distance.
    var hasDistances: Bool { if case .around = area { true } else { false } }
}
