import RideDomain

/// What is looked at, and what of it must be fetched.
///
/// A query watches the cells of 0.01° that its area touches; one that touches too many, or the whole Earth, watches its box.
/// Cells (and boxes) become dirty by triggers, by polls, and when they are watched for the first time; dirty ones are
/// fetched all at once. Plain values; the feed owns it.
struct LiveQueries {
    /// A query with more cells than this watches its whole box.
    static let maximumCells = 1_024
    /// Areas of one call: the rest stays dirty for the next one.
    static let maximumAreas = 1_000

    struct Query {
        let query: AreaQuery
        /// The cells that it watches; empty if it watches `box`.
        let cells: [GeoCell]
        let box: Box
        /// Whom the list is for: a shard and its number for this query.
        var listeners: [(shard: Int, number: UInt64)] = []
        var list: LiveList?
        /// Its cells that were never fetched; 1 for a box that was not.
        var unknown = 0
        /// The list must be made again.
        var isChanged = false

        var watchesBox: Bool { cells.isEmpty }
    }

    private struct Cell {
        var queries: [Int] = []
        var isKnown = false
    }

    private(set) var queries: [Int: Query] = [:]
    private var byQuery: [AreaQuery: Int] = [:]
    private var nextQuery = 0
    private var cells: [GeoCell: Cell] = [:]
    /// Queries that watch boxes.
    private(set) var boxes: Set<Int> = []
    private var dirtyCells: Set<GeoCell> = []
    private var boxesAreDirty = false

    var isEmpty: Bool { queries.isEmpty }
    var count: Int { queries.count }
    var hasDirty: Bool { !dirtyCells.isEmpty || (boxesAreDirty && !boxes.isEmpty) }
    var dirtyCellCount: Int { dirtyCells.count }

    // MARK: Watching

    /// Adds a listener; returns the query's index. A new query is dirty where nobody has looked yet.
    mutating func add(_ query: AreaQuery, shard: Int, number: UInt64) -> Int {
        if let index = byQuery[query] {
            queries[index]?.listeners.append((shard, number))
            return index
        }
        let index = nextQuery
        nextQuery += 1
        byQuery[query] = index
        let box = Self.box(of: query.area)
        var watched: [GeoCell] = []
        if box != .everywhere && GeoCell.count(in: box) <= Self.maximumCells {
            GeoCell.forEach(in: box) { watched.append($0) }
        }
        var new = Query(query: query, cells: watched, box: box)
        new.listeners = [(shard, number)]
        new.isChanged = true
        if watched.isEmpty {
            boxes.insert(index)
            boxesAreDirty = true
            new.unknown = 1
        }
        for cell in watched {
            cells[cell, default: Cell()].queries.append(index)
            if cells[cell]?.isKnown == false {
                dirtyCells.insert(cell)
                new.unknown += 1
            }
        }
        queries[index] = new
        return index
    }

    /// Removes a listener. True: the query, and maybe cells, are not watched any more.
    mutating func remove(_ query: AreaQuery, shard: Int, number: UInt64) -> Bool {
        guard let index = byQuery[query] else { return false }
        queries[index]?.listeners.removeAll { $0.shard == shard && $0.number == number }
        guard let gone = queries[index], gone.listeners.isEmpty else { return false }
        queries[index] = nil
        byQuery[query] = nil
        boxes.remove(index)
        for cell in gone.cells {
            cells[cell]?.queries.removeAll { $0 == index }
            if cells[cell]?.queries.isEmpty == true {
                cells[cell] = nil
                dirtyCells.remove(cell)
            }
        }
        return true
    }

    /// Whether somebody looks at this place.
    func isWatched(_ position: Position, _ cell: GeoCell) -> Bool {
        cells[cell] != nil || boxes.contains { queries[$0]?.box.contains(position) ?? false }
    }

    /// Queries of a box with everything around a position: the whole Earth orders and does not filter.
    private static func box(of area: Area) -> Box {
        switch area {
        case .everywhere, .around(_, radius: nil): .everywhere
        case .around(let center, .some(let radius)): Box(around: center, radius: radius)
        case .box(let box): box
        }
    }

    // MARK: Dirt

    /// Something has happened in `cell`. False: nobody looks there.
    @discardableResult
    mutating func mark(_ cell: GeoCell) -> Bool {
        var isSeen = !boxes.isEmpty
        if isSeen { boxesAreDirty = true }
        if cells[cell] != nil {
            dirtyCells.insert(cell)
            isSeen = true
        }
        return isSeen
    }

    mutating func markEverything() {
        dirtyCells.formUnion(cells.keys)
        boxesAreDirty = true
    }

    /// Takes what is dirty for one call: cells that lie side by side become one box.
    mutating func takeDirty() -> [DriverCache.Area] {
        var areas: [DriverCache.Area] = []
        if boxesAreDirty {
            boxesAreDirty = false
            for box in Set(boxes.compactMap { queries[$0]?.box }) { areas.append(.box(box)) }
        }
        var taken = 0
        let sorted = dirtyCells.sorted()
        while taken < sorted.count && areas.count < Self.maximumAreas {
            let first = sorted[taken]
            var last = first.column
            taken += 1
            while taken < sorted.count, sorted[taken].row == first.row, sorted[taken].column == last + 1 {
                last += 1
                taken += 1
            }
            areas.append(.cells(row: first.row, columns: first.column...last))
        }
        dirtyCells = Set(sorted[taken...])
        return areas
    }

    /// The call for these areas has failed: they are dirty still.
    mutating func giveBack(_ areas: [DriverCache.Area]) {
        forEachCell(areas) { queries, cell in if queries.cells[cell] != nil { queries.dirtyCells.insert(cell) } }
        for case .box in areas { boxesAreDirty = true }
    }

    /// These areas were fetched, and `changed` are the cells that look different now: notes which lists are to be made
    /// again.
    mutating func fetched(_ areas: [DriverCache.Area], changed: Set<GeoCell>) {
        forEachCell(areas) { queries, cell in
            guard let watched = queries.cells[cell], !watched.isKnown else { return }
            queries.cells[cell]?.isKnown = true
            for index in watched.queries { queries.queries[index]?.unknown -= 1 }
        }
        for cell in changed {
            for index in cells[cell]?.queries ?? [] { queries[index]?.isChanged = true }
        }
        var fetchedBoxes: Set<Box> = []
        for case .box(let box) in areas { fetchedBoxes.insert(box) }
        for index in boxes {
            guard let query = queries[index] else { continue }
            if fetchedBoxes.contains(query.box) { queries[index]?.unknown = 0 }
            if !changed.isEmpty { queries[index]?.isChanged = true }
        }
    }

    private mutating func forEachCell(_ areas: [DriverCache.Area], _ body: (inout LiveQueries, GeoCell) -> Void) {
        for case .cells(let row, let columns) in areas {
            for column in columns { body(&self, GeoCell(row: row, column: column)) }
        }
    }

    // MARK: Lists

    /// All lists must be made again: what they say beside the drivers has changed.
    mutating func changeAll() {
        for index in Array(queries.keys) { queries[index]?.isChanged = true }
    }

    mutating func keep(_ list: LiveList, for index: Int) {
        queries[index]?.list = list
        queries[index]?.isChanged = false
    }

    mutating func unchanged(_ index: Int) {
        queries[index]?.isChanged = false
    }
}
