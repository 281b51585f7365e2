import Telemetry

/// What the feed counts.
struct FeedMetrics {
    let triggers: Counter
    let ignored: Counter
    let unreadable: Counter
    let fetches: Counter
    let failures: Counter
    let lists: Counter
    let unchanged: Counter
    let queries: Gauge
    let drivers: Gauge
    let dirty: Gauge
    let duration: Histogram

    init() {
        let registry = MetricRegistry.shared
        triggers = registry.counter(
            name: "cabstand_feed_triggers_total", help: "Records of driver_locations that made a list dirty.")
        ignored = registry.counter(
            name: "cabstand_feed_triggers_ignored_total", help: "Records about places that nobody looks at.")
        unreadable = registry.counter(
            name: "cabstand_feed_unreadable_total", help: "Records that are no event and were skipped.")
        fetches = registry.counter(
            name: "cabstand_feed_fetches_total", help: "Calls of ListDriversInAreas for live lists.")
        failures = registry.counter(name: "cabstand_feed_fetch_failures_total", help: "Those that failed.")
        lists = registry.counter(name: "cabstand_feed_lists_total", help: "Lists that were made and sent out.")
        unchanged = registry.counter(
            name: "cabstand_feed_lists_unchanged_total",
            help: "Lists that were made, showed the same, and were not sent.")
        queries = registry.gauge(name: "cabstand_feed_queries", help: "Different areas that are looked at.")
        drivers = registry.gauge(name: "cabstand_feed_drivers", help: "Drivers in the feed's cache.")
        dirty = registry.gauge(name: "cabstand_feed_dirty_cells", help: "Cells that wait to be fetched.")
        duration = registry.histogram(
            name: "cabstand_feed_fetch_seconds", help: "How long ListDriversInAreas takes for live lists.")
    }
}
