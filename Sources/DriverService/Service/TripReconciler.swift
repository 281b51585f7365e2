import Reactor
import RideDomain
import Telemetry

/// Compares the drivers with the trip service's list of trips in progress: at start, every minute, and after events may
/// have been missed. So it becomes right after lost Kafka data, too.
///
/// While trip events do not arrive it stands in for them and compares every second, so that a driver's app hears of a
/// booking all the same. While the trip service is away, too, it waits longer and longer. On the loop.
final class TripReconciler {
    private let loop: EventLoop
    private let book: DriverBook
    private let directory: any TripDirectory
    private let logger = Logger(label: "reconciliation")
    private var task: Task<Void, Never>?
    /// Another comparison is wanted once the one that runs is done.
    private var isWanted = false
    /// Ends the pause between two comparisons; nil: one runs.
    private var wake: (() -> Void)?
    private var backoff = RetryBackoff(first: DriverLimits.reconcileRetry.first, last: DriverLimits.reconcileRetry.last)
    private var failureLogs = LogRateLimit(count: 1, window: 60_000_000_000)
    /// Trip events arrive by themselves.
    private var hasEvents = false
    /// The trip service answered (nil), or why it did not.
    var onAnswer: (String?) -> Void = { _ in }

    init(loop: EventLoop, book: DriverBook, directory: any TripDirectory) {
        self.loop = loop
        self.book = book
        self.directory = directory
    }

    /// Compares for the first time, and goes on until `stop`.
    func start() { task = loop.start { [self] in await work() } }

    func stop() {
        task?.cancel()
        wake?()
    }

    /// Compares now; if it is comparing already, once more afterwards.
    func run() {
        isWanted = true
        wake?()
    }

    /// Whether trip events arrive by themselves, from now on. Compares at once either way: with what was missed before, or
    /// may be from now on.
    func follows(events: Bool) {
        guard hasEvents != events else { return }
        hasEvents = events
        logger.notice(
            events
                ? "trip events arrive; comparing with the trip service once a minute"
                : "trip events may not arrive; comparing with the trip service every second")
        run()
    }

    /// The trip service can be reached (again): a comparison that failed is tried at once.
    func channelIsReady() { if backoff.failures > 0 { wake?() } }

    private func work() async {
        while !Task.isCancelled {
            isWanted = false
            let pause = await compare()
            if isWanted || Task.isCancelled { continue }
            await loop.wait(atMost: .nanoseconds(pause)) { wake = $0 }
            wake = nil
        }
    }

    /// One comparison. Returns the nanoseconds until the next one.
    private func compare() async -> UInt64 {
        let began = loop.now
        do throws(DriverError) {
            let (list, since) = try await fetch()
            onAnswer(nil)
            await book.reconcile(inProgress: list.trips, asOf: list.asOf, epoch: list.epoch, since: since)
            book.metrics.comparisons.increment()
            backoff.succeeded()
            if hasEvents { return DriverLimits.reconcileEvery }
            let length = loop.now > began ? loop.now - began : 0
            let pause = max(DriverLimits.reconcileAlone, min(length, .max / 4) * DriverLimits.reconcileShare)
            return min(pause, DriverLimits.reconcileEvery)
        } catch {
            if Task.isCancelled { return 0 }
            if case .unavailable(let reason) = error {
                if let held = failureLogs.admit(now: loop.now) {
                    logger.warning(
                        "the trip service does not answer", metadata: ["error": reason, "held_back": "\(held)"])
                }
                onAnswer(reason)
            }
            // Who wants another one meanwhile waits like the rest.
            isWanted = false
            return backoff.failed(at: loop.now)
        }
    }

    /// The whole list, of one epoch, and `tripStamp` from before it was asked for.
    private func fetch() async throws(DriverError) -> (list: TripListPage, since: UInt64) {
        while true {
            let since = book.registry.tripStamp
            // What the first page knows of, all pages know of.
            let first = try await directory.inProgress(page: nil)
            var trips = first.trips
            var last = first
            while let next = last.next, last.epoch == first.epoch {
                last = try await directory.inProgress(page: next)
                trips += last.trips
            }
            // Otherwise the database was opened anew between two pages; it may be another copy.
            if last.epoch == first.epoch {
                return (TripListPage(trips: trips, asOf: first.asOf, epoch: first.epoch, next: nil), since)
            }
        }
    }
}
