import Bytes
import RideAPI
import RideDomain

/// The available drivers of every place that somebody looks at, each with his JSON once.
///
/// It is filled by answers to `ListDriversInAreas`: what an answered area does not name is not there any more. It says
/// which cells have changed, so that only lists that show them are made again. Plain values; the feed owns it.
struct DriverCache {
    struct Entry {
        var driver: Driver_V1_Driver
        var position: Position
        var cell: GeoCell
        /// His JSON without `distance_m`.
        var text: [UInt8]
        /// The place among all ids, in their order; meaningful after `rank()`.
        var rank = 0
        /// The answer that named him last.
        var answer: UInt64 = 0
    }

    /// An area that was asked for.
    enum Area: Hashable {
        /// Cells of one row, west to east: one box in the question.
        case cells(row: Int32, columns: ClosedRange<Int32>)
        /// A box of any size.
        case box(Box)

        /// What the driver service is asked. A cell's borders are decimal fractions and no binary ones: without a centimetre
        /// more, a driver on a border could be in neither of the two boxes.
        var box: Box {
            switch self {
            case .cells(let row, let columns):
                let first = GeoCell(row: row, column: columns.lowerBound).box
                let last = GeoCell(row: row, column: columns.upperBound).box
                let margin = 1e-7
                return Box(
                    west: max(-180, first.west - margin), south: max(-90, first.south - margin),
                    east: min(180, last.east + margin), north: min(90, first.north + margin))
            case .box(let box): return box
            }
        }

        /// Whether a driver there belongs to this area. A point on a border is answered for both cells and has one.
        func contains(_ position: Position, _ cell: GeoCell) -> Bool {
            switch self {
            case .cells(let row, let columns): cell.row == row && columns.contains(cell.column)
            case .box(let box): box.contains(position)
            }
        }
    }

    private(set) var entries: [Entry?] = []
    private var free: [Int] = []
    private var byID: [String: Int] = [:]
    private var byCell: [GeoCell: [Int]] = [:]
    private var answers: UInt64 = 0
    private var ranksAreGood = true

    var count: Int { byID.count }

    /// Where a driver was when he was last heard of.
    func cell(of id: String) -> GeoCell? {
        byID[id].flatMap { entries[$0]?.cell }
    }

    /// The entries whose drivers are in `cell`.
    func indices(in cell: GeoCell) -> [Int] { byCell[cell] ?? [] }

    /// All entries.
    var indices: some Sequence<Int> { byID.values }

    /// Takes one answer: for each area, all who are available there. Returns the cells where something has changed.
    mutating func take(_ answered: [(area: Area, drivers: [Driver_V1_Driver])]) -> Set<GeoCell> {
        answers += 1
        var changed: Set<GeoCell> = []
        for (area, drivers) in answered {
            for driver in drivers {
                let position = Position(lat: driver.lat, lon: driver.lon)
                guard position.isValid else { continue }
                let cell = GeoCell(position)
                if area.contains(position, cell) { put(driver, position, cell, &changed) }
            }
        }
        for (area, _) in answered { removeUnnamed(area, &changed) }
        return changed
    }

    private mutating func put(
        _ driver: Driver_V1_Driver, _ position: Position, _ cell: GeoCell, _ changed: inout Set<GeoCell>
    ) {
        guard let index = byID[driver.id] else {
            let entry = Entry(
                driver: driver, position: position, cell: cell, text: Self.text(driver), answer: answers)
            let index = free.popLast() ?? entries.count
            if index == entries.count { entries.append(entry) } else { entries[index] = entry }
            byID[driver.id] = index
            byCell[cell, default: []].append(index)
            ranksAreGood = false
            changed.insert(cell)
            return
        }
        entries[index]?.answer = answers
        guard let old = entries[index], old.driver != driver else { return }
        entries[index]?.driver = driver
        entries[index]?.position = position
        entries[index]?.text = Self.text(driver)
        changed.insert(cell)
        guard old.cell != cell else { return }
        changed.insert(old.cell)
        entries[index]?.cell = cell
        leave(old.cell, index)
        byCell[cell, default: []].append(index)
    }

    private mutating func removeUnnamed(_ area: Area, _ changed: inout Set<GeoCell>) {
        switch area {
        case .cells(let row, let columns):
            for column in columns {
                let cell = GeoCell(row: row, column: column)
                for index in indices(in: cell) where entries[index]?.answer != answers { remove(index, &changed) }
            }
        case .box(let box):
            for index in Array(byID.values) {
                guard let entry = entries[index], entry.answer != answers, box.contains(entry.position) else {
                    continue
                }
                remove(index, &changed)
            }
        }
    }

    private mutating func remove(_ index: Int, _ changed: inout Set<GeoCell>) {
        guard let entry = entries[index] else { return }
        changed.insert(entry.cell)
        leave(entry.cell, index)
        byID[entry.driver.id] = nil
        entries[index] = nil
        free.append(index)
    }

    private mutating func leave(_ cell: GeoCell, _ index: Int) {
        byCell[cell]?.removeAll { $0 == index }
        if byCell[cell]?.isEmpty == true { byCell[cell] = nil }
    }

    /// Forgets everybody whose place nobody looks at any more.
    mutating func keep(where isWatched: (Position, GeoCell) -> Bool) {
        var changed: Set<GeoCell> = []
        for index in Array(byID.values) {
            guard let entry = entries[index], !isWatched(entry.position, entry.cell) else { continue }
            remove(index, &changed)
        }
    }

    /// Makes every `rank` good: drivers in the order of their ids.
    mutating func rank() {
        if ranksAreGood { return }
        ranksAreGood = true
        for (rank, item) in byID.sorted(by: { $0.key < $1.key }).enumerated() { entries[item.value]?.rank = rank }
    }

    private static func text(_ driver: Driver_V1_Driver) -> [UInt8] {
        var driver = driver
        driver.distanceM = nil
        var buffer = ByteBuffer(capacity: 320)
        buffer.appendJSON(driver: driver)
        return buffer.array()
    }
}
