import Operations
import Reactor
import RideDomain
import SQLiteStore
import Storage
import Telemetry

/// What became of a booking.
indirect enum BookingOutcome: Sendable {
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
indirect enum ChangeOutcome: Sendable {
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
            endedAt: kind == .completed || kind == .cancelled ? latest.endedAt : nil,
            endReason: kind == .cancelled ? latest.endReason : nil, seq: seq)
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

extension DatabaseURL {
    /// Opens the trip service's data, and begins a new epoch of its numbers. Blocking: before the loop runs.
    /// - Throws: `DatabaseStartError`
    func openTrips(_ loop: EventLoop) throws(DatabaseStartError) -> any TripRepository {
        do {
            switch self {
            case .sqlite(let path):
                return try SQLiteTripRepository(path: path, loop: loop, wall: loop.wallClockMilliseconds)
            }
        } catch {
            throw DatabaseStartError(error)
        }
    }
}

/// Where trips are kept. The one authority on who drives whom: at most one active trip per driver and per rider, at
/// every instant.
///
/// For tasks of the service's loop. An answer to a change means that it is durable. `deadline` is in monotonic nanoseconds; a
/// change that did not begin by then, or before its task was cancelled, is not made. An instant outside the years 1970 to 9999
/// is refused: it could not be read again.
protocol TripRepository: AnyObject {
    /// Called on the loop with each durable change and the trace of its request, in order, before whoever made it hears of it.
    var onChange: (Trip, TripEventKind, TraceContext) -> Void { get set }

    /// What was found when it was opened.
    func start() -> TripStart

    /// Writes something that changes nothing, or only looks whether the storage is there.
    func probe(writing: Bool) async throws(StorageError)

    /// Makes the trip `id` with the first of the candidates who is free. `now` in Unix milliseconds, `keyedAt` in those of
    /// `KeyClock`. `trace` goes along with the event.
    func book(
        _ booking: Booking, id: String, candidates: [DriverProfile], at now: Int64, keyedAt: Int64, trace: TraceContext,
        deadline: UInt64?
    ) async throws(StorageError) -> BookingOutcome

    func change(
        _ tripID: String, _ action: TripAction, at now: Int64, trace: TraceContext, deadline: UInt64?
    ) async throws(StorageError) -> ChangeOutcome

    func trip(_ id: String, deadline: UInt64?) async throws(StorageError) -> Trip?

    /// What a key made, if it is not older than 24 h at `now` (`KeyClock`): nil, `.replayed` or `.keyReused`.
    func lookUp(
        _ key: IdempotencyKey, at now: Int64, deadline: UInt64?
    ) async throws(StorageError) -> BookingOutcome?

    func list(
        _ filter: TripFilter, after cursor: TripCursor?, limit: Int, deadline: UInt64?
    ) async throws(StorageError) -> TripPage

    /// Rows of the outbox behind `seq`, in order.
    func outbox(after seq: UInt64, limit: Int) async throws(StorageError) -> [OutboxEvent]

    /// Stores how far the outbox is relayed.
    func setWatermark(_ seq: UInt64) async throws(StorageError)

    /// Drops keys that are older than 24 h at `now` (`KeyClock`).
    func forgetKeys(before now: Int64) async throws(StorageError)

    /// Finishes what waits, and returns when the storage is closed.
    func close() async
}
