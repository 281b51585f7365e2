import Reactor
import Telemetry

/// Whether a database can be used, as whoever uses it on one loop finds out: the reason in the log (at a bounded rate) and for
/// `/readyz`, and the news that it works again, which a probe brings when nobody else writes.
///
///     works ──a job fails──▶ failing ──probe each second, writing──▶ works
///       └─look every 5 s: is the file still there?
///
/// On the loop.
public final class DatabaseHealth {
    public enum Limits {
        /// Nanoseconds between two probes of a database that fails.
        static let probeInterval: UInt64 = 1_000_000_000
        /// Nanoseconds between two looks at one that works: it costs a round to its thread, nothing on the disk.
        static let lookInterval: UInt64 = 5_000_000_000
    }

    /// What a probe does: a job of the writer, with a write that changes nothing or without any.
    public typealias Probe = (_ writing: Bool) async throws(StorageError) -> Void

    /// The reason in an operator's words, when it fails; nil, when it works again.
    public var onChange: (String?) -> Void = { _ in }
    public private(set) var isFailing = false

    private let loop: EventLoop
    private let probe: Probe
    private let logger: Logger
    private var logs = LogRateLimit()
    private var timer: TimerID?
    private var isStopped = false

    public init(loop: EventLoop, logger: Logger, probe: @escaping Probe) {
        self.loop = loop
        self.logger = logger
        self.probe = probe
        schedule()
    }

    /// A job failed. What says nothing about the database (a deadline, a refusal) changes nothing.
    public func failed(_ error: StorageError) {
        let (reason, detail): (String, String)
        switch error {
        case .unavailable(let words, let log), .corrupt(let words, let log): (reason, detail) = (words, log)
        case .deadlineExceeded, .cancelled, .refused: return
        }
        if let held = logs.admit(now: loop.now) {
            logger.error("the database fails", metadata: ["reason": reason, "error": detail, "held_back": "\(held)"])
        }
        onChange(reason)
        guard !isFailing else { return }
        isFailing = true
        schedule()
    }

    /// No more probes, and no news of one that is under way: the database is about to be closed.
    public func stop() {
        isStopped = true
        cancelTimer()
    }

    private func cancelTimer() {
        if let timer { loop.cancel(timer) }
        timer = nil
    }

    private func schedule() {
        cancelTimer()
        if isStopped { return }
        timer = loop.schedule(after: isFailing ? Limits.probeInterval : Limits.lookInterval) { [weak self] in
            guard let self else { return }
            timer = nil
            loop.start { [weak self] in await self?.look() }
        }
    }

    private func look() async {
        do throws(StorageError) {
            try await probe(isFailing)
            if isFailing && !isStopped {
                isFailing = false
                logger.notice("the database works again")
                onChange(nil)
            }
        } catch {
            if !isStopped { failed(error) }
        }
        if timer == nil { schedule() }
    }
}
