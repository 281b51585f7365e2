/// Every limit of the driver service, in one place.
enum DriverLimits {
    /// Drivers that are put into a list in one turn; a longer list is made over several. Reason: about a millisecond.
    static let driversPerTurn = 500
    /// Drivers on a page, when the caller does not say.
    static let defaultPage: UInt32 = 20
    /// Boxes of one question. Reason: a gateway asks for a few hundred; each costs some microseconds of the loop.
    static let areas = 1_024
    /// Bytes of an answer about areas whose asker reads outcomes. Reason: about four thousand drivers, made in some two
    /// milliseconds here and taken in small pieces there.
    static let areaAnswerBytes = 1 << 20
    /// Bytes of any list of drivers. Reason: what every gRPC peer takes (4 MiB) less the fields around the drivers.
    static let listBytes = (4 << 20) - 4_096
    /// Cells and drivers that one question about areas may look at. Reason: some two milliseconds of the loop.
    static let areaWork = 200_000
    /// Streams that watch drivers. Reason: each costs memory as long as it lives.
    static let watchers = 100_000
    /// Nanoseconds between two looks for drivers that fell silent.
    static let tick: UInt64 = 1_000_000_000
    /// Nanoseconds between two writes of positions: what a crash may forget of them.
    static let savePositionsEvery: UInt64 = 5_000_000_000
    /// Nanoseconds between a trip event and its write, which takes all that came meanwhile: after a crash so much is read
    /// again.
    static let saveTripsAfter: UInt64 = 200_000_000
    /// Drivers in one write. Reason: a job of the writer should not keep a status that is set by hand waiting.
    static let driversPerSave = 1_024
    /// Events without a delivery report; beyond it a driver's events are merged into their newest.
    static let eventsInFlight = 10_000
    /// Nanoseconds between two tries to announce what Kafka refused: doubled from the first up to the second.
    static let announceRetry: (first: UInt64, last: UInt64) = (250_000_000, 5_000_000_000)
    /// Events that are sent after a refusal before the first of them is taken. Reason: a topic that is still missing is not
    /// asked ten thousand times whether it is there.
    static let announcementProbes = 8
    /// Events that wait and are sent in one turn. Reason: about 10 µs each.
    static let announcementsPerTurn = 256
    /// Nanoseconds between two comparisons with the trip service while trip events arrive by Kafka, and while they don't:
    /// then a driver's app hears of a booking by the comparison alone.
    static let reconcileEvery: UInt64 = 60_000_000_000
    static let reconcileAlone: UInt64 = 1_000_000_000
    /// While they don't, a comparison is followed by a pause of at least so many times its own length. Reason: with very
    /// many trips it would take all of both services' time.
    static let reconcileShare: UInt64 = 3
    /// Nanoseconds after a comparison that failed: doubled from the first up to the second.
    static let reconcileRetry: (first: UInt64, last: UInt64) = (1_000_000_000, 5_000_000_000)
    /// Drivers compared in one turn. Reason: each of them may be wrong, and has to be corrected, announced and stored.
    static let driversPerComparison = 256
    /// Nanoseconds that the trip service may take for one page.
    static let reconcileTimeout: UInt64 = 5_000_000_000
    /// Nanoseconds until a failed write of trip events is tried again.
    static let storeRetry: UInt64 = 1_000_000_000
    /// Nanoseconds that a request without a deadline may wait for the database.
    static let requestTimeout: UInt64 = 5_000_000_000
}
