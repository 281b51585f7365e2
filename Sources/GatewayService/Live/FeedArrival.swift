import ProtobufWire
import RideAPI

/// An answer that is read within the turns' budgets, unit by unit.
struct FeedArrival {
    struct Part {
        let unit: FeedUnit
        var fields: DriverFields
        let outcome: Driver_V1_AreaOutcome
        let isTruncated: Bool
        let cause: Int64
        /// When the pace began, should this answer bring nothing new: a trigger does not wait for a poll that nobody saw.
        let previousFetch: UInt64
        /// As far as they are read.
        var drivers: [LiveDriver] = []
        /// The driver of the unit's last snapshot who is expected next.
        var expected = 0
        /// All drivers are read, and are being put into the unit.
        var put: FeedPut?
    }

    var parts: [Part]
    /// The part that is read.
    var next = 0
    let revision: UInt64
    /// Unix milliseconds of the answer's view.
    let asOf: Int64
    let isExact: Bool
    /// What looks different: told when all is read, so that a list's version is not ahead of what it shows.
    var changed: [(unit: FeedUnit, cause: Int64)] = []
}
