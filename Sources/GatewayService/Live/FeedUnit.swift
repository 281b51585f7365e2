import RideDomain

/// A unit that somebody watches, on the feed's loop.
final class FeedUnit {
    let unit: LiveUnit
    /// Loops that watch it, and how often each wants it.
    private(set) var watchers: [(loopIndex: Int, pace: Pace)] = []
    /// The quickest of them.
    private(set) var pace = Pace(number: Pace.classes - 1)

    var state = UnitState()
    /// Those of `state.snapshot`, in its order.
    var known: [KnownDriver] = []
    /// The driver service's revision when it was answered last.
    var revision: UInt64 = 0

    /// Something has happened there since it was asked for last.
    var isDirty = false
    /// It waits in a queue of calls, or a call for it is under way.
    var isTaken = false
    /// It is dirty by the poll alone: no trigger, no new view.
    var isPollAlone = false
    /// Unix milliseconds of the oldest Kafka record that made it dirty; 0 if none did.
    var cause: Int64 = 0
    /// When it was asked for last, nanoseconds; 0: never.
    var lastFetch: UInt64 = 0
    /// Not before, nanoseconds.
    var retryAt: UInt64 = 0
    /// Tiles that a call with this one may have. Reason: a call that failed is asked again in halves, until what makes it fail
    /// is alone.
    var company = Int.max

    init(_ unit: LiveUnit) { self.unit = unit }

    var isWatched: Bool { !watchers.isEmpty }

    /// When it may be asked for again.
    var due: UInt64 { lastFetch == 0 ? retryAt : max(lastFetch + pace.nanoseconds, retryAt) }

    var tile: LiveTile? { if case .tile(let tile) = unit { tile } else { nil } }

    /// Nobody watches it: what it would be asked for is forgotten.
    func release() {
        isTaken = false
        isDirty = false
    }

    func watch(_ loopIndex: Int, _ pace: Pace) {
        unwatch(loopIndex)
        watchers.append((loopIndex, pace))
        self.pace = min(self.pace, pace)
    }

    func unwatch(_ loopIndex: Int) {
        watchers.removeAll { $0.loopIndex == loopIndex }
        pace = watchers.map(\.pace).min() ?? Pace(number: Pace.classes - 1)
    }
}

/// A driver of whom any unit knows.
final class KnownDriver {
    let id: String
    /// As they were answered last.
    var newest: LiveDriver
    var revision: UInt64
    /// Units whose snapshot names them.
    var uses = 0
    /// By level: the tile that names them; 0: none does. A driver is in one tile of a level.
    var tiles = SIMD8<UInt64>(repeating: 0)
    /// The last snapshot that named them.
    var serial: UInt64 = 0

    init(_ driver: LiveDriver, revision: UInt64) {
        id = driver.id
        newest = driver
        self.revision = revision
    }
}

/// A list that is being put into its unit, which may take more than one turn.
struct FeedPut {
    /// This one, among all.
    fileprivate let serial: UInt64
    /// The driver who is next.
    fileprivate var next = 0
    /// Who stays or comes, so far.
    fileprivate var kept: [LiveDriver] = []
    fileprivate var known: [KnownDriver] = []
    /// They are those of the last snapshot, so far.
    fileprivate var isSame = true
    /// Drivers of the last snapshot who are taken leave of, or kept.
    fileprivate var left = 0
    fileprivate var changed: [FeedUnit] = []

    fileprivate init(serial: UInt64, count: Int) {
        self.serial = serial
        kept.reserveCapacity(count)
        known.reserveCapacity(count)
    }
}

/// All units and the drivers in them: each driver's text once, and on each level in one tile. On the feed's loop.
struct FeedUnits {
    private(set) var units: [LiveUnit: FeedUnit] = [:]
    private(set) var exact: [ObjectIdentifier: FeedUnit] = [:]
    /// Tiles by level: levels without any cost a trigger nothing.
    private var tilesOfLevel = [Int](repeating: 0, count: LiveTile.levels)
    private var known: [String: KnownDriver] = [:]
    private var serial: UInt64 = 0

    var isEmpty: Bool { units.isEmpty }
    var count: Int { units.count }
    var driverCount: Int { known.count }

    // MARK: Units

    /// The unit, made if nobody has watched it so far.
    mutating func find(orMake unit: LiveUnit) -> FeedUnit {
        if let found = units[unit] { return found }
        let new = FeedUnit(unit)
        units[unit] = new
        switch unit {
        case .tile(let tile): tilesOfLevel[tile.level] += 1
        case .exact: exact[ObjectIdentifier(new)] = new
        }
        return new
    }

    /// Forgets a unit that nobody watches any more, and the drivers whom only it knew, as many as the turn allows. False: there are
    /// more.
    mutating func remove(_ unit: FeedUnit, _ budget: TurnBudget) -> Bool {
        // It may be watched again meanwhile.
        guard !unit.isWatched else { return true }
        if units[unit.unit] === unit {
            units[unit.unit] = nil
            switch unit.unit {
            case .tile(let tile): tilesOfLevel[tile.level] -= 1
            case .exact: exact[ObjectIdentifier(unit)] = nil
            }
            unit.state = UnitState()
            budget.spend(1)
        }
        while budget.mayGoOn() {
            guard let driver = unit.known.popLast() else { return true }
            leave(driver, unit)
            budget.spend(1)
        }
        return unit.known.isEmpty
    }

    /// Calls `body` with every tile where a driver is or was.
    func forEachTile(of id: String, at cell: GeoCell, _ body: (FeedUnit) -> Void) {
        let old = known[id]?.tiles ?? SIMD8(repeating: 0)
        for level in 0..<LiveTile.levels where tilesOfLevel[level] > 0 {
            let tile = LiveTile(cell, level: level)
            if let unit = units[.tile(tile)] { body(unit) }
            if old[level] != 0, old[level] != tile.key, let unit = units[.tile(LiveTile(key: old[level]))] {
                body(unit)
            }
        }
    }

    // MARK: Drivers

    /// The driver of a message: the one that is known, if it says nothing new about them.
    func driver(_ message: [UInt8]) -> LiveDriver? {
        if let id = Self.id(message), let newest = known[id]?.newest, newest.message == message { return newest }
        return LiveDriver(message)
    }

    /// The first field of a message about a driver: their id.
    private static func id(_ message: [UInt8]) -> String? {
        guard message.count > 2, message[0] == 10, message[1] < 128, message.count >= 2 + Int(message[1]) else {
            return nil
        }
        return String(decoding: message[2..<(2 + Int(message[1]))], as: UTF8.self)
    }

    /// A unit was answered: `count` drivers are there now. One answer is put in at a time.
    mutating func beginPut(_ count: Int) -> FeedPut {
        serial += 1
        return FeedPut(serial: serial, count: count)
    }

    /// Goes on with `drivers`, who are in `unit` now, as far as the turn allows.
    ///
    /// - Returns: the units that look different: this one, and tiles that a driver has left for this one. Nil: the turn is over before the end.
    mutating func put(
        _ put: inout FeedPut, _ drivers: [LiveDriver], isTruncated: Bool, into unit: FeedUnit, revision: UInt64,
        _ budget: TurnBudget
    ) -> [FeedUnit]? {
        let tile = unit.tile
        let old = unit.state.snapshot?.drivers ?? []
        while put.next < drivers.count {
            guard budget.mayGoOn() else { return nil }
            let driver = drivers[put.next]
            put.next += 1
            // Whom nothing has changed about costs a small part of the others.
            if put.next & 7 == 0 { budget.spend(1) }
            // A point on a border is answered for both tiles.
            if let tile, !tile.contains(driver.cell) { continue }
            let place = put.kept.count
            let isSame = place < old.count && old[place] === driver
            if !isSame {
                budget.spend(1)
                put.isSame = false
            }
            let entry = isSame ? unit.known[place] : entry(of: driver, revision)
            if entry.serial == put.serial { continue }
            if let tile, !claim(entry, tile, unit, revision, &put.changed, budget) { continue }
            entry.serial = put.serial
            entry.uses += 1
            put.kept.append(driver)
            put.known.append(entry)
        }
        while put.left < unit.known.count {
            guard budget.mayGoOn() else { return nil }
            let entry = unit.known[put.left]
            put.left += 1
            if put.left & 7 == 0 { budget.spend(1) }
            if entry.serial == put.serial {
                entry.uses -= 1
            } else {
                budget.spend(1)
                leave(entry, unit)
            }
        }
        unit.known = put.known
        unit.revision = revision
        let snapshot = unit.state.snapshot
        if snapshot == nil || snapshot?.isTruncated != isTruncated || !put.isSame || put.kept.count != old.count {
            unit.state.snapshot = UnitSnapshot(put.kept, isTruncated: isTruncated)
            put.changed.append(unit)
        }
        return put.changed
    }

    private mutating func entry(of driver: LiveDriver, _ revision: UInt64) -> KnownDriver {
        guard let entry = known[driver.id] else {
            let entry = KnownDriver(driver, revision: revision)
            known[driver.id] = entry
            return entry
        }
        if revision >= entry.revision {
            entry.revision = revision
            entry.newest = driver
        }
        return entry
    }

    /// Makes `tile` the one of its level that names this driver. False: another tile knows better where they are.
    private mutating func claim(
        _ entry: KnownDriver, _ tile: LiveTile, _ unit: FeedUnit, _ revision: UInt64, _ changed: inout [FeedUnit],
        _ budget: TurnBudget
    ) -> Bool {
        let before = entry.tiles[tile.level]
        guard before != tile.key else { return true }
        if before != 0, let other = units[.tile(LiveTile(key: before))],
            let place = other.known.firstIndex(where: { $0 === entry })
        {
            // Its lists are looked through and copied.
            budget.spend(other.known.count >> 5)
            guard other.revision <= revision else { return false }
            var drivers = other.state.snapshot?.drivers ?? []
            drivers.remove(at: place)
            other.known.remove(at: place)
            other.state.snapshot = UnitSnapshot(drivers)
            entry.uses -= 1
            if !changed.contains(where: { $0 === other }) { changed.append(other) }
        }
        entry.tiles[tile.level] = tile.key
        return true
    }

    private mutating func leave(_ entry: KnownDriver, _ unit: FeedUnit) {
        entry.uses -= 1
        if let tile = unit.tile, entry.tiles[tile.level] == tile.key { entry.tiles[tile.level] = 0 }
        if entry.uses <= 0, known[entry.id] === entry { known[entry.id] = nil }
    }
}
