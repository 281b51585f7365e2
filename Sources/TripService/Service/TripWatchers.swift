import Reactor
import RideDomain

/// Who wants to hear of which trip. Thousands are told in portions, a turn each, so that nobody waits for them. On the loop.
final class TripWatchers {
    struct Token: Hashable {
        fileprivate let tripID: String
        fileprivate let number: UInt64
    }

    private struct Watcher {
        /// The newest change that was told.
        var seq: UInt64 = 0
        let tell: (Result<Trip, TripError>?) -> Void
    }

    /// Watchers of one change that are told in one turn. Reason: about 5 µs each, and changes may follow each other.
    private static let portion: UInt32 = 64

    private let loop: EventLoop
    private var watchers: [String: [UInt64: Watcher]] = [:]
    private var next: UInt64 = 0
    private(set) var count = 0

    init(loop: EventLoop) { self.loop = loop }

    /// Nil: there are too many already. `tell` gets nil after the trip has ended, and nothing more.
    func add(_ tripID: String, _ tell: @escaping (Result<Trip, TripError>?) -> Void) -> Token? {
        guard count < TripLimits.watchers else { return nil }
        next += 1
        count += 1
        watchers[tripID, default: [:]][next] = Watcher(tell: tell)
        return Token(tripID: tripID, number: next)
    }

    func remove(_ token: Token) {
        guard watchers[token.tripID]?.removeValue(forKey: token.number) != nil else { return }
        count -= 1
        if watchers[token.tripID]?.isEmpty == true { watchers[token.tripID] = nil }
    }

    func tell(_ trip: Trip) {
        guard let all = watchers[trip.id] else { return }
        // Who is told later has heard nothing newer: of two changes the first is always ahead.
        let numbers = all.keys.sorted()
        loop.inPortions(of: Self.portion, below: UInt32(clamping: numbers.count)) { [weak self] in
            self?.tell(trip, only: Token(tripID: trip.id, number: numbers[Int($0)]))
        }
    }

    func tell(_ trip: Trip, only token: Token) {
        guard var watcher = watchers[token.tripID]?[token.number], trip.seq > watcher.seq else { return }
        watcher.seq = trip.seq
        watchers[token.tripID]?[token.number] = watcher
        watcher.tell(.success(trip))
        guard trip.status.isEnded else { return }
        remove(token)
        watcher.tell(nil)
    }

    func failAll(_ error: TripError) {
        let all = watchers.flatMap { tripID, all in all.keys.map { Token(tripID: tripID, number: $0) } }
        loop.inPortions(of: Self.portion, below: UInt32(clamping: all.count)) { [weak self] in
            self?.fail(all[Int($0)], error)
        }
    }

    func fail(_ token: Token, _ error: TripError) {
        guard let watcher = watchers[token.tripID]?[token.number] else { return }
        remove(token)
        watcher.tell(.failure(error))
    }
}
