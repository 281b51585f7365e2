import Basics
import Operations
import Reactor
import Telemetry

/// How much everybody may ask of this gateway, and what they have asked already: one for all its loops, since a client's
/// connections land on any of them. Of several gateways each counts for itself.
///
/// A client is a principal, and counts by its name; whoever has not said who they are is an address. An address as a whole may
/// ask `LimitPolicy.crowdFactor` times as much as one client, since there may be a street of phones behind it.
///
/// Thread-safe.
final class ClientLimits: Sendable {
    enum Limits {
        /// Clients that are remembered at once, each in each class: 16 MiB at most, and what nobody has used costs nothing.
        static let keys = 1 << 20
    }

    private let policies: [LimitClass: LimitPolicy]
    let table = RateTable(capacity: Limits.keys)

    init(_ policies: [LimitClass: LimitPolicy]) { self.policies = policies }

    /// Adds what a scrape is told of these limits.
    static func tell(of limits: ClientLimits?) {
        let registry = MetricRegistry.shared
        registry.sampledGauge(
            name: "cabstand_rate_limit_keys",
            help: "Clients that are remembered because of what they have asked, about."
        ) { limits.map { Double($0.table.indebted(now: SystemClock.monotonicNanoseconds())) } ?? 0 }
        registry.sampledCounter(
            name: "cabstand_rate_limit_forgiven_total", help: "Clients that were forgotten too early, for want of room."
        ) { limits.map { Double($0.table.forgiven) } ?? 0 }
    }

    /// What holds of a class; nil: nothing.
    func policy(_ limit: LimitClass) -> LimitPolicy? { policies[limit] }
}
