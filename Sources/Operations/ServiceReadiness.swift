import Bytes
import JSONWire
import Reactor
import Synchronization
import Telemetry

/// What `/readyz` says of a process: which of its dependencies answer, and whether it takes requests.
///
/// 503 only while starting (each dependency answered once, or 30 s, and there was once what is required), while draining, or when a loop has not turned for
/// 5 s; a dependency that is away afterwards is `degraded`, because taking every replica out of service helps nobody.
/// Thread-safe.
public final class ServiceReadiness: Sendable {
    /// Nanoseconds after which a process counts as started, whoever has not answered.
    public static let startTimeout: UInt64 = 30_000_000_000
    /// Nanoseconds without a turn after which a loop counts as stuck.
    public static let stallTimeout: UInt64 = 5_000_000_000

    public enum Check: Sendable, Hashable {
        /// It has not answered yet.
        case unknown
        case ok
        /// With the reason.
        case failing(String)
    }

    private struct State {
        /// Checks of other services of this process: shown, and never what a start waits for.
        var shown: [(name: String, check: String, service: ServiceReadiness)] = []
        var checks: [(name: String, check: Check)]
        /// Required checks that were never ok.
        var lacking: Set<String>
        /// Set when every dependency has answered once; stays.
        var hasStarted = false
        var isDraining = false
        /// When each loop was last asked for a turn that has not come yet; 0: nothing is asked.
        var askedAt: [UInt64]
    }

    private let loops: [EventLoop]
    private let began: UInt64
    private let state: Mutex<State>

    /// - Parameters:
    ///   - loops: whose turning is watched.
    ///   - dependencies: the names of the checks.
    ///   - required: those of them that must have been ok once, however long it takes.
    ///   - now: monotonic nanoseconds.
    public init(loops: [EventLoop], dependencies: [String], required: Set<String> = [], now: UInt64) {
        self.loops = loops
        began = now
        state = Mutex(
            State(
                checks: dependencies.map { ($0, .unknown) }, lacking: required,
                askedAt: [UInt64](repeating: 0, count: loops.count)))
    }

    /// Shows what `/readyz` says as metrics, asked at each scrape.
    ///
    /// - Parameter role: of the service, such as `gateway`.
    public func install(in registry: MetricRegistry = .shared, role: String) {
        guard let clock = loops.first else { return }
        registry.sampledGauge(
            name: .own("ready"), help: "1 while the service takes requests: what /readyz says.",
            labels: ["role": role]
        ) { self.report(now: clock.preciseNow()).isReady ? 1 : 0 }
        for name in state.withLock({ $0.checks.map(\.name) }) {
            registry.sampledGauge(
                name: .own("dependency_up"), help: "1 while the service's dependency answers: a check of /readyz.",
                labels: ["role": role, "dependency": name]
            ) { self.state.withLock { $0.checks.first { $0.name == name }?.check == .ok ? 1 : 0 } }
        }
    }

    public func set(_ name: String, _ check: Check) {
        state.withLock { state in
            guard let index = state.checks.firstIndex(where: { $0.name == name }) else { return }
            // What answered once has answered: going back to unknown is no news.
            if check == .unknown { return }
            state.checks[index].check = check
            if check == .ok { state.lacking.remove(name) }
            if state.checks.allSatisfy({ $0.check == .ok }) { state.hasStarted = true }
        }
    }

    /// Shows a check of another service in this process as well, under a name of its own: that one has no page.
    public func show(_ check: String, of service: ServiceReadiness, as name: String) {
        state.withLock { $0.shown.append((name, check, service)) }
    }

    private func check(_ name: String) -> Check {
        state.withLock { $0.checks.first { $0.name == name }?.check } ?? .unknown
    }

    /// From now on 503.
    public func drain() { state.withLock { $0.isDraining = true } }

    /// What is to be answered now.
    public struct Report: Sendable {
        /// `ok`, `degraded`, `starting`, `draining` or `stalled`.
        public let status: StaticString
        public let checks: [(name: String, check: Check)]
        /// Whether it takes requests: 200, else 503.
        public let isReady: Bool
    }

    /// - Parameter now: monotonic nanoseconds.
    public func report(now: UInt64) -> Report {
        let stalled = probe(now)
        // Not under the lock: each has its own.
        let shown = state.withLock { $0.shown }.map { (name: $0.name, check: $0.service.check($0.check)) }
        return state.withLock { state in
            if now >= began, now - began >= Self.startTimeout, state.lacking.isEmpty { state.hasStarted = true }
            let checks = state.checks + shown
            let allAnswer = checks.allSatisfy { $0.check == .ok }
            let status: StaticString =
                if state.isDraining { "draining" } else if !state.hasStarted { "starting" } else if stalled {
                    "stalled"
                } else if allAnswer { "ok" } else { "degraded" }
            let isReady = !state.isDraining && state.hasStarted && !stalled
            return Report(status: status, checks: checks, isReady: isReady)
        }
    }

    /// Asks every loop for a turn, and tells whether one owes an answer for too long. An idle loop is not woken for it
    /// by any timer, only by whoever asks.
    private func probe(_ now: UInt64) -> Bool {
        let (stalled, due) = state.withLock { state in
            var due: [Int] = []
            var stalled = false
            for index in state.askedAt.indices {
                if state.askedAt[index] == 0 {
                    state.askedAt[index] = max(1, now)
                    due.append(index)
                } else if now > state.askedAt[index], now - state.askedAt[index] > Self.stallTimeout {
                    stalled = true
                }
            }
            return (stalled, due)
        }
        for index in due {
            loops[index].submit { [self] in state.withLock { $0.askedAt[index] = 0 } }
        }
        return stalled
    }
}
