import Reactor
import Telemetry

extension MetricRegistry {
    /// Shows what the loops of this process do: one series each, asked at a scrape, so that it costs them nothing.
    ///
    /// - Parameter role: what the loops serve, such as `gateway`.
    public func addLoops(_ loops: [EventLoop], role: String) {
        for (index, loop) in loops.enumerated() {
            let labels: MetricLabels = ["role": role, "loop": "\(index)"]
            sampledCounter(name: .own("loop_turns_total"), help: "Turns, which are wake-ups.", labels: labels) {
                Double(loop.statistics.turns)
            }
            sampledGauge(name: .own("loop_connections"), help: "Open connections.", labels: labels) {
                Double(loop.statistics.connections)
            }
            sampledCounter(
                name: .own("tls_handshakes_failed_total"),
                help: "Accepted connections whose TLS handshake failed, timed out or was given up.", labels: labels
            ) { Double(loop.statistics.handshakesFailed) }
            sampledGauge(name: .own("loop_timers"), help: "Timers that are armed.", labels: labels) {
                Double(loop.statistics.timers)
            }
            sampledGauge(name: .own("loop_queued"), help: "Posts and jobs that wait.", labels: labels) {
                Double(loop.statistics.queued)
            }
            sampledGauge(
                name: .own("loop_longest_turn_seconds"), help: "The longest turn since the start: the worst lag.",
                labels: labels
            ) { Double(loop.statistics.longestTurn) * 1e-9 }
            sampledHistogram(
                name: .own("loop_turn_seconds"),
                help: "How long a turn takes, which is how long everybody else waits.",
                labels: labels, bounds: Self.shown.map { Double(LoopStatistics.turnHistogramBound($0)) * 1e-9 }
            ) {
                let statistics = loop.statistics
                return (Self.merged(statistics.turnHistogram), Double(statistics.turnTime) * 1e-9)
            }
        }
    }

    /// The loop's buckets that are shown, from 66 µs to 268 ms: shorter turns are all fine, and each costs a series.
    private static let shown = 6...(LoopStatistics.turnHistogramBuckets - 2)

    private static func merged(_ buckets: [UInt64]) -> [UInt64] {
        [buckets[...shown.lowerBound].reduce(0, +)] + buckets[(shown.lowerBound + 1)...]
    }
}
