import Basics
import Reactor
import RideAPI
import RideDomain
import SQLiteStore
import Telemetry

/// The rules of trips: who may be booked, what may follow what, and who hears of it.
///
///     create:  key known? ─▶ driver known and on duty (or the nearest) ─▶ repository.book ─▶ answer
///                                    (driver service)                      (one transaction)
///
/// All calls and callbacks on one loop.
final class TripBook {
    /// Called with each durable change, in order: for the outbox relay.
    var onChange: (OutboxEvent) -> Void = { _ in }

    /// Called when the storage failed.
    var onStorageFailure: (any Error) -> Void = { _ in }

    private let loop: EventLoop
    private let repository: any TripRepository
    private let directory: any DriverDirectory
    private(set) var active: ActiveTrips
    /// The epoch of the database that runs.
    private let epoch: UInt64
    /// Metres to the pickup that a driver may be sent.
    private let maximumPickup: Double
    private let watchers: TripWatchers
    private var keysInProgress: Set<String> = []
    private var random = SystemRandomNumberGenerator()
    private var identifiers = UUIDv7Generator()
    private let keyClock: KeyClock
    private let metrics = TripMetrics()

    init(
        loop: EventLoop, repository: any TripRepository, directory: any DriverDirectory, start: TripStart,
        maximumPickup: Double = TripLimits.maximumPickup
    ) {
        self.maximumPickup = maximumPickup
        self.loop = loop
        self.repository = repository
        self.directory = directory
        watchers = TripWatchers(loop: loop)
        active = ActiveTrips(start.active)
        epoch = start.epochs.current
        keyClock = KeyClock(wall: loop.wallClockMilliseconds, monotonic: loop.now)
        metrics.active.set(self.active.count)
    }

    // MARK: Booking

    /// A request for a trip, checked for form.
    struct Request {
        /// nil: made here.
        var id: String?
        var riderID: String
        /// nil: the nearest available driver.
        var driverID: String?
        /// Of the car; nil: any.
        var category: String?
        var pickup: Position
        var dropoff: Position
        var key: IdempotencyKey?
        /// Monotonic nanoseconds.
        var deadline: UInt64
        /// Who asked: calls to the driver service carry it on.
        var origin = RequestOrigin.none
    }

    struct Created {
        let trip: Trip
        /// An earlier request with the same key made it.
        let replayed: Bool
    }

    func create(_ request: Request, _ completion: @escaping (Result<Created, TripError>) -> Void) {
        let work = Attempt(
            request: request,
            id: request.id ?? identifiers.next(milliseconds: loop.wallClockMilliseconds, using: &random).text,
            completion: completion)
        guard let key = request.key else { return select(work) }
        guard keysInProgress.insert(key.key).inserted else {
            metrics.refused("key-in-progress")
            return completion(.failure(.keyInProgress))
        }
        repository.lookUp(key, at: keyClock.milliseconds(at: loop.now), deadline: request.deadline) { [self] result in
            switch result {
            case .failure(let error): finish(work, .failure(storageError(error)))
            case .success(.some(let outcome)): finish(work, outcome)
            case .success(nil): select(work)
            }
        }
    }

    /// One request on its way.
    private struct Attempt {
        let request: Request
        let id: String
        let completion: (Result<Created, TripError>) -> Void

        func booking(_ candidates: [DriverProfile], now: Int64 = 0, keyedAt: Int64 = 0) -> Booking {
            Booking(
                tripID: id, riderID: request.riderID, pickup: request.pickup, dropoff: request.dropoff,
                selectedDriverID: request.driverID, candidates: candidates, key: request.key, now: now,
                keyedAt: keyedAt, category: request.category, trace: request.origin.trace)
        }
    }

    /// Finds whom to try. What the mirror has is durable, so nobody need be asked about it.
    private func select(_ work: Attempt) {
        let request = work.request
        if let trip = active.trip(work.id) {
            let isSame = work.booking([]).isMadeBy(trip)
            return finish(work, isSame ? .existing(trip) : .idTaken)
        }
        if let tripID = active.tripID(ofRider: request.riderID) {
            return finish(work, .riderHasActiveTrip(tripID: tripID))
        }
        guard let driverID = request.driverID else {
            return match(work, limit: Matching.candidateLimit)
        }
        if active.tripID(ofDriver: driverID) != nil { return finish(work, .driversTaken) }
        directory.driver(
            driverID, from: request.pickup, timeout: timeout(request.deadline), origin: request.origin
        ) { [self] result in
            switch result {
            case .failure(let error): finish(work, .failure(error))
            case .success(nil): finish(work, .failure(.unknownDriver(driverID)))
            case .success(let driver?):
                guard driver.isPresent else { return offer(work, driverID: driverID, .absent) }
                if let refusal = refusal(of: driver, request) { return finish(work, .failure(refusal)) }
                book(work, [driver.snapshot], then: { [self] in finish(work, .driversTaken) })
            }
        }
    }

    /// Why a selected driver does not suit the request, whether they are free or not.
    private func refusal(of driver: KnownDriver, _ request: Request) -> TripError? {
        let category = driver.snapshot.vehicle.category
        if let wanted = request.category, wanted != category {
            return .wrongCategory(driverID: driver.snapshot.id, category: category)
        }
        if driver.distance <= maximumPickup { return nil }
        return .driverTooFar(driverID: driver.snapshot.id, distance: driver.distance, limit: maximumPickup)
    }

    private var matchRadius: Double { min(Matching.candidateRadius, maximumPickup) }

    /// Tries the nearest available drivers, and once more with a wider choice when all of them were just taken.
    private func match(_ work: Attempt, limit: Int) {
        let request = work.request
        directory.nearest(
            to: request.pickup, radius: matchRadius, limit: limit, category: request.category,
            timeout: timeout(request.deadline), origin: request.origin
        ) { [self] result in
            switch result {
            case .failure(let error): finish(work, .failure(error))
            case .success(let found):
                let candidates = choose(found)
                let isLastRound = limit != Matching.candidateLimit || found.count < limit
                let next = { [self] in
                    if isLastRound {
                        finish(work, .failure(.noDriverAvailable(within: matchRadius, category: request.category)))
                    } else {
                        match(work, limit: TripLimits.secondRoundLimit)
                    }
                }
                if candidates.isEmpty { return next() }
                book(work, candidates, then: next)
            }
        }
    }

    private func choose(_ found: [KnownDriver]) -> [DriverProfile] {
        var snapshots: [String: DriverProfile] = [:]
        for driver in found { snapshots[driver.snapshot.id] = driver.snapshot }
        return Matching.order(Self.candidates(found), within: matchRadius, excluding: taken(among: found)).compactMap {
            snapshots[$0.driverID]
        }
    }

    private static func candidates(_ found: [KnownDriver]) -> [Matching.Candidate] {
        found.map { Matching.Candidate(driverID: $0.snapshot.id, distance: $0.distance) }
    }

    private func taken(among found: [KnownDriver]) -> Set<String> {
        Set(found.lazy.map(\.snapshot.id).filter { self.active.tripID(ofDriver: $0) != nil })
    }

    /// - Parameter taken: called when every candidate is on a trip.
    private func book(_ work: Attempt, _ candidates: [DriverProfile], then taken: @escaping () -> Void) {
        let booking = work.booking(
            candidates, now: loop.wallClockMilliseconds, keyedAt: keyClock.milliseconds(at: loop.now))
        repository.book(booking, deadline: work.request.deadline) { [self] result in
            switch result {
            case .failure(let error): finish(work, .failure(storageError(error)))
            case .success(.driversTaken): taken()
            case .success(let outcome):
                if case .created(let trip) = outcome { publish(trip, .created, booking.trace) }
                finish(work, outcome)
            }
        }
    }

    private func finish(_ work: Attempt, _ outcome: BookingOutcome) {
        switch outcome {
        case .created(let trip): finish(work, .success(Created(trip: trip, replayed: false)))
        case .existing(let trip): finish(work, .success(Created(trip: trip, replayed: false)))
        case .replayed(let trip): finish(work, .success(Created(trip: trip, replayed: true)))
        case .keyReused: finish(work, .failure(.keyReused))
        case .idTaken: finish(work, .failure(.idTaken(work.id)))
        case .riderHasActiveTrip(let tripID): finish(work, .failure(.riderHasActiveTrip(tripID: tripID)))
        case .driversTaken: offer(work, driverID: work.request.driverID ?? "", .taken)
        }
    }

    /// Refuses with the nearest free drivers; with none when the driver service can't say.
    private func offer(_ work: Attempt, driverID: String, _ reason: TripError.Reason) {
        let request = work.request
        directory.nearest(
            to: request.pickup, radius: nil, limit: TripLimits.alternativeSearchLimit, category: request.category,
            timeout: timeout(request.deadline), origin: request.origin
        ) { [self] result in
            let found = ((try? result.get()) ?? []).filter { $0.snapshot.id != driverID }
            let chosen = Matching.alternatives(
                Self.candidates(found), within: maximumPickup, excluding: taken(among: found))
            let alternatives = chosen.compactMap { choice in
                found.first { $0.snapshot.id == choice.driverID }?.message
            }
            let refusal = TripError.driverUnavailable(driverID: driverID, reason: reason, alternatives: alternatives)
            finish(work, .failure(refusal))
        }
    }

    private func finish(_ work: Attempt, _ result: Result<Created, TripError>) {
        guard case .failure(let error) = result, work.request.id != nil, error.mayHideAnEarlierTry else {
            return answer(work, result)
        }
        // The caller's earlier try may have made the trip, and only its answer was lost.
        repository.trip(work.id, deadline: work.request.deadline) { [self] stored in
            if case .success(let trip?) = stored, work.booking([]).isMadeBy(trip) {
                answer(work, .success(Created(trip: trip, replayed: false)))
            } else {
                answer(work, result)
            }
        }
    }

    private func answer(_ work: Attempt, _ result: Result<Created, TripError>) {
        if let key = work.request.key { keysInProgress.remove(key.key) }
        switch result {
        case .success: metrics.booked.increment()
        case .failure(let error): metrics.refused(error.code)
        }
        work.completion(result)
    }

    private func timeout(_ deadline: UInt64) -> UInt64 { deadline > loop.now ? deadline - loop.now : 1 }

    // MARK: Changes

    func change(
        _ tripID: String, _ action: TripAction, deadline: UInt64, trace: TraceContext = .none,
        _ completion: @escaping (Result<Trip, TripError>) -> Void
    ) {
        repository.change(
            tripID, action, at: loop.wallClockMilliseconds, trace: trace, deadline: deadline
        ) { [self] result in
            switch result {
            case .failure(let error): completion(.failure(storageError(error)))
            case .success(.unknown): completion(.failure(.tripNotFound(tripID)))
            case .success(.alreadyEnded(let status)): completion(.failure(.tripAlreadyEnded(status)))
            case .success(.unchanged(let trip)): completion(.success(trip))
            case .success(.changed(let trip, let kind)):
                publish(trip, kind, trace)
                completion(.success(trip))
            }
        }
    }

    private func publish(_ trip: Trip, _ kind: TripEventKind, _ trace: TraceContext) {
        active.store(trip)
        metrics.active.set(active.count)
        watchers.tell(trip)
        onChange(OutboxEvent(seq: trip.seq, epoch: epoch, kind: kind, latest: trip, trace: trace))
    }

    // MARK: Questions

    func get(_ id: String, deadline: UInt64, _ completion: @escaping (Result<Trip, TripError>) -> Void) {
        if let trip = active.trip(id) { return completion(.success(trip)) }
        repository.trip(id, deadline: deadline) { [self] result in
            switch result {
            case .failure(let error): completion(.failure(storageError(error)))
            case .success(nil): completion(.failure(.tripNotFound(id)))
            case .success(let trip?): completion(.success(trip))
            }
        }
    }

    func list(
        _ filter: TripFilter, after cursor: TripCursor?, limit: Int, deadline: UInt64,
        _ completion: @escaping (Result<TripPage, TripError>) -> Void
    ) {
        repository.list(filter, after: cursor, limit: limit, deadline: deadline) { [self] result in
            completion(result.mapError { [self] in storageError($0) })
        }
    }

    /// The trip at once, then each change; nil after the trip has ended. The watch is in force before the first
    /// answer, so no change is missed; an older one than was seen is never told.
    func watch(
        _ id: String, deadline: UInt64, _ tell: @escaping (Result<Trip, TripError>?) -> Void
    ) -> TripWatchers.Token? {
        guard let token = watchers.add(id, tell) else {
            tell(.failure(.unavailable("Too many trips are watched; try again later.")))
            return nil
        }
        get(id, deadline: deadline) { [self] result in
            switch result {
            case .success(let trip): watchers.tell(trip, only: token)
            case .failure(let error): watchers.fail(token, error)
            }
        }
        return token
    }

    func unwatch(_ token: TripWatchers.Token) { watchers.remove(token) }

    func forgetOldKeys() { repository.forgetKeys(before: keyClock.milliseconds(at: loop.now)) }

    /// Ends every watch: the caller asks another process, or this one after its restart.
    func endWatches() { watchers.failAll(.unavailable("The trip service is ending; ask again.")) }

    /// What a failure of the storage means for the caller, who is not shown its words.
    private func storageError(_ error: any Error) -> TripError {
        if case .some(.deadlineExceeded) = error as? SQLiteError {
            return .deadlineExceeded("The database did not come to it in time.")
        }
        onStorageFailure(error)
        return .unavailable("The trip service can't use its database now; try again in a moment.")
    }
}

extension TripError {
    /// Whether a caller that tries again may get this although its first try succeeded.
    fileprivate var mayHideAnEarlierTry: Bool {
        switch self {
        case .driverUnavailable, .noDriverAvailable, .driverTooFar, .wrongCategory, .riderHasActiveTrip,
            .unknownDriver:
            true
        default: false
        }
    }
}
