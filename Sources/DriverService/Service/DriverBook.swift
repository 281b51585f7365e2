import Basics
import Reactor
import RideAPI
import RideDomain
import Storage
import Telemetry

/// The rules of the driver service over its registry: what is durable before it is answered, what is written later, who
/// hears of a change. On the loop; what waits for the storage is for tasks of the loop.
///
/// Profiles and statuses set by hand are durable before the answer; positions are written every few seconds (a crash
/// forgets that much of them, and the next position makes up for it).
final class DriverBook {
    let loop: EventLoop
    let metrics = DriverMetrics()
    let watchers: DriverWatchers
    let locationStreams: LocationStreams
    private(set) var registry: DriverRegistry
    private let repository: any DriverRepository
    private let announcer: any DriverAnnouncer
    private let logger = Logger(label: "drivers")
    private var random = SystemRandomNumberGenerator()
    private var identifiers = UUIDv7Generator()

    /// By slot: the state on disk is older.
    private var isDirty: [Bool] = []
    private var dirty: [Int32] = []
    private var isSaving = false
    /// Of the streams that brought the last positions, those that have one: silence is theirs.
    private var traces: [Int32: TraceContext] = [:]
    /// Called when the storage failed.
    var onStorageFailure: (StorageError) -> Void = { _ in }

    init(
        loop: EventLoop, repository: any DriverRepository, announcer: any DriverAnnouncer, stored: StoredDrivers,
        timeToLive: Int64
    ) {
        self.loop = loop
        self.repository = repository
        self.announcer = announcer
        watchers = DriverWatchers(loop: loop)
        locationStreams = LocationStreams(loop: loop)
        let wall = loop.wallClockMilliseconds
        registry = DriverRegistry(
            timeToLive: timeToLive, revisions: stored.revisions, tripEpoch: stored.tripEpoch)
        registry.restore(stored.drivers, at: Moment(wall: wall, monotonic: loop.preciseNow()))
        isDirty = [Bool](repeating: false, count: registry.slotCount)
        loop.schedule(every: DriverLimits.tick) { [weak self] in self?.tick() }
        loop.schedule(every: DriverLimits.savePositionsEvery) { [weak self, loop] in
            // Not while the last one still waits for the database.
            if self?.isSaving == false { loop.start { await self?.saveStates() } }
        }
    }

    private var now: Moment { Moment(wall: loop.wallClockMilliseconds, monotonic: loop.now) }

    func driver(_ slot: Int32) -> Driver? { slot < registry.slotCount ? registry[slot] : nil }

    // MARK: Drivers

    /// Adds a driver; the same one again is answered as they are now, wherever they were said to be. `deadline` in the loop's
    /// nanoseconds.
    func register(
        _ profile: DriverProfile, position: Position, deadline: UInt64, trace: TraceContext = .none
    ) async throws(DriverError) -> (driver: Driver, created: Bool) {
        var isNew = false
        if registry.slot(of: profile.id) == nil {
            let wall = now.wall
            let row = Driver(profile: profile, position: position, measuredAt: wall, updatedAt: wall, revision: 0)
            do {
                try await repository.insert(row, deadline: deadline)
            } catch {
                throw refusal(error, by: deadline)
            }
            // False if somebody else's write of the same id came before.
            isNew = registry.register(profile, position: position, at: now).created
        }
        let (slot, driver) = try find(profile.id)
        guard driver.profile == profile else { throw .driverExists(profile.id) }
        if isNew {
            isDirty.append(false)
            changed(slot, .registered, trace)
        }
        return (driver, isNew)
    }

    func makeID() -> String { identifiers.next(milliseconds: now.wall, using: &random).text }

    func find(_ id: String) throws(DriverError) -> (slot: Int32, driver: Driver) {
        guard let slot = registry.slot(of: id) else { throw .driverNotFound(id) }
        return (slot, registry[slot])
    }

    /// Sets a driver available or offline by hand. `deadline` in the loop's nanoseconds.
    func setPresent(
        _ id: String, _ isPresent: Bool, deadline: UInt64, trace: TraceContext = .none
    ) async throws(DriverError) -> Driver {
        let slot = try find(id).slot
        do throws(DriverRegistry.Refusal) {
            if try registry.setPresent(slot, isPresent, at: now) { changed(slot, .status, trace) }
        } catch {
            switch error {
            case .onTrip(let tripID): throw .driverOnTrip(driverID: id, tripID: tripID)
            case .suspended(let suspension): throw .driverSuspended(driverID: id, reason: suspension.reason)
            }
        }
        do {
            // Written also when nothing changed: the write of an earlier try may have failed.
            try await repository.saveStates([registry[slot]], deadline: deadline)
        } catch {
            throw refusal(error, by: deadline)
        }
        return registry[slot]
    }

    // MARK: What operators do

    /// Changes who a driver is. `deadline` in the loop's nanoseconds.
    func update(
        _ id: String, _ change: ProfileChange, deadline: UInt64, trace: TraceContext = .none
    ) async throws(DriverError) -> Driver {
        _ = try find(id)
        // Durable first, then seen: writes are done in the order of the calls, so that two at once come to the same here and there.
        let isKnown: Bool
        do {
            isKnown = try await repository.update(id, change, deadline: deadline)
        } catch {
            throw refusal(error, by: deadline)
        }
        guard isKnown, let slot = registry.slot(of: id) else { throw .driverNotFound(id) }
        if registry.update(slot, change, at: now) { changed(slot, .profile, trace) }
        return registry[slot]
    }

    /// Takes a driver off duty, for `reason`, or lets them come back (nil). `deadline` in the loop's nanoseconds.
    func suspend(
        _ id: String, reason: String?, deadline: UInt64, trace: TraceContext = .none
    ) async throws(DriverError) -> Driver {
        let known = try find(id).driver
        // The same again stays as it was.
        if known.suspension?.reason == reason { return known }
        let suspension = reason.map { Suspension(reason: $0, at: now.wall) }
        let isKnown: Bool
        do {
            isKnown = try await repository.suspend(id, suspension, deadline: deadline)
        } catch {
            throw refusal(error, by: deadline)
        }
        guard isKnown, let slot = registry.slot(of: id) else { throw .driverNotFound(id) }
        if registry.suspend(slot, suspension, at: now) { changed(slot, .status, trace) }
        if let refusal = refusal(of: slot) { endStreams(slot, refusal) }
        return registry[slot]
    }

    /// Keeps a driver off duty from now on, because they may be about to be removed; `endRemoval` follows in any case.
    func beginRemoval(_ slot: Int32, trace: TraceContext = .none) {
        if registry.beginRemoval(slot, at: now) { changed(slot, .status, trace) }
    }

    /// Lets a driver who was not removed be on duty again.
    func endRemoval(_ slot: Int32, trace: TraceContext = .none) {
        if registry.endRemoval(slot, at: now) { changed(slot, .status, trace) }
    }

    /// Takes a driver away for good. Returns what they were signed in with, to be told to everybody. `deadline` in the loop's
    /// nanoseconds.
    func delete(
        _ id: String, reason: String, deadline: UInt64, trace: TraceContext = .none
    ) async throws(DriverError) -> RevocationOutcome {
        let outcome: DeletionOutcome
        do {
            outcome = try await repository.delete(id, reason: reason, at: now.wall, deadline: deadline)
        } catch {
            throw refusal(error, by: deadline)
        }
        guard case .deleted(let ended) = outcome else {
            if outcome == .full { throw .tooManyRevocations }
            throw .driverNotFound(id)
        }
        if let slot = registry.slot(of: id) {
            registry.remove(slot, at: now)
            tell(slot, .removed, trace)
            endStreams(slot, .driverNotFound(id))
        }
        return ended
    }

    /// Why nothing is heard of a slot's driver; nil: they may stream, and be watched.
    func refusal(of slot: Int32) -> DriverError? {
        guard registry.isBarred(slot) else { return nil }
        let driver = registry[slot]
        guard let suspension = driver.suspension, !registry.isRemoved(slot) else { return .driverNotFound(driver.id) }
        return .driverSuspended(driverID: driver.id, reason: suspension.reason)
    }

    private func endStreams(_ slot: Int32, _ error: DriverError) {
        watchers.end(slot, error)
        locationStreams.end(slot, error.rpcError)
    }

    // MARK: Lists

    func findAvailable(
        in area: Area, limit: Int, category: String?
    ) -> (found: [FoundDriver], truncated: Bool) {
        registry.findAvailable(in: area, limit: limit, category: category)
    }

    /// Lets `work` ask the registry more than one question, such as the areas of one answer.
    func ask<Result>(_ work: (inout DriverRegistry) throws(DriverError) -> Result) throws(DriverError) -> Result {
        try work(&registry)
    }

    // MARK: Positions

    /// Takes a position, or says why it is dropped. `trace` is of the stream that brought it.
    func report(_ slot: Int32, _ point: LocationPoint, _ trace: TraceContext = .none) -> LocationDrop? {
        let drop = registry.report(slot, point, at: now)
        metrics.position(drop)
        if drop == nil {
            if !trace.isNone || !traces.isEmpty { traces[slot] = trace.isNone ? nil : trace }
            changed(slot, .location, trace)
        }
        return drop
    }

    // MARK: Trips

    /// Takes over a trip event. Returns the driver whose `projection` is to be stored; nil: nothing is.
    func apply(_ fact: TripFact, trace: TraceContext = .none) -> Int32? {
        switch registry.apply(fact, at: now) {
        case .changed(let slot):
            metrics.tripEvents.increment()
            tell(slot, .status, trace)
            return slot
        case .noted(let slot):
            metrics.tripEvents.increment()
            return slot
        case .old:
            metrics.staleTripEvents.increment()
            return nil
        case .unknownDriver:
            return nil
        }
    }

    /// Compares with the trips in progress that the trip service has, some drivers in each turn, and lets what was corrected be
    /// stored.
    func reconcile(inProgress trips: [TripFact], asOf: UInt64, epoch: UInt64, since: UInt64) async {
        let isAnotherEpoch = epoch != registry.tripEpoch
        var comparison = registry.compare(inProgress: trips, asOf: asOf, epoch: epoch, since: since)
        var corrected: [Int32] = []
        while true {
            let slots = registry.reconcile(&comparison, limit: DriverLimits.driversPerComparison, at: now)
            for slot in slots { tell(slot, .status) }
            corrected += slots
            if comparison.isFinished(in: registry) { break }
            await loop.pause(.zero)
        }
        if !corrected.isEmpty {
            metrics.corrected.increment(by: UInt64(corrected.count))
            logger.notice(
                "drivers corrected from the trip service's list", metadata: ["drivers": "\(corrected.count)"])
        }
        // In one transaction, and not before the end: who finds the epoch in the file need not compare with it again.
        if !corrected.isEmpty || isAnotherEpoch {
            store { [self] () throws(StorageError) in
                try await repository.saveTrips(
                    projections(corrected), cursor: nil, epoch: isAnotherEpoch ? registry.tripEpoch : nil)
            }
        }
    }

    /// What is known about drivers from trips, as it is now; nothing of those who were removed.
    func projections(_ slots: some Sequence<Int32>) -> [TripProjection] {
        slots.compactMap { registry.isRemoved($0) ? nil : projection(registry[$0]) }
    }

    private func projection(_ driver: Driver) -> TripProjection {
        TripProjection(
            driverID: driver.id, activeTripID: driver.activeTripID, tripSeq: driver.tripSeq,
            tripEpoch: driver.tripEpoch, updatedAt: driver.updatedAt, revision: driver.revision)
    }

    // MARK: After a change

    private func changed(_ slot: Int32, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext = .none) {
        markDirty(slot)
        tell(slot, reason, trace)
    }

    private func markDirty(_ slot: Int32) {
        if isDirty[Int(slot)] { return }
        isDirty[Int(slot)] = true
        dirty.append(slot)
    }

    private func tell(_ slot: Int32, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext = .none) {
        let driver = registry[slot]
        announcer.announce(slot, driver, reason, trace)
        if watchers.count > 0 { watchers.tell(slot, driver) }
    }

    private func tick() {
        for slot in registry.expire(at: now) {
            metrics.expired.increment()
            changed(slot, .expired, traces.removeValue(forKey: slot) ?? .none)
        }
        if let revision = registry.revisionReservation() {
            store { [repository] () throws(StorageError) in try await repository.reserveRevision(revision) }
        }
        metrics.drivers.set(registry.count)
        metrics.available.set(registry.availableCount)
        metrics.watchers.set(watchers.count)
    }

    // MARK: Storing

    /// Writes the states that changed since the last time; returns when all are durable, or one write failed.
    func saveStates() async {
        isSaving = true
        defer { isSaving = false }
        // What changes from now on is for the next time.
        var left = dirty.count
        while left > 0 {
            let slots = Array(dirty.prefix(min(left, DriverLimits.driversPerSave)))
            dirty.removeFirst(slots.count)
            left = min(left - slots.count, dirty.count)
            for slot in slots { isDirty[Int(slot)] = false }
            do {
                let drivers = slots.compactMap { registry.isRemoved($0) ? nil : registry[$0] }
                try await repository.saveStates(drivers, deadline: nil)
            } catch {
                onStorageFailure(error)
                for slot in slots { markDirty(slot) }
                return
            }
        }
    }

    /// Does `write` until it succeeds; nobody waits for it. What it writes is as it is by then.
    private func store(_ write: @escaping () async throws(StorageError) -> Void) {
        loop.start { [self] in
            while true {
                do throws(StorageError) {
                    return try await write()
                } catch {
                    onStorageFailure(error)
                    await loop.pause(DriverLimits.storeRetry)
                }
            }
        }
    }

    private func refusal(_ error: StorageError, by deadline: UInt64) -> DriverError {
        DriverError(error, by: deadline, at: loop.now, onStorageFailure)
    }
}
