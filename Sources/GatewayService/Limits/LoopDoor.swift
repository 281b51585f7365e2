import Access
import Basics
import HTTPServer
import Operations
import Reactor
import Telemetry

/// Who may connect to one loop of the gateway, and open a WebSocket there. Belongs to its loop.
final class LoopDoor: ConnectionGate {
    private let loop: EventLoop
    private let counts: ConnectionCounts?
    private let limits: LoopLimits?
    private let metrics: DoorMetrics
    /// Reverse proxies, which connect for many.
    private let proxies: TrustedProxies
    /// Whoever scans ports is not to fill the log.
    private var lines = RateLimit(burst: 5, interval: .seconds(60))

    init(
        loop: EventLoop, counts: ConnectionCounts?, limits: LoopLimits?, proxies: TrustedProxies = .init(),
        metrics: DoorMetrics = DoorMetrics()
    ) {
        self.loop = loop
        self.proxies = proxies
        self.counts = counts
        self.limits = limits
        self.metrics = metrics
    }

    // MARK: Connections

    func admits(_ client: SocketAddress) -> Bool {
        // A reverse proxy that is trusted speaks for everybody: its own address would be one crowd. With the PROXY protocol
        // `client` is whom it speaks for, and is counted.
        let isProxy = proxies.isTrusted(client)
        guard isProxy || limits?.admits(client) ?? true else { return false }
        guard let reason = counts?.enter(client, isCrowd: isProxy) else { return true }
        metrics.refused(reason.rawValue)
        return false
    }

    func ended(_ client: SocketAddress, mark: UInt64) {
        counts?.leave(client)
        if mark != 0 { counts?.leave(principal: mark) }
    }

    func refusedProxy(_ peer: SocketAddress?, _ failure: ProxyHeader.Failure?) {
        metrics.refused("proxy")
        guard lines.take(now: loop.now) else { return }
        Logger(label: "door").warning(
            "a connection is refused: its proxy does not say whom it speaks for",
            metadata: [
                "peer": peer.map { "\($0)" } ?? "gone",
                "why": failure.map { "PROXY header: \($0.rawValue)" } ?? "not trusted, or nothing in time",
            ])
    }

    // MARK: WebSockets

    /// Whether a principal may have one more WebSocket, which this connection is to be. It is counted until the connection ends.
    ///
    /// - Throws: 429.
    func enter(_ principal: Principal, _ id: ConnectionID) throws(Problem) {
        guard let counts, loop.mark(id) == 0 else { return }
        let digest = principal.digest
        guard counts.enter(principal: digest, isOperator: principal.isOperator) else {
            metrics.refused(ConnectionLimits.Count.principal.rawValue)
            throw Problem(
                429, "rate-limited", "You have as many WebSockets open as one may; close one of them.",
                fields: ["Retry-After": "60"])
        }
        loop.setMark(id, digest)
    }
}

/// What one loop tells of connections that it refused.
final class DoorMetrics {
    private var refusals: [String: Counter] = [:]

    init() { refusals["all"] = Self.refusal("all") }

    func refused(_ reason: String) {
        let counter = refusals[reason] ?? Self.refusal(reason)
        refusals[reason] = counter
        counter.increment()
    }

    private static func refusal(_ reason: String) -> Counter {
        MetricRegistry.shared.counter(
            name: "cabstand_connections_refused_total", help: "Connections refused, and WebSockets of principals.",
            labels: ["reason": reason])
    }
}
