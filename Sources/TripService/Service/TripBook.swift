import Basics
import Reactor
import RideDomain
import Storage
import Telemetry

/// The rules of trips: who may be booked, what may follow what, and who hears of it.
///
///     create:  key known? ─▶ driver known and on duty (or the nearest) ─▶ repository.book ─▶ answer
///                                    (driver service)                      (one transaction)
///
/// For tasks of one loop. A task that is cancelled ends what it waits for: the question to the driver service, or a job of the
/// database that has not begun. What became durable is published all the same, and in the order of the commits: the repository
/// tells it before any task goes on. While a task waits, others change the mirror of trips in progress, so it is asked anew.
///
/// What is on the way of every booking is inlined: each async function that is called costs memory for its frame, and a look at
/// the task's executor when it returns.
final class TripBook {
    /// Called with each durable change, in order: for the outbox relay.
    var onChange: (OutboxEvent) -> Void = { _ in }

    /// Called when the storage failed.
    var onStorageFailure: (StorageError) -> Void = { _ in }

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
    private var bookings = BookingsUnderWay()

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
        repository.onChange = { [weak self] in self?.publish($0, $1, $2) }
    }

    private func publish(_ trip: Trip, _ kind: TripEventKind, _ trace: TraceContext) {
        active.store(trip)
        metrics.active.set(active.count)
        watchers.tell(trip)
        onChange(OutboxEvent(seq: trip.seq, epoch: epoch, kind: kind, latest: trip, trace: trace))
    }

    // MARK: Booking

    struct Created {
        let trip: Trip
        /// An earlier request with the same key made it.
        var replayed = false
    }

    /// A booking on its way.
    private final class Attempt {
        let booking: Booking
        let id: String
        /// Monotonic nanoseconds.
        let deadline: UInt64
        let origin: RequestOrigin

        init(_ booking: Booking, id: String, deadline: UInt64, origin: RequestOrigin) {
            self.booking = booking
            self.id = id
            self.deadline = deadline
            self.origin = origin
        }
    }

    /// - Parameters:
    ///   - deadline: monotonic nanoseconds.
    ///   - origin: who asked; questions to the driver service carry it on.
    func create(
        _ booking: Booking, deadline: UInt64, origin: RequestOrigin = .none
    ) async throws(TripError) -> Created {
        let id = booking.id ?? identifiers.next(milliseconds: loop.wallClockMilliseconds, using: &random).text
        // Until its trip is durable, or will never be.
        let place = bookings.begin()
        defer { for tell in bookings.end(place) { tell() } }
        do throws(TripError) {
            let created = try await create(Attempt(booking, id: id, deadline: deadline, origin: origin))
            metrics.booked.increment()
            return created
        } catch {
            metrics.refused(error.code)
            throw error
        }
    }

    @inline(__always)
    private func create(_ attempt: Attempt) async throws(TripError) -> Created {
        if let key = attempt.booking.key, !keysInProgress.insert(key.key).inserted { throw .keyInProgress }
        defer { if let key = attempt.booking.key { keysInProgress.remove(key.key) } }
        do throws(TripError) {
            if let known = try await earlier(attempt) { return try created(known, attempt) }
            if let driverID = attempt.booking.driverID {
                return try created(await book(driverID, attempt), attempt)
            }
            return try created(await bookNearest(attempt), attempt)
        } catch {
            // The caller's earlier try may have made the trip, and only its answer was lost.
            guard attempt.booking.id != nil, error.mayHideAnEarlierTry, let made = await madeEarlier(attempt) else {
                throw error
            }
            return made
        }
    }

    /// Returns when every booking that is being made now has come to its end: whoever its driver is, its trip is stored then, or there
    /// will be none.
    func settle(deadline: UInt64) async throws(TripError) {
        var isOver = bookings.isEmpty
        if !isOver {
            await loop.wait(atMost: .nanoseconds(timeout(deadline))) { done in
                bookings.whenOver {
                    isOver = true
                    done()
                }
            }
        }
        if isOver { return }
        throw Task.isCancelled && loop.now < deadline
            ? .cancelled : .deadlineExceeded("Bookings that are being made did not end in time.")
    }

    private func madeEarlier(_ attempt: Attempt) async -> Created? {
        guard let trip = try? await repository.trip(attempt.id, deadline: attempt.deadline),
            attempt.booking.isMade(by: trip)
        else { return nil }
        return Created(trip: trip)
    }

    /// What the request made before, or why it can't be made now. What the mirror has is durable, so nobody need be asked about
    /// it.
    @inline(__always)
    private func earlier(_ attempt: Attempt) async throws(TripError) -> BookingOutcome? {
        if let key = attempt.booking.key {
            let now = keyClock.milliseconds(at: loop.now)
            let outcome: BookingOutcome?
            do {
                outcome = try await repository.lookUp(key, at: now, deadline: attempt.deadline)
            } catch {
                throw refusal(error, by: attempt.deadline)
            }
            if let outcome { return outcome }
        }
        if let trip = active.trip(attempt.id) {
            return attempt.booking.isMade(by: trip) ? .existing(trip) : .idTaken
        }
        return active.tripID(ofRider: attempt.booking.riderID).map { .riderHasActiveTrip(tripID: $0) }
    }

    /// Books the driver whom the rider has selected.
    @inline(__always)
    private func book(_ driverID: String, _ attempt: Attempt) async throws(TripError) -> BookingOutcome {
        if active.tripID(ofDriver: driverID) == nil {
            let driver = try await directory.driver(
                driverID, from: attempt.booking.pickup, timeout: timeout(attempt.deadline), origin: attempt.origin)
            guard let driver else { throw .unknownDriver(driverID) }
            guard driver.isPresent else { throw await refusal(of: driverID, .absent, attempt) }
            if let misfit = misfit(of: driver, to: attempt.booking) { throw misfit }
            let outcome = try await book([driver.profile], attempt)
            guard case .driversTaken = outcome else { return outcome }
        }
        throw await refusal(of: driverID, .taken, attempt)
    }

    /// Why a selected driver does not suit the request, whether they are free or not.
    private func misfit(of driver: KnownDriver, to booking: Booking) -> TripError? {
        let category = driver.profile.vehicle.category
        if let wanted = booking.category, wanted != category {
            return .wrongCategory(driverID: driver.driver.id, category: category)
        }
        if driver.distance <= maximumPickup { return nil }
        return .driverTooFar(driverID: driver.driver.id, distance: driver.distance, limit: maximumPickup)
    }

    private var matchRadius: Double { min(Matching.candidateRadius, maximumPickup) }

    /// Tries the nearest available drivers, and once more with a wider choice when all of them were just taken.
    private func bookNearest(_ attempt: Attempt) async throws(TripError) -> BookingOutcome {
        for limit in [Matching.candidateLimit, TripLimits.secondRoundLimit] {
            let found = try await directory.nearest(
                to: attempt.booking.pickup, radius: matchRadius, limit: limit, category: attempt.booking.category,
                timeout: timeout(attempt.deadline), origin: attempt.origin)
            let free = Matching.order(candidates(found), within: matchRadius, excluding: taken(among: found))
            if !free.isEmpty {
                let outcome = try await book(profiles(free, found), attempt)
                guard case .driversTaken = outcome else { return outcome }
            }
            if found.count < limit { break }
        }
        return .driversTaken
    }

    @inline(__always)
    private func book(
        _ candidates: [DriverProfile], _ attempt: Attempt
    ) async throws(TripError) -> BookingOutcome {
        do {
            return try await repository.book(
                attempt.booking, id: attempt.id, candidates: candidates, at: loop.wallClockMilliseconds,
                keyedAt: keyClock.milliseconds(at: loop.now), trace: attempt.origin.trace, deadline: attempt.deadline)
        } catch {
            throw refusal(error, by: attempt.deadline)
        }
    }

    private func created(_ outcome: BookingOutcome, _ attempt: Attempt) throws(TripError) -> Created {
        switch outcome {
        case .created(let trip), .existing(let trip): Created(trip: trip)
        case .replayed(let trip): Created(trip: trip, replayed: true)
        case .keyReused: throw .keyReused
        case .idTaken: throw .idTaken(attempt.id)
        case .riderHasActiveTrip(let tripID): throw .riderHasActiveTrip(tripID: tripID)
        case .driversTaken: throw .noDriverAvailable(within: matchRadius, category: attempt.booking.category)
        }
    }

    /// Refuses with the nearest free drivers; with none when the driver service can't say.
    private func refusal(
        of driverID: String, _ reason: TripError.Reason, _ attempt: Attempt
    ) async -> TripError {
        let nearest = try? await directory.nearest(
            to: attempt.booking.pickup, radius: nil, limit: TripLimits.alternativeSearchLimit,
            category: attempt.booking.category, timeout: timeout(attempt.deadline), origin: attempt.origin)
        let found = (nearest ?? []).filter { $0.driver.id != driverID }
        let chosen = Matching.alternatives(
            candidates(found), within: maximumPickup, excluding: taken(among: found))
        return .driverUnavailable(
            driverID: driverID, reason: reason,
            alternatives: chosen.compactMap { choice in found.first { $0.driver.id == choice.driverID } })
    }

    private func candidates(_ found: [KnownDriver]) -> [Matching.Candidate] {
        found.map { Matching.Candidate(driverID: $0.driver.id, distance: $0.distance) }
    }

    private func profiles(_ chosen: [Matching.Candidate], _ found: [KnownDriver]) -> [DriverProfile] {
        let known = Dictionary(found.map { ($0.driver.id, $0.profile) }, uniquingKeysWith: { $1 })
        return chosen.compactMap { known[$0.driverID] }
    }

    private func taken(among found: [KnownDriver]) -> Set<String> {
        Set(found.lazy.map(\.driver.id).filter { self.active.tripID(ofDriver: $0) != nil })
    }

    private func timeout(_ deadline: UInt64) -> UInt64 { deadline > loop.now ? deadline - loop.now : 1 }

    // MARK: Changes

    func change(
        _ tripID: String, _ action: TripAction, deadline: UInt64, trace: TraceContext = .none
    ) async throws(TripError) -> Trip {
        let now = loop.wallClockMilliseconds
        let outcome: ChangeOutcome
        do {
            outcome = try await repository.change(tripID, action, at: now, trace: trace, deadline: deadline)
        } catch {
            throw refusal(error, by: deadline)
        }
        switch outcome {
        case .unknown: throw .tripNotFound(tripID)
        case .alreadyEnded(let status): throw .tripAlreadyEnded(status)
        case .unchanged(let trip), .changed(let trip, _): return trip
        }
    }

    // MARK: Questions

    func get(_ id: String, deadline: UInt64) async throws(TripError) -> Trip {
        if let trip = active.trip(id) { return trip }
        let trip: Trip?
        do {
            trip = try await repository.trip(id, deadline: deadline)
        } catch {
            throw refusal(error, by: deadline)
        }
        guard let trip else { throw .tripNotFound(id) }
        return trip
    }

    func list(
        _ filter: TripFilter, after cursor: TripCursor?, limit: Int, deadline: UInt64
    ) async throws(TripError) -> TripPage {
        do {
            return try await repository.list(filter, after: cursor, limit: limit, deadline: deadline)
        } catch {
            throw refusal(error, by: deadline)
        }
    }

    /// The trip at once, then each change; nil after the trip has ended. The watch is in force before the first
    /// answer, so no change is missed; an older one than was seen is never told.
    func watch(
        _ id: String, deadline: UInt64, _ tell: @escaping (Result<Trip, TripError>?) -> Void
    ) async throws(TripError) -> TripWatchers.Token {
        guard let token = watchers.add(id, tell) else {
            throw .unavailable("Too many trips are watched; try again later.")
        }
        do throws(TripError) {
            watchers.tell(try await get(id, deadline: deadline), only: token)
        } catch {
            watchers.remove(token)
            throw error
        }
        return token
    }

    func unwatch(_ token: TripWatchers.Token) { watchers.remove(token) }

    func forgetOldKeys() async {
        do throws(StorageError) {
            try await repository.forgetKeys(before: keyClock.milliseconds(at: loop.now))
        } catch {
            onStorageFailure(error)
        }
    }

    /// Ends every watch: the caller asks another process, or this one after its restart.
    func endWatches() { watchers.failAll(.unavailable("The trip service is ending; ask again.")) }

    /// What a failure of the storage means for the caller, who is not shown its words.
    private func refusal(_ error: StorageError, by deadline: UInt64) -> TripError {
        switch error {
        case .deadlineExceeded: return .deadlineExceeded("The database did not come to it in time.")
        case .cancelled where loop.now < deadline: return .cancelled
        case .cancelled: return .deadlineExceeded("The deadline passed.")
        case .refused, .unavailable, .corrupt: onStorageFailure(error)
        }
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
