import Basics
import Reactor
import RideAPI
import RideDomain
import SQLiteStore
import Telemetry

/// The rules of the driver service over its registry: what is durable before it is answered, what is written later, who
/// hears of a change. On the loop.
///
/// Profiles and statuses set by hand are durable before the answer; positions are written every few seconds (a crash
/// forgets that much of them, and the next position makes up for it).
final class DriverBook {
    typealias Answer<Value> = (Result<Value, DriverError>) -> Void

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
    private var savesInFlight = 0
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
        isDirty = [Bool](repeating: false, count: registry.count)
        loop.schedule(every: DriverLimits.tick) { [weak self] in self?.tick() }
        loop.schedule(every: DriverLimits.savePositionsEvery) { [weak self] in self?.saveStates() }
    }

    private var now: Moment { Moment(wall: loop.wallClockMilliseconds, monotonic: loop.now) }

    func driver(_ slot: Int32) -> Driver? { slot < registry.count ? registry[slot] : nil }

    // MARK: Drivers

    /// Adds a driver; the same one again is answered as they are now, wherever they were said to be. `deadline` in the loop's
    /// nanoseconds.
    func register(
        _ profile: DriverProfile, position: Position, deadline: UInt64, trace: TraceContext = .none,
        _ answer: @escaping Answer<(Driver, created: Bool)>
    ) {
        let answerKnown = { (driver: Driver) in
            let isSame = driver.profile == profile
            answer(isSame ? .success((driver, false)) : .failure(.driverExists(profile.id)))
        }
        if let slot = registry.slot(of: profile.id) { return answerKnown(registry[slot]) }
        let wall = now.wall
        let row = Driver(profile: profile, position: position, measuredAt: wall, updatedAt: wall, revision: 0)
        repository.insert(row, deadline: deadline) { [weak self] result in
            guard let self else { return }
            if let error = stored(result) { return answer(.failure(error)) }
            let (slot, created) = registry.register(profile, position: position, at: now)
            // Somebody else's write of the same id came before.
            guard created else { return answerKnown(registry[slot]) }
            isDirty.append(false)
            changed(slot, .registered, trace)
            answer(.success((registry[slot], true)))
        }
    }

    func makeID() -> String { identifiers.next(milliseconds: now.wall, using: &random).text }

    func find(_ id: String) throws(DriverError) -> (slot: Int32, driver: Driver) {
        guard let slot = registry.slot(of: id) else { throw .driverNotFound(id) }
        return (slot, registry[slot])
    }

    /// Sets a driver available or offline by hand. `deadline` in the loop's nanoseconds.
    func setPresent(
        _ id: String, _ isPresent: Bool, deadline: UInt64, trace: TraceContext = .none,
        _ answer: @escaping Answer<Driver>
    ) {
        guard let slot = registry.slot(of: id) else { return answer(.failure(.driverNotFound(id))) }
        do throws(DriverRegistry.Refusal) {
            if try registry.setPresent(slot, isPresent, at: now) { changed(slot, .status, trace) }
        } catch {
            switch error {
            case .onTrip(let tripID): return answer(.failure(.driverOnTrip(driverID: id, tripID: tripID)))
            }
        }
        // Written also when nothing changed: the write of an earlier try may have failed.
        repository.saveStates([registry[slot]], deadline: deadline) { [weak self] result in
            guard let self else { return }
            if let error = stored(result) { return answer(.failure(error)) }
            answer(.success(registry[slot]))
        }
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

    /// Takes a position, or says why it is dropped.
    func report(_ slot: Int32, _ point: LocationPoint) -> LocationDrop? {
        let drop = registry.report(slot, point, at: now)
        metrics.position(drop)
        if drop == nil { changed(slot, .location) }
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

    /// Compares with the trips in progress that the trip service has, and stores what was corrected: some drivers in each
    /// turn. `completion` comes when all are compared.
    func reconcile(
        inProgress trips: [TripFact], asOf: UInt64, epoch: UInt64, since: UInt64,
        _ completion: @escaping () -> Void = {}
    ) {
        let before = registry.tripEpoch
        let comparison = registry.compare(inProgress: trips, asOf: asOf, epoch: epoch, since: since)
        compare(comparison, [], isAnotherEpoch: epoch != before, completion)
    }

    private func compare(
        _ comparison: TripComparison, _ known: [Int32], isAnotherEpoch: Bool, _ completion: @escaping () -> Void
    ) {
        var comparison = comparison
        let corrected = registry.reconcile(&comparison, limit: DriverLimits.driversPerComparison, at: now)
        for slot in corrected { tell(slot, .status) }
        let all = known + corrected
        guard comparison.isFinished(in: registry) else {
            loop.schedule(after: 0) { [weak self] in
                self?.compare(comparison, all, isAnotherEpoch: isAnotherEpoch, completion)
            }
            return
        }
        if !all.isEmpty {
            metrics.corrected.increment(by: UInt64(all.count))
            logger.notice("drivers corrected from the trip service's list", metadata: ["drivers": "\(all.count)"])
        }
        // In one transaction, and not before the end: who finds the epoch in the file need not compare with it again.
        if !all.isEmpty || isAnotherEpoch {
            saveTrips(all.map(projection), epoch: isAnotherEpoch ? registry.tripEpoch : nil)
        }
        completion()
    }

    private func saveTrips(_ projections: [TripProjection], epoch: UInt64?) {
        repository.saveTrips(projections, cursor: nil, epoch: epoch) { [weak self] result in
            guard let self, stored(result) != nil else { return }
            loop.schedule(after: DriverLimits.storeRetry) { [weak self] in
                guard let self else { return }
                // As it is by then.
                saveTrips(
                    projections.compactMap { self.registry.slot(of: $0.driverID).map(self.projection) },
                    epoch: epoch.map { _ in self.registry.tripEpoch })
            }
        }
    }

    /// What is known about a driver from trips, as it is now.
    func projection(_ slot: Int32) -> TripProjection {
        let driver = registry[slot]
        return TripProjection(
            driverID: driver.id, activeTripID: driver.activeTripID, tripSeq: driver.tripSeq,
            tripEpoch: driver.tripEpoch, updatedAt: driver.updatedAt, revision: driver.revision)
    }

    // MARK: After a change

    private func changed(_ slot: Int32, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext = .none) {
        if !isDirty[Int(slot)] {
            isDirty[Int(slot)] = true
            dirty.append(slot)
        }
        tell(slot, reason, trace)
    }

    private func tell(_ slot: Int32, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext = .none) {
        let driver = registry[slot]
        announcer.announce(slot, driver, reason, trace)
        if watchers.count > 0 { watchers.tell(slot, driver) }
    }

    private func tick() {
        for slot in registry.expire(at: now) {
            metrics.expired.increment()
            changed(slot, .expired)
        }
        reserveRevisions()
        metrics.drivers.set(registry.count)
        metrics.available.set(registry.availableCount)
        metrics.watchers.set(watchers.count)
    }

    private func reserveRevisions() {
        guard let reservation = registry.revisionReservation() else { return }
        reserve(reservation)
    }

    private func reserve(_ revision: UInt64) {
        repository.reserveRevision(revision) { [weak self] result in
            guard let self, stored(result) != nil else { return }
            loop.schedule(after: DriverLimits.storeRetry) { [weak self] in self?.reserve(revision) }
        }
    }

    // MARK: Storing positions

    /// Writes the states that changed since the last time. `completion` comes when all are durable, or some failed.
    func saveStates(_ completion: @escaping () -> Void = {}) {
        var left = 1
        let finish = {
            left -= 1
            if left == 0 { completion() }
        }
        while !dirty.isEmpty, savesInFlight < DriverLimits.savesInFlight {
            let slots = Array(dirty.suffix(DriverLimits.driversPerSave))
            dirty.removeLast(slots.count)
            for slot in slots { isDirty[Int(slot)] = false }
            savesInFlight += 1
            left += 1
            repository.saveStates(slots.map { registry[$0] }, deadline: nil) { [weak self] result in
                guard let self else { return finish() }
                savesInFlight -= 1
                if stored(result) != nil {
                    for slot in slots where !isDirty[Int(slot)] {
                        isDirty[Int(slot)] = true
                        dirty.append(slot)
                    }
                } else if !dirty.isEmpty {
                    return saveStates(finish)
                }
                finish()
            }
        }
        finish()
    }

    /// What a write's failure means for the caller; nil: it is durable.
    private func stored(_ result: Result<Void, any Error>) -> DriverError? {
        guard case .failure(let error) = result else { return nil }
        let failure = StorageError(error)
        if failure == .deadlineExceeded { return .deadlineExceeded("The database did not answer in time.") }
        onStorageFailure(failure)
        return .unavailable("The driver service can't store anything now; try again in a moment.")
    }
}
