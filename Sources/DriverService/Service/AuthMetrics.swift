import Telemetry

/// Figures of signing in. Written on the loop.
final class AuthMetrics {
    let sessions = MetricRegistry.shared.gauge(
        name: "cabstand_sessions", help: "Sessions that may be refreshed, as of the last minute.")
    let begun = session("begun")
    let refreshed = session("refreshed")
    let signedOut = session("signed_out")
    let displaced = session("displaced")
    let crowdedOut = session("crowded_out")
    let reused = session("reused")
    let revoked = session("revoked")
    let expired = session("expired")
    let enrolments = enrolment("made")
    let enrolled = enrolment("used")
    let refusedEnrolments = enrolment("refused")
    let tickets = ticket("made")
    let usedTickets = ticket("used")
    let refusedTickets = ticket("refused")
    let refused = MetricRegistry.shared.counter(
        name: "cabstand_refresh_tokens_refused_total",
        help: "Refresh tokens that were unknown or whose session had ended.")

    private static func session(_ event: String) -> Counter {
        MetricRegistry.shared.counter(
            name: "cabstand_sessions_total", help: "What became of sessions.", labels: ["event": event])
    }

    private static func enrolment(_ event: String) -> Counter {
        MetricRegistry.shared.counter(
            name: "cabstand_enrolments_total", help: "What became of drivers' enrolment codes.",
            labels: ["event": event])
    }

    private static func ticket(_ event: String) -> Counter {
        MetricRegistry.shared.counter(
            name: "cabstand_tickets_total", help: "What became of tickets for WebSockets.", labels: ["event": event])
    }
}
