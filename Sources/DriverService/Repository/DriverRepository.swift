import Operations
import Reactor
import RideDomain
import SQLiteStore
import Storage

/// How far the trip events of one cluster have been taken over.
struct EventCursor: Equatable, Sendable {
    /// The cluster that the offsets belong to; nil: nothing was read yet.
    var clusterID: String?
    /// By partition: the offset of the next event.
    var offsets: [Int32: Int64] = [:]
}

/// What is known about a driver from trips, as it is stored.
struct TripProjection: Equatable, Sendable {
    let driverID: String
    let activeTripID: String?
    let tripSeq: UInt64
    let tripEpoch: UInt64
    let updatedAt: Int64
    let revision: UInt64
}

/// What became of a driver who was to be deleted.
enum DeletionOutcome: Equatable, Sendable {
    case deleted(RevocationOutcome)
    case unknown
    /// There are too many revocations.
    case full
}

/// Everything that a start finds.
struct StoredDrivers: Sendable {
    var drivers: [Driver] = []
    /// Begins behind every number that was given out before, and has its first block on disk.
    var revisions = RevisionCounter(reserved: 0, wall: 0)
    var cursor = EventCursor()
    /// The epoch of the trip database that was compared with last.
    var tripEpoch: UInt64 = 0
    /// Names this database.
    var databaseID = ""
}

extension DatabaseURL {
    /// Opens the driver service's data, and reads it. Blocking: before the loop runs.
    /// - Throws: `DatabaseStartError`
    func openDrivers(
        _ loop: EventLoop
    ) throws(DatabaseStartError) -> (any DriverRepository, any SessionRepository, StoredDrivers) {
        do {
            switch self {
            case .sqlite(let path):
                let (drivers, stored) = try SQLiteDriverRepository.open(
                    path: path, loop: loop, wall: loop.wallClockMilliseconds)
                return (drivers, drivers.sessions, stored)
            }
        } catch {
            throw DatabaseStartError(error)
        }
    }
}

/// Where the driver service keeps its data.
///
/// For tasks of the service's loop. A write that returns is durable, and writes are done in the order of the calls. `deadline` is
/// in the loop's nanoseconds; a write that did not begin by then, or before its task was cancelled, is not done.
protocol DriverRepository: AnyObject {
    /// A new driver.
    func insert(_ driver: Driver, deadline: UInt64?) async throws(StorageError)
    /// Position, presence and instants of drivers, as they are now.
    func saveStates(_ drivers: [Driver], deadline: UInt64?) async throws(StorageError)
    /// Active trips, and in the same transaction how far the events that they come from have been read, or with which epoch
    /// of the trip database they were compared.
    func saveTrips(_ trips: [TripProjection], cursor: EventCursor?, epoch: UInt64?) async throws(StorageError)
    /// The revision that a restart begins at.
    func reserveRevision(_ revision: UInt64) async throws(StorageError)
    /// Changes who a driver is. False: there is no such driver.
    func update(_ driverID: String, _ change: ProfileChange, deadline: UInt64?) async throws(StorageError) -> Bool
    /// Suspends a driver, or restores them (nil); either way they are off duty. False: there is no such driver.
    func suspend(_ driverID: String, _ suspension: Suspension?, deadline: UInt64?) async throws(StorageError) -> Bool
    /// Deletes a driver with all that they are signed in by, and revokes what they were signed in with, as of `at` (Unix
    /// milliseconds).
    func delete(
        _ driverID: String, reason: String, at: Int64, deadline: UInt64?
    ) async throws(StorageError) -> DeletionOutcome
    /// Writes something that changes nothing, or only looks whether the storage is there.
    func probe(writing: Bool) async throws(StorageError)
    /// Writes what waits, and returns when the storage is closed.
    func close() async
}
