import Reactor
import RideDomain

/// Who wants to hear of which driver. Thousands are told in portions, a turn each, so that nobody waits for them; whoever comes
/// later in a round hears the newest. On the loop.
final class DriverWatchers {
    struct Token: Hashable {
        fileprivate let slot: Int32
        fileprivate let number: UInt64
    }

    /// Watchers of one driver that are told in one turn. Reason: about 4 µs each.
    private static let portion = 128

    /// The watchers of one driver are being told.
    private struct Round {
        var driver: Driver
        let numbers: [UInt64]
        var next = 0
        /// The driver has changed since it began: those in front of `next` are to be told again.
        var isOld = false
    }

    private let loop: EventLoop
    /// Told a state, why nothing more will come, or nil: the service ends.
    typealias Tell = (Result<Driver, DriverError>?) -> Void

    private var watchers: [Int32: [UInt64: Tell]] = [:]
    private var rounds: [Int32: Round] = [:]
    private var next: UInt64 = 0
    private(set) var count = 0

    init(loop: EventLoop) { self.loop = loop }

    /// Nil: there are too many already. `tell` gets the driver after each change.
    func add(_ slot: Int32, _ tell: @escaping Tell) -> Token? {
        guard count < DriverLimits.watchers else { return nil }
        next += 1
        count += 1
        watchers[slot, default: [:]][next] = tell
        return Token(slot: slot, number: next)
    }

    func remove(_ token: Token) {
        guard watchers[token.slot]?.removeValue(forKey: token.number) != nil else { return }
        count -= 1
        if watchers[token.slot]?.isEmpty == true { watchers[token.slot] = nil }
    }

    func tell(_ slot: Int32, _ driver: Driver) {
        guard let all = watchers[slot] else { return }
        if rounds[slot] != nil {
            rounds[slot]?.driver = driver
            rounds[slot]?.isOld = true
        } else if all.count <= Self.portion {
            for tell in all.values { tell(.success(driver)) }
        } else {
            rounds[slot] = Round(driver: driver, numbers: all.keys.sorted())
            if goOn(slot) { loop.eachTurn { [weak self] in self?.goOn(slot) ?? false } }
        }
    }

    /// The next portion of a round. False: all have been told.
    private func goOn(_ slot: Int32) -> Bool {
        guard let round = rounds[slot] else { return false }
        let end = min(round.next + Self.portion, round.numbers.count)
        rounds[slot]?.next = end
        for number in round.numbers[round.next..<end] { watchers[slot]?[number]?(.success(round.driver)) }
        if end < round.numbers.count { return true }
        guard let newest = rounds.removeValue(forKey: slot), newest.isOld, let all = watchers[slot] else {
            return false
        }
        rounds[slot] = Round(driver: newest.driver, numbers: all.keys.sorted())
        return true
    }

    /// Tells those of one driver why nothing more will come.
    func end(_ slot: Int32, _ error: DriverError) {
        guard let all = watchers.removeValue(forKey: slot) else { return }
        rounds[slot] = nil
        count -= all.count
        let tells = Array(all.values)
        loop.inPortions(below: UInt32(clamping: tells.count)) { tells[Int($0)](.failure(error)) }
    }

    /// Tells everyone that nothing more will come.
    func endAll() {
        let all = watchers.values.flatMap(\.values)
        watchers = [:]
        rounds = [:]
        count = 0
        loop.inPortions(below: UInt32(clamping: all.count)) { all[Int($0)](nil) }
    }
}
