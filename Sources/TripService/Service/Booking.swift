import RideDomain

/// What a rider asks for, checked for form.
final class Booking: Sendable {
    /// nil: the service makes one.
    let id: String?
    let riderID: String
    /// nil: the nearest available driver.
    let driverID: String?
    /// Of the car; nil: any.
    let category: String?
    let pickup: Position
    let dropoff: Position
    let key: IdempotencyKey?

    /// - Parameter key: what the caller knows this request by; nil: nothing.
    init(
        id: String?, riderID: String, driverID: String?, category: String?, pickup: Position, dropoff: Position,
        key: String?
    ) {
        self.id = id
        self.riderID = riderID
        self.driverID = driverID
        self.category = category
        self.pickup = pickup
        self.dropoff = dropoff
        self.key = key.map {
            let request =
                "1|\(riderID)|\(driverID ?? "")|\(pickup.lat),\(pickup.lon)|\(dropoff.lat),\(dropoff.lon)"
                + (category.map { "|\($0)" } ?? "")
            return IdempotencyKey(key: $0, request: Array(request.utf8))
        }
    }

    /// Whether `trip`, which has this request's id, can be what an earlier try of it made.
    func isMade(by trip: Trip) -> Bool {
        trip.riderID == riderID && trip.pickup == pickup && trip.dropoff == dropoff
            && (driverID == nil || driverID == trip.driverID)
            && (category == nil || category == trip.driver.vehicle.category)
    }
}

/// The caller's key and what it was sent with.
struct IdempotencyKey: Sendable, Hashable {
    let key: String
    /// The request in a canonical form, which the database keeps: the same key with another one is refused.
    let request: [UInt8]
}

/// How long an idempotency key is kept, in milliseconds.
let idempotencyKeyLifetime: Int64 = 24 * 3_600_000

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
