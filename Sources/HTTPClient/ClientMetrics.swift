import Telemetry

/// What the clients of a process count.
final class ClientMetrics {
    private let open = MetricRegistry.shared.gauge(
        name: .own("http_client_connections"), help: "Connections to HTTP servers, those that are being made included.")
    private let waiting = MetricRegistry.shared.gauge(
        name: .own("http_client_waiting"), help: "Requests that wait for a connection.")
    private let held = MetricRegistry.shared.gauge(
        name: .own("http_client_held_bytes"), help: "Bytes of requests' bodies and of responses that are not complete.")
    private var ends: [String: Counter] = [:]

    func setOpen(_ count: Int) { open.set(count) }
    func setWaiting(_ count: Int) { waiting.set(count) }
    func setHeld(_ bytes: Int) { held.set(bytes) }

    /// - Parameter error: nil: a response was received as a whole.
    func ended(_ status: Int, _ error: HTTPClientError?) {
        let outcome = error?.label ?? "\(status / 100)xx"
        if let counter = ends[outcome] { return counter.increment() }
        let counter = MetricRegistry.shared.counter(
            name: .own("http_client_requests_total"), help: "Requests to HTTP servers, by what came of them.",
            labels: ["outcome": outcome])
        ends[outcome] = counter
        counter.increment()
    }
}

extension HTTPClientError {
    /// One of few words.
    fileprivate var label: String {
        switch self {
        case .badURL, .badRequest, .noTLS: "invalid"
        case .busy: "busy"
        case .unresolved, .unreachable: "unreachable"
        case .timedOut: "timeout"
        case .lost: "lost"
        case .malformed, .badContentCoding, .badRedirect: "malformed"
        case .bodyTooLarge: "too_large"
        case .cancelled, .closed: "cancelled"
        }
    }
}
