import GRPCRuntime
import Reactor
import RideAPI
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
    private let client: Trip_V1_TripServiceClient
    private let logger = Logger(label: "reconciliation")
    private var isRunning = false
    private var isWanted = false
    private var timer: TimerID?
    private var isStopped = false
    private var backoff = RetryBackoff(first: DriverLimits.reconcileRetry.first, last: DriverLimits.reconcileRetry.last)
    private var failureLogs = LogRateLimit(count: 1, window: 60_000_000_000)
    /// Trip events arrive by themselves.
    private var hasEvents = false
    /// The trip service answered (nil), or why it did not.
    var onAnswer: (String?) -> Void = { _ in }

    private struct Round {
        let began: UInt64
        let since: UInt64
        var asOf: UInt64?
        var epoch: UInt64 = 0
        var trips: [TripFact] = []
    }

    init(loop: EventLoop, book: DriverBook, channel: GRPCChannel) {
        self.loop = loop
        self.book = book
        client = Trip_V1_TripServiceClient(channel: channel)
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

    /// Compares now; if it is comparing already, once more afterwards.
    func run() {
        guard !isStopped else { return }
        guard !isRunning else {
            isWanted = true
            return
        }
        isRunning = true
        isWanted = false
        if let timer { loop.cancel(timer) }
        timer = nil
        fetch(Round(began: loop.now, since: book.registry.tripStamp), page: nil)
    }

    /// The trip service can be reached (again): a comparison that failed is tried at once.
    func channelIsReady() { if backoff.failures > 0, !isRunning { run() } }

    func stop() {
        isStopped = true
        if let timer { loop.cancel(timer) }
    }

    private func fetch(_ round: Round, page: String?) {
        let request = Trip_V1_ListTripsRequest(status: .inProgress, pageSize: 100, pageToken: page)
        let options = CallOptions(timeoutNanoseconds: DriverLimits.reconcileTimeout)
        client.listTrips(request, options: options) { [weak self] result in
            guard let self, !isStopped else { return }
            switch result {
            case .success(let response):
                onAnswer(nil)
                var round = round
                // What the first page knows of, all pages know of.
                let epoch = response.epoch ?? 0
                if round.asOf == nil {
                    round.asOf = response.seq
                    round.epoch = epoch
                } else if round.epoch != epoch {
                    // The database was opened anew between two pages; it may be another copy.
                    return fetch(Round(began: round.began, since: book.registry.tripStamp), page: nil)
                }
                round.trips += response.trips.map {
                    TripFact(driverID: $0.driverID, tripID: $0.id, seq: $0.seq, isActive: true, epoch: epoch)
                }
                if let next = response.nextPageToken, !next.isEmpty { return fetch(round, page: next) }
                compare(round)
            case .failure(let error):
                if let held = failureLogs.admit(now: loop.now) {
                    logger.warning(
                        "the trip service does not answer", metadata: ["error": "\(error)", "held_back": "\(held)"])
                }
                onAnswer("The trip service can't be asked: \(error.message)")
                isWanted = false
                again(after: backoff.failed(at: loop.now))
            }
        }
    }

    private func compare(_ round: Round) {
        book.reconcile(
            inProgress: round.trips, asOf: round.asOf ?? 0, epoch: round.epoch, since: round.since
        ) { [weak self] in
            guard let self, !isStopped else { return }
            book.metrics.comparisons.increment()
            backoff.succeeded()
            let length = loop.now > round.began ? loop.now - round.began : 0
            let pause = max(DriverLimits.reconcileAlone, min(length, .max / 4) * DriverLimits.reconcileShare)
            again(after: hasEvents ? DriverLimits.reconcileEvery : min(pause, DriverLimits.reconcileEvery))
        }
    }

    private func again(after delay: UInt64) {
        isRunning = false
        if isWanted { return loop.execute { [weak self] in self?.run() } }
        timer = loop.schedule(after: delay) { [weak self] in self?.run() }
    }
}
