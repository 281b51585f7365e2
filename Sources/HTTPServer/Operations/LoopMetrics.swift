import Reactor
import Telemetry

extension MetricRegistry {
    /// Shows what the loops of this process do: one series each, asked at a scrape, so that it costs them nothing.
    ///
    /// - Parameter role: what the loops serve, such as `gateway`.
    public func addLoops(_ loops: [EventLoop], role: String) {
        for (index, loop) in loops.enumerated() {
            let labels: MetricLabels = ["role": role, "loop": "\(index)"]
            sampledCounter(name: "cabstand_loop_turns_total", help: "Turns, which are wake-ups.", labels: labels) {
                Double(loop.statistics.turns)
            }
            sampledGauge(name: "cabstand_loop_connections", help: "Open connections.", labels: labels) {
                Double(loop.statistics.connections)
            }
            sampledGauge(name: "cabstand_loop_timers", help: "Timers that are armed.", labels: labels) {
                Double(loop.statistics.timers)
            }
            sampledGauge(name: "cabstand_loop_queued", help: "Posts and jobs that wait.", labels: labels) {
                Double(loop.statistics.queued)
            }
            sampledGauge(
                name: "cabstand_loop_longest_turn_seconds", help: "The longest turn since the start: the worst lag.",
                labels: labels
            ) { Double(loop.statistics.longestTurn) * 1e-9 }
            sampledCounter(
                name: "cabstand_loop_slow_turns_total", help: "Turns of 16 ms and more, each a lag for everybody.",
                labels: labels
            ) { Double(loop.statistics.turnHistogram.dropFirst(Self.slowBucket).reduce(0, +)) }
        }
    }

    /// Buckets double from 1 µs: number 15 begins at 16 ms.
    private static let slowBucket = 15
}
