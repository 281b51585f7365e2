import Reactor

/// What timers of one owner fire at, for as long as the owner lives: it sets `owner` to itself, and to nil when it ends.
///
/// `unowned`, and taken back, instead of `weak`: an object to which there was ever a weak reference pays for each of its
/// retains and releases three times as much, on the path of every message.
final class OwnerTimer<Owner: AnyObject>: TimerHandler {
    unowned var owner: Owner?
    private let fire: (Owner, UInt64) -> Void

    /// - Parameter fire: gets the owner and the payload that was given to `schedule`.
    init(_ fire: @escaping (Owner, UInt64) -> Void) { self.fire = fire }

    override func timerFired(_ payload: UInt64) {
        if let owner { fire(owner, payload) }
    }
}
