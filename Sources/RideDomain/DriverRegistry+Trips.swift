/// What is known about a driver from a trip: an event, or a row of the trip service's list.
public struct TripFact: Hashable, Sendable {
    public let driverID: String
    public let tripID: String
    /// The number of the trip's change; it grows.
    public let seq: UInt64
    /// Whether the trip is in progress.
    public let isActive: Bool
    /// The epoch of the trip database that gave the number out; 0: it was not said.
    public let epoch: UInt64

    public init(driverID: String, tripID: String, seq: UInt64, isActive: Bool, epoch: UInt64 = 0) {
        self.driverID = driverID
        self.tripID = tripID
        self.seq = seq
        self.isActive = isActive
        self.epoch = epoch
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
    /// Takes over a trip event, guarded by its epoch and its `seq`: an older or repeated one changes nothing.
    ///
    /// A newer epoch beats every number of an older one. What comes from an epoch before the one that was compared with is
    /// old: the comparison knew all that remained of it.
    public mutating func apply(_ fact: TripFact, at now: Moment) -> TripFactOutcome {
        guard let slot = slots[fact.driverID] else { return .unknownDriver }
        let driver = drivers[Int(slot)]
        // An event without an epoch belongs to the one that is known.
        let epoch = fact.epoch == 0 ? driver.tripEpoch : fact.epoch
        guard epoch >= (fact.epoch == 0 ? 0 : tripEpoch), (epoch, fact.seq) > (driver.tripEpoch, driver.tripSeq)
        else { return .old }
        let active = fact.isActive ? fact.tripID : nil
        drivers[Int(slot)].tripSeq = fact.seq
        drivers[Int(slot)].tripEpoch = epoch
        tripStamp += 1
        tripStamps[Int(slot)] = tripStamp
        guard driver.activeTripID != active else { return .noted(slot) }
        change(slot, now) { $0.activeTripID = active }
        return .changed(slot)
    }

    /// Compares with the trip service's list of trips in progress and corrects what differs; returns who changed.
    ///
    /// `asOf` is the number of the last change that the list knows of (of its first page, when there are several), `epoch`
    /// that of its database (0: it does not say); `since` is `tripStamp` when the list was asked for. A list of another epoch
    /// than the last one, or that knows less than was known before, comes from a database that was opened anew and may be
    /// another one (lost, or restored from a backup); or what was known came from nowhere (a record that somebody else wrote).
    /// It is taken over as it is, older numbers included, for otherwise its events would be held for old ones, or what was lost
    /// with the old one for true, for ever.
    public mutating func reconcile(
        inProgress trips: [TripFact], asOf: UInt64, epoch: UInt64 = 0, since: UInt64, at now: Moment
    ) -> [Int32] {
        var comparison = compare(inProgress: trips, asOf: asOf, epoch: epoch, since: since)
        return reconcile(&comparison, limit: .max, at: now)
    }

    /// The same in parts: the list is to be compared with by `reconcile(_:limit:at:)` until it is finished.
    public mutating func compare(
        inProgress trips: [TripFact], asOf: UInt64, epoch: UInt64, since: UInt64
    ) -> TripComparison {
        defer { tripEpoch = epoch }
        var comparison = TripComparison(
            inProgress: trips, asOf: asOf, epoch: epoch, since: since, isTruth: epoch != tripEpoch)
        if !comparison.isTruth {
            comparison.isTruth = drivers.indices.contains {
                tripStamps[$0] <= since && comparison.isBehind(drivers[$0]) && !isRemoved(Int32(truncatingIfNeeded: $0))
            }
        }
        return comparison
    }

    /// Compares the next `limit` drivers; returns who changed. What happens to drivers between two parts is newer than the
    /// list, or already in it: their `tripEpoch` and `tripSeq` say which.
    public mutating func reconcile(_ comparison: inout TripComparison, limit: Int, at now: Moment) -> [Int32] {
        let (isTruth, epoch, asOf) = (comparison.isTruth, comparison.epoch, comparison.asOf)
        let begin = min(comparison.next, drivers.count)
        comparison.next = begin + min(limit, drivers.count - begin)
        var changed: [Int32] = []
        for slot in (begin..<comparison.next).map(Int32.init) {
            if isRemoved(slot) { continue }
            let driver = drivers[Int(slot)]
            let known = (driver.tripEpoch, driver.tripSeq)
            // An event that came while the list was under way, and that it does not know of.
            if isTruth && epoch != 0 && tripStamps[Int(slot)] > comparison.since && comparison.isBehind(driver) {
                continue
            }
            if let trip = comparison.active[driver.id] {
                guard isTruth || (epoch, trip.seq) > known else { continue }
                drivers[Int(slot)].tripSeq = trip.seq
                drivers[Int(slot)].tripEpoch = epoch
                guard driver.activeTripID != trip.tripID else { continue }
                change(slot, now) { $0.activeTripID = trip.tripID }
                changed.append(slot)
            } else if isTruth || driver.activeTripID != nil && known <= (epoch, asOf) {
                drivers[Int(slot)].tripSeq = isTruth && epoch == 0 ? min(asOf, driver.tripSeq) : asOf
                drivers[Int(slot)].tripEpoch = epoch
                guard driver.activeTripID != nil else { continue }
                change(slot, now) { $0.activeTripID = nil }
                changed.append(slot)
            }
        }
        return changed
    }
}

/// The trip service's list of trips in progress, while drivers are compared with it.
public struct TripComparison: Sendable {
    /// The trip of each driver that has one.
    fileprivate let active: [String: TripFact]
    fileprivate let asOf: UInt64
    fileprivate let epoch: UInt64
    /// Trip events that were taken over before the list was asked for.
    fileprivate let since: UInt64
    /// Taken over as it is, older numbers included.
    fileprivate var isTruth: Bool
    /// The first driver that was not compared yet.
    fileprivate var next = 0

    fileprivate init(inProgress trips: [TripFact], asOf: UInt64, epoch: UInt64, since: UInt64, isTruth: Bool) {
        var active: [String: TripFact] = [:]
        for trip in trips {
            if let other = active[trip.driverID], other.seq > trip.seq { continue }
            active[trip.driverID] = trip
        }
        self.active = active
        self.asOf = asOf
        self.epoch = epoch
        self.since = since
        self.isTruth = isTruth
    }

    /// Whether more is known of a driver's trips than the list can know.
    fileprivate func isBehind(_ driver: Driver) -> Bool {
        epoch == 0 ? driver.tripSeq > asOf : (driver.tripEpoch, driver.tripSeq) > (epoch, asOf)
    }

    /// Every driver was compared.
    public func isFinished(in registry: borrowing DriverRegistry) -> Bool { next >= registry.slotCount }
}
