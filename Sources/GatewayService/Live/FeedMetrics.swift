import Telemetry

/// What the feed counts.
struct FeedMetrics {
    let triggers: Counter
    let ignored: Counter
    let unreadable: Counter
    let fetches: Counter
    let exactFetches: Counter
    let failures: Counter
    let failedUnits: Counter
    let units: Gauge
    let drivers: Gauge
    let dirty: Gauge
    let calls: Gauge
    let duration: Histogram

    init() {
        let registry = MetricRegistry.shared
        triggers = registry.counter(
            name: "cabstand_feed_triggers_total", help: "Records of driver_locations that made a list dirty.")
        ignored = registry.counter(
            name: "cabstand_feed_triggers_ignored_total", help: "Records about places that nobody looks at.")
        unreadable = registry.counter(
            name: "cabstand_feed_unreadable_total", help: "Records that are no event and were skipped.")
        let help = "Calls to the driver service for live lists, by what they ask for: tiles, or one view of its own."
        fetches = registry.counter(name: "cabstand_feed_fetches_total", help: help, labels: ["kind": "tiles"])
        exactFetches = registry.counter(name: "cabstand_feed_fetches_total", help: help, labels: ["kind": "view"])
        failures = registry.counter(name: "cabstand_feed_fetch_failures_total", help: "Those that failed.")
        failedUnits = registry.counter(
            name: "cabstand_feed_unit_failures_total",
            help: "Tiles and views of their own that could not be fetched: views over them are stale.")
        units = registry.gauge(
            name: "cabstand_feed_units", help: "Tiles, and views fetched on their own, that somebody looks at.")
        drivers = registry.gauge(name: "cabstand_feed_drivers", help: "Drivers in the feed's tiles.")
        dirty = registry.gauge(name: "cabstand_feed_dirty_units", help: "Tiles and views that wait to be fetched.")
        calls = registry.gauge(name: "cabstand_feed_calls", help: "Calls for live lists under way.")
        duration = registry.histogram(
            name: "cabstand_feed_fetch_seconds", help: "How long calls for live lists take.")
    }
}

/// What one loop's lists count.
struct LoopListMetrics {
    let lists: Counter
    let unchanged: Counter
    let refused: Counter
    let views: Gauge
    let waiting: Gauge
    let frameBytes: Gauge

    init() {
        let registry = MetricRegistry.shared
        lists = registry.counter(name: "cabstand_feed_lists_total", help: "Lists that were made and sent out.")
        unchanged = registry.counter(
            name: "cabstand_feed_lists_unchanged_total",
            help: "Lists that were made, showed the same, and were not sent.")
        refused = registry.counter(
            name: "cabstand_feed_views_refused_total",
            help: "Views that were refused because as many as a loop shows, or as many bytes, were there.")
        views = registry.gauge(
            name: "cabstand_feed_queries", help: "Different areas that are looked at, each counted on every loop.")
        waiting = registry.gauge(
            name: "cabstand_feed_lists_waiting", help: "Views that wait for their turn to have their list made.")
        frameBytes = registry.gauge(
            name: "cabstand_feed_frame_bytes", help: "Bytes of the newest lists, which are kept for who comes next.")
    }
}
