import RideDomain

/// Every bound of the trip service, in one place.
enum TripLimits {
    /// Nanoseconds for a request without a deadline.
    static let defaultTimeout: UInt64 = 5_000_000_000
    /// Trips on a page, when the caller does not say.
    static let defaultPageSize: UInt32 = 20
    /// Metres from a selected driver to the pickup, when no setting says otherwise.
    static let maximumPickup = 50_000.0
    /// When all of the nearest were just taken, so many are looked at once more.
    static let secondRoundLimit = 128
    /// Drivers asked for to find the alternatives among: some of them may have been booked a moment ago.
    static let alternativeSearchLimit = 32
    /// Watchers of trips, all trips together.
    static let watchers = 100_000
    /// Rows of the outbox read at once.
    static let outboxBatch = 512
    /// Nanoseconds between two stores of the relay's watermark: after a crash so much is sent again.
    static let watermarkInterval: UInt64 = 200_000_000
    /// Nanoseconds between two hand-overs of the relay to Kafka, so that under load several events go out together.
    static let relayInterval: UInt64 = 20_000_000
    /// Nanoseconds before the relay tries again: doubled from the first up to the second.
    static let relayBackoff: (first: UInt64, last: UInt64) = (250_000_000, 5_000_000_000)
    /// Keys that one transaction of a sweep drops. Reason: bookings share it.
    static let keysPerSweep = 1_000
    /// Nanoseconds between two sweeps over idempotency keys.
    static let keySweepInterval: UInt64 = 600_000_000_000
}
