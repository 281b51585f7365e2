/// Every driver of the service, in memory, with the rules for every change. The time is a parameter.
///
/// Drivers are numbered by slot, in the order of arrival; slots stay, also those of drivers that were removed. Available drivers are in the geo index, the
/// others are not. Each change gives the driver the next revision; what changes nothing gives none.
public struct DriverRegistry: Sendable {
    /// Milliseconds of silence after which a driver that has streamed leaves every list.
    public let timeToLive: Int64
    public internal(set) var revisions: RevisionCounter
    /// The epoch of the trip database that the drivers were compared with last; 0: none yet.
    public internal(set) var tripEpoch: UInt64

    /// By slot.
    public internal(set) var drivers: [Driver] = []
    var slots: [String: Int32] = [:]
    /// Counts the trip events that were taken over.
    public internal(set) var tripStamp: UInt64 = 0
    /// By slot: the stamp of the last one; 0: there was none since the start.
    var tripStamps: [UInt64] = []
    /// By slot: which positions are believed.
    var tracks: [LocationTrack] = []
    /// By slot: monotonic nanoseconds of the last sign of life, `never` for those that do not expire.
    var heard: [UInt64] = []
    static let never = UInt64.max
    /// Available drivers by position.
    var index = GeoIndex()
    /// Slots in the order of ids.
    var order: [Int32] = []
    /// By slot: its place in `order`; made again when `order` has changed.
    var ranks: [Int32] = []
    /// Slots whose positions are refused: their drivers are suspended, or were removed.
    var barred: Set<Int32> = []
    /// How many removals of a slot's driver are under way.
    var removals: [Int32: Int] = [:]
    /// Counts the changes of profiles: whoever keeps something made of one looks here.
    public private(set) var profileStamp: UInt64 = 0

    public init(timeToLive: Int64 = 60_000, revisions: RevisionCounter, tripEpoch: UInt64 = 0) {
        self.timeToLive = timeToLive
        self.revisions = revisions
        self.tripEpoch = tripEpoch
    }

    // MARK: Looking up

    /// Drivers that there are.
    public var count: Int { order.count }
    /// Slots that there are: of drivers, and of those that were removed.
    public var slotCount: Int { drivers.count }
    public var availableCount: Int { index.count }
    /// The number of the last change of any driver.
    public var revision: UInt64 { revisions.current }

    /// The reservation of revisions that is to be written to disk now; nil: the last one suffices.
    public mutating func revisionReservation() -> UInt64? { revisions.reservation() }

    public func slot(of id: String) -> Int32? { slots[id] }
    public subscript(slot: Int32) -> Driver { drivers[Int(slot)] }

    // MARK: Arriving

    /// Takes over stored drivers. The time-to-live of those that had streamed counts anew from `now`, and so does what is
    /// known of their phones: how long nobody looked only the wall clock could say, and it may have been set.
    public mutating func restore(_ stored: [Driver], at now: Moment) {
        drivers.reserveCapacity(drivers.count + stored.count)
        for driver in stored where slots[driver.id] == nil { append(driver, now, isNew: false) }
        order = drivers.indices.map(Int32.init).sorted { drivers[Int($0)].id < drivers[Int($1)].id }
        ranks = []
    }

    /// Adds a driver, present and available, at a valid position. An id that is known already changes nothing.
    public mutating func register(
        _ profile: DriverProfile, position: Position, at now: Moment
    ) -> (slot: Int32, created: Bool) {
        if let slot = slots[profile.id] { return (slot, false) }
        let slot = append(
            Driver(
                profile: profile, position: position, measuredAt: now.wall, updatedAt: now.wall,
                revision: revisions.next()), now, isNew: true)
        order.insert(slot, at: firstRank { $0 > profile.id })
        ranks = []
        return (slot, true)
    }

    @discardableResult
    private mutating func append(_ driver: Driver, _ now: Moment, isNew: Bool) -> Int32 {
        let slot = Int32(drivers.count)
        drivers.append(driver)
        slots[driver.id] = slot
        tracks.append(isNew ? LocationTrack(position: driver.position, at: now) : LocationTrack())
        tripStamps.append(0)
        heard.append(driver.hasStreamed && driver.presence == .present ? now.monotonic : Self.never)
        if driver.status == .available { index.set(slot, at: driver.position) }
        if driver.suspension != nil { barred.insert(slot) }
        return slot
    }

    // MARK: Presence

    /// Why a driver's status can't be set by hand.
    public enum Refusal: Error, Equatable, Sendable {
        /// The driver is on a trip: problem `driver-on-trip`.
        case onTrip(tripID: String)
        /// An operator has suspended the driver: problem `driver-suspended`.
        case suspended(Suspension)
    }

    /// Sets a driver available or offline by hand. Returns whether that changed anything.
    public mutating func setPresent(_ slot: Int32, _ isPresent: Bool, at now: Moment) throws(Refusal) -> Bool {
        let driver = drivers[Int(slot)]
        if let trip = driver.activeTripID { throw .onTrip(tripID: trip) }
        if isPresent, let suspension = driver.suspension { throw .suspended(suspension) }
        let presence: Presence = isPresent ? .present : .offline
        heard[Int(slot)] = isPresent && driver.hasStreamed ? now.monotonic : Self.never
        guard driver.presence != presence else { return false }
        change(slot, now) { $0.presence = presence }
        return true
    }

    /// Makes those silent that have streamed and were not heard for the time-to-live; returns them. O(drivers), for a
    /// tick of about a second.
    public mutating func expire(at now: Moment) -> [Int32] {
        let patience = UInt64(clamping: timeToLive) &* 1_000_000
        guard now.monotonic >= patience else { return [] }
        let oldest = now.monotonic - patience
        var expired: [Int32] = []
        for slot in heard.indices where heard[slot] <= oldest { expired.append(Int32(slot)) }
        for slot in expired {
            heard[Int(slot)] = Self.never
            change(slot, now) { $0.presence = .silent }
        }
        return expired
    }

    // MARK: Positions

    /// Takes a position of a driver, or says why it is dropped. A driver that had fallen silent is present again; one
    /// that is offline by hand moves and stays offline.
    ///
    /// A position that comes too late, or from too far, is dropped and still a sign of life: the phone that sends it is not
    /// silent. (Its clock may just have been set.)
    public mutating func report(_ slot: Int32, _ point: LocationPoint, at now: Moment) -> LocationDrop? {
        switch tracks[Int(slot)].judge(point, at: now) {
        case .dropped(.invalid): return .invalid
        case .dropped(let drop):
            if heard[Int(slot)] != Self.never { heard[Int(slot)] = now.monotonic }
            return drop
        case .accepted(let age):
            change(slot, now) { driver in
                driver.position = point.position
                driver.heading = point.heading
                driver.speed = point.speed
                driver.measuredAt = now.wall &- age
                driver.hasStreamed = true
                if driver.presence == .silent { driver.presence = .present }
            }
            heard[Int(slot)] = drivers[Int(slot)].presence == .present ? now.monotonic : Self.never
            return nil
        }
    }

    // MARK: What operators do

    /// Whether positions of a slot are refused: its driver is suspended, or was removed.
    public func isBarred(_ slot: Int32) -> Bool { !barred.isEmpty && barred.contains(slot) }

    /// Whether a slot's driver was removed.
    public func isRemoved(_ slot: Int32) -> Bool { isBarred(slot) && slots[drivers[Int(slot)].id] != slot }

    /// Changes who a driver is. Returns whether that changed anything.
    public mutating func update(_ slot: Int32, _ wanted: ProfileChange, at now: Moment) -> Bool {
        let profile = wanted.applied(to: drivers[Int(slot)].profile)
        guard profile != drivers[Int(slot)].profile else { return false }
        profileStamp += 1
        change(slot, now) { $0.profile = profile }
        return true
    }

    /// Suspends a driver, or restores them (nil); either way they are off duty until they come back by hand. A trip goes on.
    /// Returns whether that changed anything.
    public mutating func suspend(_ slot: Int32, _ suspension: Suspension?, at now: Moment) -> Bool {
        guard drivers[Int(slot)].suspension != suspension else { return false }
        heard[Int(slot)] = Self.never
        if suspension == nil { barred.remove(slot) } else { barred.insert(slot) }
        change(slot, now) { driver in
            driver.suspension = suspension
            driver.presence = .offline
        }
        return true
    }

    /// Keeps a driver off duty until as many calls of `endRemoval` have come. Returns whether that changed anything.
    public mutating func beginRemoval(_ slot: Int32, at now: Moment) -> Bool {
        let count = removals[slot, default: 0]
        removals[slot] = count + 1
        return count == 0 && setLeaving(slot, true, now)
    }

    /// Lets a driver be on duty again, unless they were removed, or another removal is under way. Returns whether that changed
    /// anything.
    public mutating func endRemoval(_ slot: Int32, at now: Moment) -> Bool {
        guard let count = removals[slot] else { return false }
        removals[slot] = count > 1 ? count - 1 : nil
        return count == 1 && setLeaving(slot, false, now)
    }

    /// Who is off duty anyway does not change by it.
    private mutating func setLeaving(_ slot: Int32, _ isLeaving: Bool, _ now: Moment) -> Bool {
        if isRemoved(slot) { return false }
        let driver = drivers[Int(slot)]
        guard driver.presence == .present && driver.suspension == nil else {
            drivers[Int(slot)].isLeaving = isLeaving
            return false
        }
        change(slot, now) { $0.isLeaving = isLeaving }
        return true
    }

    /// Takes a driver away. Their slot keeps the last that is known of them, for those who still have to tell; the id is free.
    public mutating func remove(_ slot: Int32, at now: Moment) {
        heard[Int(slot)] = Self.never
        change(slot, now) { driver in
            driver.presence = .offline
            driver.activeTripID = nil
        }
        barred.insert(slot)
        let id = drivers[Int(slot)].id
        slots[id] = nil
        // Ids are in order, and each is there once.
        order.remove(at: firstRank { $0 >= id })
        ranks = []
    }

    // MARK: -

    /// Changes a driver: new revision, new instant, and the index follows.
    mutating func change(_ slot: Int32, _ now: Moment, _ body: (inout Driver) -> Void) {
        let revision = revisions.next()
        body(&drivers[Int(slot)])
        drivers[Int(slot)].updatedAt = now.wall
        drivers[Int(slot)].revision = revision
        if drivers[Int(slot)].status == .available {
            index.set(slot, at: drivers[Int(slot)].position)
        } else {
            index.remove(slot)
        }
    }
}
