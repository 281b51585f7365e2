import Bytes
import GRPCRuntime
import HTTPClient
import JSONWire
import Reactor
import RideAPI
import Telemetry

/// Where all simulated drivers sign in, as drivers' apps do. On the loop.
///
///     enrol ────▶ queue ──▶ CreateEnrolment, in the simulator's own name ──▶ POST /auth/driver ──▶ tokens
///     refresh ──▶ queue ──────────────────────────────────────────────────▶ POST /auth/refresh ─▶ tokens
///
/// A few are served at a time, and all of them come from one address, of which others may sign in as well (the page on the same
/// machine): half of what the gateway gives to it stays theirs, and beyond that drivers sign in as fast as it fills again. While
/// the gateway or the driver service is away, or says when to come back, all wait; so nothing is asked more often because there
/// are many drivers.
final class SignInDesk {
    enum Limits {
        /// Sign-ins under way. Reason: as many connections as a client has to one origin; each takes a few milliseconds.
        static let atOnce = 8
        /// What each of the two questions may take.
        static let timeout: Duration = .seconds(5)
        /// Bytes of an answer. Reason: two tokens of some hundred bytes, or a problem.
        static let bytes = 16 << 10
        /// Nanoseconds between two tries while something is away.
        static let retry: (first: UInt64, last: UInt64) = (250_000_000, 5_000_000_000)
        /// Seconds of `Retry-After` that are believed.
        static let retryAfter = 300
    }

    /// How a sign-in ends.
    enum Outcome {
        case tokens(DriverTokens)
        /// The code or the refresh token is good no more, or nobody knows whether it is: another code is needed.
        case refused
        /// There is no such driver any more.
        case gone
    }

    private struct Job {
        let driver: String
        /// nil: by a code.
        let refreshToken: String?
        let done: (Outcome) -> Void
    }

    /// What an answer means for a job.
    private enum Verdict {
        case done(Outcome)
        /// Nothing came of it. Nanoseconds to wait, if the answer says so.
        case later(String, UInt64)
    }

    /// Hears whether the gateway answers: nil, or why not.
    var onState: (_ failure: String?) -> Void = { _ in }

    private let loop: EventLoop
    private let gateway: HTTPOrigin
    private let client: HTTPClient
    private let auth: Auth_V1_AuthServiceClient
    private let logger = Logger(label: "simulator")
    private var logs = LogRateLimit(count: 1, window: 30_000_000_000)
    /// From `next` on they wait.
    private var jobs: [Job] = []
    private var next = 0
    private var underWay = 0
    private var backoff: RetryBackoff
    /// The loop's nanoseconds before which nothing is asked: something failed, or the address has had its share.
    private var pausedUntil: UInt64 = 0
    private var pacedUntil: UInt64 = 0
    private var timer: TimerID?
    private var isClosed = false

    /// - Parameters:
    ///   - client: of the same loop; it is closed with this.
    ///   - auth: calls in the simulator's own name.
    init(loop: EventLoop, gateway: HTTPOrigin, client: HTTPClient, auth: Auth_V1_AuthServiceClient) {
        self.loop = loop
        self.gateway = gateway
        self.client = client
        self.auth = auth
        backoff = RetryBackoff(first: Limits.retry.first, last: Limits.retry.last, seed: loop.randomNumber())
    }

    /// Signs a driver in by a new code.
    func enrol(_ driver: String, _ done: @escaping (Outcome) -> Void) {
        add(Job(driver: driver, refreshToken: nil, done: done))
    }

    /// Changes a refresh token into the next tokens.
    func refresh(_ token: String, of driver: String, _ done: @escaping (Outcome) -> Void) {
        add(Job(driver: driver, refreshToken: token, done: done))
    }

    /// Signs nobody in any more, and tells nobody.
    func close() {
        isClosed = true
        jobs = []
        next = 0
        if let timer { loop.cancel(timer) }
        timer = nil
        client.close()
    }

    // MARK: The queue

    private func add(_ job: Job) {
        if isClosed { return }
        jobs.append(job)
        serve()
    }

    private func serve() {
        while !isClosed, next < jobs.count, underWay < Limits.atOnce {
            let opens = max(pausedUntil, pacedUntil)
            guard loop.now >= opens else { return wait(until: opens) }
            let job = jobs[next]
            next += 1
            if next == jobs.count {
                jobs = []
                next = 0
            }
            underWay += 1
            begin(job)
        }
    }

    private func wait(until instant: UInt64) {
        if timer != nil { return }
        timer = loop.schedule(after: instant - loop.now) { [weak self] in
            self?.timer = nil
            self?.serve()
        }
    }

    private func end(_ job: Job, _ verdict: Verdict) {
        if isClosed { return }
        underWay -= 1
        switch verdict {
        case .done(let outcome):
            if case .tokens = outcome { backoff.succeeded() }
            job.done(outcome)
        case .later(let why, let wait):
            pause(why, wait)
            jobs.append(job)
        }
        serve()
    }

    /// Several that fail at once are one failure.
    private func pause(_ why: String, _ wait: UInt64) {
        let now = loop.now
        if now >= pausedUntil { pausedUntil = now + backoff.failed(at: now) }
        pausedUntil = max(pausedUntil, now + wait)
        guard let held = logs.admit(now: now) else { return }
        logger.warning(
            "simulated drivers can't sign in now; it is tried again",
            metadata: ["gateway": "\(gateway)", "why": why, "held_back": "\(held)"])
    }

    // MARK: One sign-in

    private func begin(_ job: Job) {
        if let token = job.refreshToken { return post(job, "/auth/refresh", "refresh_token", token) }
        let request = Auth_V1_CreateEnrolmentRequest(driverID: job.driver)
        auth.createEnrolment(request, options: CallOptions(timeout: Limits.timeout)) { [weak self] in
            guard let self, !isClosed else { return }
            switch $0 {
            case .success(let answer): post(job, "/auth/driver", "code", answer.code)
            case .failure(let error) where error.code == .notFound: end(job, .done(.gone))
            case .failure(let error): end(job, .later("no code: \(error.code): \(error.message)", 0))
            }
        }
    }

    private func post(_ job: Job, _ path: String, _ member: StaticString, _ value: String) {
        var body = ByteBuffer()
        body.beginJSONObject()
        body.appendJSON(member, string: value)
        body.endJSONObject()
        let request: HTTPClientRequest
        do throws(HTTPClientError) {
            request = try HTTPClientRequest(
                .post, "\(gateway)\(path)", fields: ["Content-Type": "application/json"], body: body.array(),
                timeout: Limits.timeout)
        } catch {
            return end(job, .later("\(error)", 0))
        }
        client.send(request, limit: Limits.bytes) { [weak self] result in
            guard let self, !isClosed else { return }
            end(job, verdict(on: job, result))
        }
    }

    private func verdict(on job: Job, _ result: Result<HTTPClientResponse, HTTPClientError>) -> Verdict {
        switch result {
        case .success(let response):
            if let share = AddressShare(response.fields) { pacedUntil = max(pacedUntil, loop.now + share.wait) }
            switch response.status {
            case 200:
                onState(nil)
                if let tokens = DriverTokens(json: response.body) { return .done(.tokens(tokens)) }
                return uncertain(job, "the answer has no tokens", 0)
            case 401:
                onState(nil)
                return .done(.refused)
            // At the gateway's door: nothing was used up.
            case 429:
                onState(nil)
                return .later("429 to \(response.url.target)", Self.retryAfter(response))
            case let status:
                onState("The gateway answers \(status).")
                return uncertain(job, "\(status) to \(response.url.target)", Self.retryAfter(response))
            }
        case .failure(let error):
            onState("The gateway can't be reached.")
            switch error {
            // It has not left.
            case .badURL, .badRequest, .noTLS, .busy, .unresolved, .unreachable, .timedOut(.waiting):
                return .later("\(error)", 0)
            default: return uncertain(job, "\(error)", 0)
            }
        }
    }

    /// A refresh token that may have been used is not shown again: twice means that somebody has stolen it. A code that may have been
    /// used is replaced by another.
    private func uncertain(_ job: Job, _ why: String, _ wait: UInt64) -> Verdict {
        if job.refreshToken == nil { return .later(why, wait) }
        pause(why, wait)
        return .done(.refused)
    }

    /// Nanoseconds (RFC 9110 §10.2.3); a date counts as nothing, which the back-off makes up for.
    private static func retryAfter(_ response: HTTPClientResponse) -> UInt64 {
        let seconds = response.fields["retry-after"].flatMap { Int($0) } ?? 0
        return UInt64(clamping: min(max(0, seconds), Limits.retryAfter)) * 1_000_000_000
    }
}
