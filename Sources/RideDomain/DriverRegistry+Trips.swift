/// What is known about a driver from a trip: an event, or a row of the trip service's list.
public struct TripFact: Hashable, Sendable {
    public let driverID: String
    public let tripID: String
    /// The number of the trip's change; it grows.
    public let seq: UInt64
    /// Whether the trip is in progress.
    public let isActive: Bool

    public init(driverID: String, tripID: String, seq: UInt64, isActive: Bool) {
        self.driverID = driverID
        self.tripID = tripID
        self.seq = seq
        self.isActive = isActive
    }
}

/// What became of a trip event.
public enum TripFactOutcome: Hashable, Sendable {
    /// The driver's active trip is another one now (or none).
    case changed(Int32)
    /// It was taken over (its `seq` is remembered) and nothing that is seen changed.
    case noted(Int32)
    /// It is not newer than what is known.
    case old
    case unknownDriver
}

extension DriverRegistry {
    /// Takes over a trip event, guarded by its `seq`: an older or repeated one changes nothing.
    public mutating func apply(_ fact: TripFact, at now: Moment) -> TripFactOutcome {
        guard let slot = slots[fact.driverID] else { return .unknownDriver }
        let driver = drivers[Int(slot)]
        guard fact.seq > driver.tripSeq else { return .old }
        let active = fact.isActive ? fact.tripID : nil
        drivers[Int(slot)].tripSeq = fact.seq
        guard driver.activeTripID != active else { return .noted(slot) }
        change(slot, now) { $0.activeTripID = active }
        return .changed(slot)
    }

    /// The number of the newest trip event that was taken over.
    public var newestTripSeq: UInt64 { drivers.reduce(0) { max($0, $1.tripSeq) } }

    /// Compares with the trip service's list of trips in progress and corrects what differs; returns who changed.
    ///
    /// `asOf` is the number of the last change that the list knows of (of its first page, when there are several);
    /// `newestBefore` is `newestTripSeq` when the list was asked for. A list that knows less than was known before
    /// comes from another trip database (lost, or restored from a backup): it is taken over as it is, older numbers
    /// included, for otherwise its events would be held for old ones for ever.
    public mutating func reconcile(
        inProgress trips: [TripFact], asOf: UInt64, newestBefore: UInt64, at now: Moment
    ) -> [Int32] {
        let isAnotherDatabase = asOf < newestBefore
        var active: [Int32: TripFact] = [:]
        for trip in trips {
            guard let slot = slots[trip.driverID] else { continue }
            if let other = active[slot], other.seq > trip.seq { continue }
            active[slot] = trip
        }
        var changed: [Int32] = []
        for slot in drivers.indices.map(Int32.init) {
            let driver = drivers[Int(slot)]
            if let trip = active[slot] {
                guard trip.seq > driver.tripSeq || isAnotherDatabase else { continue }
                drivers[Int(slot)].tripSeq = trip.seq
                guard driver.activeTripID != trip.tripID else { continue }
                change(slot, now) { $0.activeTripID = trip.tripID }
                changed.append(slot)
            } else if isAnotherDatabase || driver.activeTripID != nil && driver.tripSeq <= asOf {
                drivers[Int(slot)].tripSeq = isAnotherDatabase ? min(asOf, driver.tripSeq) : asOf
                guard driver.activeTripID != nil else { continue }
                change(slot, now) { $0.activeTripID = nil }
                changed.append(slot)
            }
        }
        return changed
    }
}
