import HTTP1
import Telemetry

/// Counts and times requests by route. Made on the loop that serves, at start.
final class HTTPMetrics {
    private struct Series {
        let classes: InlineArray<4, Counter>
        let switched: Counter
        let duration: Histogram
    }

    /// One per route, and one for everything else at the end.
    private let series: [Series]
    private let bodies: Gauge
    private let answers: Gauge

    init(_ registry: MetricRegistry, router: Router) {
        func make(_ method: String, _ route: String) -> Series {
            func counter(_ code: String) -> Counter {
                registry.counter(
                    name: "http_requests_total", help: "Answered requests.",
                    labels: ["method": method, "route": route, "code": code])
            }
            return Series(
                classes: [counter("2xx"), counter("3xx"), counter("4xx"), counter("5xx")], switched: counter("101"),
                duration: registry.histogram(
                    name: "http_request_duration_seconds", help: "From dispatch to answer.",
                    labels: ["method": method, "route": route]))
        }
        func held(_ kind: String) -> Gauge {
            registry.gauge(
                name: .own("http_held_bytes"), help: "Memory of bodies that are coming, and of answers that wait.",
                labels: ["kind": kind])
        }
        bodies = held("bodies")
        answers = held("answers")
        series = router.routes.map { make("\($0.method.name)", $0.pattern) } + [make("any", "other")]
    }

    /// - Parameter route: index of the route, negative for none.
    func count(route: Int, status: Int, nanoseconds: UInt64) {
        let index = route < 0 ? series.count - 1 : route
        if status < 200 {
            series[index].switched.increment()
        } else {
            series[index].classes[min(3, status / 100 - 2)].increment()
        }
        series[index].duration.observe(nanoseconds: nanoseconds)
    }

    func holdsBodies(_ change: Int) { if change != 0 { bodies.add(Double(change)) } }
    func holdsAnswers(_ change: Int) { answers.add(Double(change)) }
}
