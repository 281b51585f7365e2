import RideDomain

/// Who watches which driver. On the loop.
final class DriverWatchers {
    struct Token: Hashable {
        fileprivate let slot: Int32
        fileprivate let number: UInt64
    }

    private var watchers: [Int32: [UInt64: (Driver?) -> Void]] = [:]
    private var next: UInt64 = 0
    private(set) var count = 0

    /// Nil: there are too many already. `tell` gets the driver after each change, and nil when the service ends.
    func add(_ slot: Int32, _ tell: @escaping (Driver?) -> Void) -> Token? {
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
        for tell in all.values { tell(driver) }
    }

    /// Tells everyone that nothing more will come.
    func endAll() {
        let all = watchers
        watchers = [:]
        count = 0
        for group in all.values { for tell in group.values { tell(nil) } }
    }
}
