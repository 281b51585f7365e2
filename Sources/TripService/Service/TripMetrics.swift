import Telemetry

/// Figures of the booking rules. Written on the loop.
final class TripMetrics {
    let booked = MetricRegistry.shared.counter(
        name: "cabstand_bookings_total", help: "Requests for a trip that were answered with one.")
    let active = MetricRegistry.shared.gauge(
        name: "cabstand_trips_in_progress", help: "Trips in progress.")
    private var refusals: [String: Counter] = [:]

    init() {
        // From the start: the rate of a series that begins with its first refusal misses that one.
        for code in ["driver-unavailable", "no-driver-available", "backend-unavailable", "backend-timeout"] {
            refusals[code] = Self.counter(code)
        }
    }

    func refused(_ code: String) {
        if let counter = refusals[code] { return counter.increment() }
        let counter = Self.counter(code)
        refusals[code] = counter
        counter.increment()
    }

    private static func counter(_ code: String) -> Counter {
        MetricRegistry.shared.counter(
            name: "cabstand_bookings_refused_total", help: "Requests for a trip that were refused, by problem code.",
            labels: ["code": code])
    }
}
