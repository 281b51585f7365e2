import Telemetry

/// Whom a limit holds for.
public enum LimitKind: String, Sendable {
    case principal, address, socket
    /// An address whose client has not said who they are.
    case anonymous
}

/// Numbers that stand for clients, by a secret of the process: nobody can foresee one, or find another client with the same.
public enum ClientDigest {
    /// Beside Swift's own seed, which the environment can fix.
    private static let secret = UInt64.random(in: .min ... .max)

    /// A number that is not 0.
    public static func of(_ client: some Hashable) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(secret)
        hasher.combine(client)
        return max(1, UInt64(bitPattern: Int64(hasher.finalize())))
    }
}

/// What one loop tells of limits. Belongs to its loop.
public final class LimitMetrics {
    /// By class and kind, as they are asked for.
    private var refusals: [LimitClass: [LimitKind: Counter]] = [:]

    public init() {
        refusals[.read] = [.principal: Self.refusal(.read, .principal)]
    }

    /// Counts a refusal.
    public func refused(_ limit: LimitClass, _ kind: LimitKind) {
        let counter = refusals[limit]?[kind] ?? Self.refusal(limit, kind)
        refusals[limit, default: [:]][kind] = counter
        counter.increment()
    }

    private static func refusal(_ limit: LimitClass, _ kind: LimitKind) -> Counter {
        MetricRegistry.shared.counter(
            name: "cabstand_rate_limit_refusals_total", help: "What was refused because a client asked too much.",
            labels: ["class": limit.rawValue, "kind": kind.rawValue])
    }
}
