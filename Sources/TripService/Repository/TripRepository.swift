import RideDomain
import Telemetry

/// A booking that is to be stored.
struct Booking: Sendable {
    let tripID: String
    let riderID: String
    let pickup: Position
    let dropoff: Position
    /// nil: whoever is found.
    let selectedDriverID: String?
    /// Whom to try, in this order. The first who is free is booked.
    let candidates: [DriverProfile]
    let key: IdempotencyKey?
    /// Unix milliseconds.
    let now: Int64
    /// Milliseconds of `KeyClock`.
    let keyedAt: Int64
    /// Of the car; nil: any.
    var category: String?
    /// Goes along with the event.
    var trace = TraceContext.none

    /// Whether `trip` can be what an earlier try of the same request made.
    func isMadeBy(_ trip: Trip) -> Bool {
        trip.id == tripID && trip.riderID == riderID && trip.pickup == pickup && trip.dropoff == dropoff
            && (selectedDriverID == nil || selectedDriverID == trip.driverID)
            && (category == nil || category == trip.driver.vehicle.category)
    }
}

/// The caller's key and what it was sent with.
struct IdempotencyKey: Sendable, Hashable {
    let key: String
    /// The request in a canonical form: the same key with another one is refused.
    let request: [UInt8]
}

/// What became of a booking.
enum BookingOutcome: Sendable {
    case created(Trip)
    /// A trip with this id was made before, by an earlier try of the same request.
    case existing(Trip)
    /// Another request made a trip with this id.
    case idTaken
    /// The key made a trip before; it is as it was then.
    case replayed(Trip)
    case keyReused
    case riderHasActiveTrip(tripID: String)
    /// Every candidate is on a trip.
    case driversTaken
}

/// What became of a change of a trip.
enum ChangeOutcome: Sendable {
    case changed(Trip, TripEventKind)
    /// It was done before.
    case unchanged(Trip)
    case alreadyEnded(TripStatus)
    case unknown
}

/// Which trips a list has. Everything nil: all of them.
struct TripFilter: Sendable, Hashable {
    var riderID: String?
    var driverID: String?
    var status: TripStatus?
}

/// A place in the order of a list: newest first, by creation and id.
struct TripCursor: Sendable, Hashable {
    /// Unix milliseconds.
    let createdAt: Int64
    let id: String
}

struct TripPage: Sendable {
    let trips: [Trip]
    let hasMore: Bool
    /// The last change that this answer knows of.
    let seq: UInt64
}

/// A row of the outbox, with the trip as it was when the event happened.
struct OutboxEvent: Sendable {
    let seq: UInt64
    /// The epoch of the database in which it was made.
    let epoch: UInt64
    let kind: TripEventKind
    let trip: Trip
    /// Of the request that made it.
    let trace: TraceContext

    /// When it happened, Unix milliseconds.
    var at: Int64 {
        switch kind {
        case .created: trip.createdAt
        case .pickedUp: trip.pickedUpAt ?? trip.createdAt
        case .completed, .cancelled: trip.endedAt ?? trip.createdAt
        }
    }

    /// The trip after the event, whatever happened to it since: every event can be told from the trip's latest row.
    init(seq: UInt64, epoch: UInt64, kind: TripEventKind, latest: Trip, trace: TraceContext = .none) {
        self.trace = trace
        self.seq = seq
        self.epoch = epoch
        self.kind = kind
        trip = Trip(
            id: latest.id, riderID: latest.riderID, driver: latest.driver,
            status: kind == .completed || kind == .cancelled ? latest.status : .inProgress, pickup: latest.pickup,
            dropoff: latest.dropoff, createdAt: latest.createdAt,
            pickedUpAt: kind == .created ? nil : latest.pickedUpAt,
            endedAt: kind == .completed || kind == .cancelled ? latest.endedAt : nil, seq: seq)
    }
}

/// What a restarted service has to know before it answers.
struct TripStart: Sendable {
    let active: [Trip]
    /// The outbox is relayed up to and with this row.
    let watermark: UInt64
    /// The last row of the outbox.
    let lastSeq: UInt64
    /// Names the database.
    var databaseID = ""
    var epochs = TripEpochs()
}

/// Which numbers were given out in which epoch of the database: each start begins one.
///
/// A number alone does not say what it counts once a copy of the database was restored: the same numbers are given out again
/// for other changes. With its epoch it does, for the restored one begins a new epoch, and says of the numbers up to the
/// copy what was said before.
struct TripEpochs: Sendable, Equatable {
    private var starts: [(epoch: UInt64, seq: UInt64)] = []

    /// The epoch that runs; 0: there is none yet.
    var current: UInt64 { starts.last?.epoch ?? 0 }

    /// In the order of the epochs.
    mutating func add(_ epoch: UInt64, from seq: UInt64) { starts.append((epoch, seq)) }

    /// The epoch in which a number was given out.
    func epoch(of seq: UInt64) -> UInt64 {
        // The newest are asked for most.
        starts.last { $0.seq <= seq }?.epoch ?? 0
    }

    static func == (left: TripEpochs, right: TripEpochs) -> Bool {
        left.starts.elementsEqual(right.starts) { $0 == $1 }
    }
}

/// Where trips are kept. The one authority on who drives whom: at most one active trip per driver and per rider, at
/// every instant.
///
/// Calls come from the service's loop and are answered there. An answer to a change means that it is durable.
/// `deadline` is in monotonic nanoseconds; a change that did not begin by then is not made.
protocol TripRepository: AnyObject {
    /// What was found when it was opened.
    func start() -> TripStart

    /// Writes something that changes nothing, or only looks whether the storage is there.
    func probe(writing: Bool, _ completion: @escaping (Result<Void, any Error>) -> Void)

    func book(
        _ booking: Booking, deadline: UInt64?, _ completion: @escaping (Result<BookingOutcome, any Error>) -> Void)

    func change(
        _ tripID: String, _ action: TripAction, at now: Int64, trace: TraceContext, deadline: UInt64?,
        _ completion: @escaping (Result<ChangeOutcome, any Error>) -> Void)

    func trip(_ id: String, deadline: UInt64?, _ completion: @escaping (Result<Trip?, any Error>) -> Void)

    /// What a key made, if it is not older than 24 h at `now` (`KeyClock`): nil, `.replayed` or `.keyReused`.
    func lookUp(
        _ key: IdempotencyKey, at now: Int64, deadline: UInt64?,
        _ completion: @escaping (Result<BookingOutcome?, any Error>) -> Void)

    func list(
        _ filter: TripFilter, after cursor: TripCursor?, limit: Int, deadline: UInt64?,
        _ completion: @escaping (Result<TripPage, any Error>) -> Void)

    /// Rows of the outbox behind `seq`, in order.
    func outbox(
        after seq: UInt64, limit: Int, _ completion: @escaping (Result<[OutboxEvent], any Error>) -> Void)

    /// Stores how far the outbox is relayed.
    func setWatermark(_ seq: UInt64, _ completion: @escaping (Result<Void, any Error>) -> Void)

    /// Drops keys that are older than 24 h at `now` (`KeyClock`).
    func forgetKeys(before now: Int64)

    /// Finishes what waits; the completion comes, on any thread, when the storage is closed.
    func close(_ completion: @escaping @Sendable () -> Void)
}

/// What the age of idempotency keys is measured by: the wall clock as it was when the service started, carried on by the
/// monotonic one. A wall clock that is set ahead by a day would forget all keys at once, and a rider's second try would be
/// a second booking.
struct KeyClock: Sendable {
    private let wall: Int64
    private let monotonic: UInt64

    /// Unix milliseconds and monotonic nanoseconds of the start.
    init(wall: Int64, monotonic: UInt64) {
        self.wall = wall
        self.monotonic = monotonic
    }

    /// Unix milliseconds by this clock at `now`, monotonic nanoseconds.
    func milliseconds(at now: UInt64) -> Int64 {
        wall &+ Int64(clamping: (max(now, monotonic) - monotonic) / 1_000_000)
    }
}

/// How long an idempotency key is kept, in milliseconds.
let idempotencyKeyLifetime: Int64 = 24 * 3_600_000
