import Basics
import Telemetry

/// Whom a limit holds for.
public enum LimitKind: String, Sendable {
    case principal, address, socket
    /// An address whose client has not said who they are.
    case anonymous

    /// Of four.
    fileprivate var number: UInt64 {
        switch self {
        case .principal: 0
        case .address: 1
        case .socket: 2
        case .anonymous: 3
        }
    }
}

extension LimitClass {
    fileprivate var number: UInt64 {
        switch self {
        case .booking: 0
        case .read: 1
        case .write: 2
        case .connect: 3
        case .uplink: 4
        case .view: 5
        case .token: 6
        }
    }

    /// What whoever asks too much is told.
    ///
    /// - Parameters:
    ///   - who: with a verb: `You ask`.
    ///   - wait: with a unit: `3 s`.
    public func excess(of who: String, wait: String) -> String {
        "\(who) for more than is given to one in the class \(rawValue); try again in \(wait)."
    }
}

extension RateTable {
    /// Takes one of a class for a client. A client's classes are apart from each other, and in other buckets.
    ///
    /// - Parameters:
    ///   - client: a `ClientDigest`.
    ///   - now: monotonic nanoseconds.
    public func take(
        _ limit: LimitClass, _ kind: LimitKind, _ client: UInt64, _ quota: RateQuota, now: UInt64
    ) -> RateDecision {
        var mixer = SplitMix(seed: client &+ limit.number &* 4 &+ kind.number)
        return take(mixer.next(), quota, now: now)
    }
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
