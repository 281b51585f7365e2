import Memory
import Reactor

/// A `TickWheel` on a loop: calls `due` for each connection whose second has come, at most `perTurn` of them in one turn.
/// One timer of the loop, armed for the first second that has an entry.
final class TickTimer: TimerHandler {
    private struct State: ~Copyable {
        var wheel = TickWheel()
        /// The last tick whose entries were all taken.
        var taken: UInt64
        /// The tick that the timer is armed for; `UInt64.max` when it is not.
        var armed = UInt64.max
        var timer = TimerID.none
        /// `due` is being called: what is set meanwhile hangs behind the tick that is taken.
        var isFiring = false
    }

    private let loop: EventLoop
    private let state: Cell<State>
    /// Called for each connection whose second has come. Set once, before the first `set`. Its owner holds this timer, and calls
    /// `stop` when it ends.
    var due: (WebSocketID) -> Void = { _ in }

    private static let second: UInt64 = 1_000_000_000
    /// Connections that came back together (a restart, a network that was away) are due together: so many in one turn take
    /// less than a millisecond, and nobody else waits for the rest.
    static let perTurn = 512

    init(loop: EventLoop) {
        self.loop = loop
        state = Cell(State(taken: loop.now / Self.second))
    }

    /// Whole seconds of the loop's clock.
    var now: UInt64 { loop.now / Self.second }

    /// The tick that comes in `seconds` (at most 62), up to one second later and at most 50 ms earlier: what is set when a
    /// tick fires, a little behind the full second, is due with a tick again.
    func tick(after seconds: Int) -> UInt64 {
        let delay = UInt64(min(max(seconds, 0), 62)) * Self.second
        return (loop.now + delay + Self.second - 50_000_000) / Self.second
    }

    /// Calls `due(id)` in `seconds`. Replaces what was set before.
    func set(_ id: WebSocketID, after seconds: Int) {
        set(id, at: tick(after: seconds))
    }

    /// Calls `due(id)` with `tick`. Replaces what was set before.
    func set(_ id: WebSocketID, at tick: UInt64) {
        if state.value.wheel.isEmpty { state.value.taken = now }
        // While something late is still to be taken, the wheel reaches less far: nothing new may hang where that does.
        let earliest = state.value.isFiring ? now + 1 : state.value.taken + 1
        let tick = min(max(tick, earliest), state.value.taken + TickWheel.longest)
        state.value.wheel.set(id, at: tick)
        if tick < state.value.armed { arm(at: tick) }
    }

    /// Tells nobody from now on.
    func stop() { due = { _ in } }

    func remove(_ id: WebSocketID) {
        state.value.wheel.remove(id)
    }

    override func timerFired(_ payload: UInt64) {
        state.value.armed = .max
        state.value.isFiring = true
        defer { state.value.isFiring = false }
        let now = now
        var budget = Self.perTurn
        while let first = state.value.wheel.firstTick(after: state.value.taken), first <= now {
            while let id = state.value.wheel.take(first) {
                due(id)
                budget -= 1
                guard budget > 0 else { return arm(at: first) }
            }
            state.value.taken = first
        }
        state.value.taken = max(state.value.taken, now)
        if let next = state.value.wheel.firstTick(after: state.value.taken), next < state.value.armed { arm(at: next) }
    }

    /// A tick that has come already is served in the next turn.
    private func arm(at tick: UInt64) {
        if state.value.armed != .max { loop.cancel(state.value.timer) }
        let instant = tick * Self.second
        state.value.armed = tick
        state.value.timer = loop.schedule(after: instant > loop.now ? instant - loop.now : 0, self, tick)
    }
}
