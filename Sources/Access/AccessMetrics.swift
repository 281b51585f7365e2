import Telemetry

/// What one loop tells of access. They are there from the start, also where nobody is asked.
public final class AccessMetrics {
    let verified: Counter
    let recalled: Counter
    private var refusals: [String: Counter] = [:]

    public init() {
        let registry = MetricRegistry.shared
        verified = registry.counter(
            name: "cabstand_tokens_verified_total", help: "Access tokens whose signature was verified.")
        recalled = registry.counter(
            name: "cabstand_tokens_recalled_total", help: "Access tokens that were known from an earlier request.")
        // Also where no issuer publishes keys.
        _ = FetchMetrics()
        refusals["missing"] = Self.refusal("missing")
    }

    /// Counts a request that is refused; `reason` is one of few words.
    public func refused(_ reason: String) {
        let counter = refusals[reason] ?? Self.refusal(reason)
        refusals[reason] = counter
        counter.increment()
    }

    private static func refusal(_ reason: String) -> Counter {
        MetricRegistry.shared.counter(
            name: "cabstand_auth_refusals_total", help: "Requests refused for want of a good token, or of the right.",
            labels: ["reason": reason])
    }
}
