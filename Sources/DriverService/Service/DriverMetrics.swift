import RideDomain
import Telemetry

/// Figures of what is announced. Written on the loop.
final class DriverAnnouncerMetrics {
    let events = MetricRegistry.shared.counter(
        name: "cabstand_driver_events_total", help: "Events about drivers that were handed to Kafka.")
    let mergedEvents = MetricRegistry.shared.counter(
        name: "cabstand_driver_events_merged_total",
        help: "Events about drivers that were merged into the driver's newest one because Kafka was slow or away.")
    let refused = MetricRegistry.shared.counter(
        name: "cabstand_driver_events_refused_total",
        help: "Events about drivers that Kafka refused: the driver's newest state is sent again after a back-off.")
    let backlog = MetricRegistry.shared.gauge(
        name: "cabstand_driver_events_waiting", help: "Drivers whose newest event was not handed to Kafka yet.")
}

/// Figures of the driver service. Written on the loop.
final class DriverMetrics {
    let drivers = MetricRegistry.shared.gauge(name: "cabstand_drivers", help: "Drivers that are registered.")
    let available = MetricRegistry.shared.gauge(
        name: "cabstand_drivers_available", help: "Drivers that can be booked.")
    let expired = MetricRegistry.shared.counter(
        name: "cabstand_drivers_expired_total", help: "Drivers that streamed and fell silent.")
    let watchers = MetricRegistry.shared.gauge(name: "cabstand_driver_watchers", help: "Streams that watch a driver.")
    let unreadableEvents = MetricRegistry.shared.counter(
        name: "cabstand_trip_events_unreadable_total", help: "Trip events that could not be read and were skipped.")
    let staleTripEvents = MetricRegistry.shared.counter(
        name: "cabstand_trip_events_old_total", help: "Trip events that were not newer than what was known.")
    let tripEvents = MetricRegistry.shared.counter(
        name: "cabstand_trip_events_total", help: "Trip events that were taken over.")
    let corrected = MetricRegistry.shared.counter(
        name: "cabstand_drivers_corrected_total",
        help: "Drivers whose active trip was wrong when compared with the trip service.")
    let comparisons = MetricRegistry.shared.counter(
        name: "cabstand_trip_comparisons_total",
        help: "Comparisons of all drivers with the trip service's list: every minute, every second while Kafka is away."
    )
    private let accepted = MetricRegistry.shared.counter(
        name: "cabstand_positions_total", help: "Positions that drivers reported, by what became of them.",
        labels: ["outcome": "accepted"])
    private let dropped: [LocationDrop: Counter] = Dictionary(
        uniqueKeysWithValues: LocationDrop.allCases.map { drop in
            (
                drop,
                MetricRegistry.shared.counter(
                    name: "cabstand_positions_total", help: "Positions that drivers reported, by what became of them.",
                    labels: ["outcome": drop.rawValue])
            )
        })

    func position(_ drop: LocationDrop?) {
        if let drop { dropped[drop]?.increment() } else { accepted.increment() }
    }
}
