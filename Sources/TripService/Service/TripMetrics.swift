import Telemetry

/// Figures of the booking rules. Written on the loop.
final class TripMetrics {
    let booked = MetricRegistry.shared.counter(
        name: "cabstand_bookings_total", help: "Requests for a trip that were answered with one.")
    let active = MetricRegistry.shared.gauge(
        name: "cabstand_trips_in_progress", help: "Trips in progress.")
    private var refusals: [String: Counter] = [:]

    func refused(_ code: String) {
        if let counter = refusals[code] { return counter.increment() }
        let counter = MetricRegistry.shared.counter(
            name: "cabstand_bookings_refused_total", help: "Requests for a trip that were refused, by problem code.",
            labels: ["code": code])
        refusals[code] = counter
        counter.increment()
    }
}
