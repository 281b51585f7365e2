import GRPCRuntime
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// Compares the drivers with the trip service's list of trips in progress: at start, every minute, and after events may
/// have been missed. So it becomes right after lost Kafka data, too. On the loop.
final class TripReconciler {
    private let loop: EventLoop
    private let book: DriverBook
    private let client: Trip_V1_TripServiceClient
    private let logger = Logger(label: "reconciliation")
    private var isRunning = false
    private var isWanted = false
    private var timer: TimerID?
    private var isStopped = false
    /// The trip service answered (nil), or why it did not.
    var onAnswer: (String?) -> Void = { _ in }

    private struct Round {
        let newestBefore: UInt64
        var asOf: UInt64?
        var epoch: UInt64 = 0
        var trips: [TripFact] = []
    }

    init(loop: EventLoop, book: DriverBook, channel: GRPCChannel) {
        self.loop = loop
        self.book = book
        client = Trip_V1_TripServiceClient(channel: channel)
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
        fetch(Round(newestBefore: book.registry.newestTripSeq), page: nil)
    }

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
                    return fetch(Round(newestBefore: book.registry.newestTripSeq), page: nil)
                }
                round.trips += response.trips.map {
                    TripFact(driverID: $0.driverID, tripID: $0.id, seq: $0.seq, isActive: true, epoch: epoch)
                }
                if let next = response.nextPageToken, !next.isEmpty { return fetch(round, page: next) }
                book.reconcile(
                    inProgress: round.trips, asOf: round.asOf ?? 0, epoch: round.epoch,
                    newestBefore: round.newestBefore)
                again(after: DriverLimits.reconcileEvery)
            case .failure(let error):
                logger.debug("the trip service does not answer", metadata: ["error": "\(error)"])
                onAnswer("The trip service can't be asked: \(error.message)")
                again(after: DriverLimits.reconcileRetry)
            }
        }
    }

    private func again(after delay: UInt64) {
        isRunning = false
        if isWanted { return loop.execute { [weak self] in self?.run() } }
        timer = loop.schedule(after: delay) { [weak self] in self?.run() }
    }
}
