import GRPCRuntime
import Reactor

/// Whether one simulated driver is signed in, and by which token, as its app keeps it. On the loop.
///
///     signed out ──code──▶ signed in ──some time before the token ends: refresh──▶ signed in, with the next one
///         ▲                    │ a service refuses the token          │ refused, or lost on its way
///         └────── a wait ◀─────┴──────────────────────────────────────┘
///
/// One question is under way at most. An access token that is good stays in use until the next one is there.
final class DriverSession {
    /// Nanoseconds between a refusal and the next code. Reason: a revocation ends what was given out, and an app comes back by a new code;
    /// tokens that are refused over and over again help nobody.
    private static let retry: (first: UInt64, last: UInt64) = (1_000_000_000, 60_000_000_000)
    /// Thousandths of a token's life after which it is refreshed: well before its end, and not all of those that began together at once.
    private static let refreshAfter: (first: UInt64, spread: UInt64) = (600, 200)

    /// Hears of each new token: `metadata` has it.
    var onTokens: () -> Void = {}
    /// Hears that there is no such driver any more. Nothing comes behind it.
    var onGone: () -> Void = {}
    /// What calls say in the driver's name; empty: signed out.
    private(set) var metadata = Metadata()

    private let loop: EventLoop
    private let driver: String
    private let desk: SignInDesk
    private var tokens: DriverTokens?
    private var isAsking = false
    private var isEnded = false
    private var backoff: RetryBackoff
    /// Until the next refresh, or the next code.
    private var timer: TimerID?

    init(loop: EventLoop, driver: String, desk: SignInDesk) {
        self.loop = loop
        self.driver = driver
        self.desk = desk
        backoff = RetryBackoff(first: Self.retry.first, last: Self.retry.last, seed: loop.randomNumber())
    }

    /// Signs in. Once.
    func begin() { enrol() }

    /// A service does not take the token.
    func refused() {
        guard tokens != nil else { return }
        tokens = nil
        metadata = Metadata()
        // Else what is under way brings the next one.
        if !isAsking { enrolLater() }
    }

    /// A service has taken the token: the next refusal is the first of a new row.
    func accepted() { backoff.succeeded() }

    /// Signs in no more.
    func end() {
        isEnded = true
        cancelTimer()
    }

    private func enrol() {
        isAsking = true
        desk.enrol(driver) { [weak self] in self?.answered($0) }
    }

    private func refresh() {
        guard let tokens else { return }
        isAsking = true
        desk.refresh(tokens.refresh, of: driver) { [weak self] in self?.answered($0) }
    }

    private func answered(_ outcome: SignInDesk.Outcome) {
        isAsking = false
        if isEnded { return }
        switch outcome {
        case .tokens(let tokens):
            self.tokens = tokens
            metadata = Metadata()
            metadata.add(.authorization, Array("Bearer \(tokens.access)".utf8))
            let share = Self.refreshAfter.first + loop.randomNumber() % Self.refreshAfter.spread
            schedule(after: tokens.life / 1000 * share) { $0.refresh() }
            onTokens()
        case .refused: enrolLater()
        case .gone:
            end()
            onGone()
        }
    }

    private func enrolLater() {
        schedule(after: backoff.failed(at: loop.now)) { $0.enrol() }
    }

    private func schedule(after wait: UInt64, _ work: @escaping (DriverSession) -> Void) {
        cancelTimer()
        timer = loop.schedule(after: wait) { [weak self] in
            guard let self else { return }
            timer = nil
            work(self)
        }
    }

    private func cancelTimer() {
        if let timer { loop.cancel(timer) }
        timer = nil
    }
}
