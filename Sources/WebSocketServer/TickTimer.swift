import Reactor

/// A `TickWheel` on a loop: calls `due` for each slot whose second has come. One timer of the loop, armed for the first
/// second that has an entry.
final class TickTimer: TimerHandler {
    private struct State: ~Copyable {
        var wheel = TickWheel()
        /// The last tick whose entries were taken.
        var taken: UInt64
        /// The tick that the timer is armed for; `UInt64.max` when it is not.
        var armed = UInt64.max
        var timer = TimerID.none
    }

    private let loop: EventLoop
    private let state: Hot<State>
    /// What is due, taken out of the wheel.
    private var batch: [UInt32] = []
    /// Called for each slot whose second has come. Set once, before the first `set`.
    var due: (UInt32) -> Void = { _ in }

    private static let second: UInt64 = 1_000_000_000

    init(loop: EventLoop) {
        self.loop = loop
        state = Hot(State(taken: loop.now / Self.second))
    }

    deinit { state.free() }

    /// Whole seconds of the loop's clock.
    var now: UInt64 { loop.now / Self.second }

    /// The tick that comes in `seconds` (at most 62), up to one second later and at most 50 ms earlier: what is set when a
    /// tick fires, a little behind the full second, is due with a tick again.
    func tick(after seconds: Int) -> UInt64 {
        let delay = UInt64(min(max(seconds, 0), 62)) * Self.second
        return (loop.now + delay + Self.second - 50_000_000) / Self.second
    }

    /// Calls `due(slot)` in `seconds`. Replaces what was set before.
    func set(_ slot: UInt32, after seconds: Int) {
        set(slot, at: tick(after: seconds))
    }

    /// Calls `due(slot)` with `tick`. Replaces what was set before.
    func set(_ slot: UInt32, at tick: UInt64) {
        if state.value.wheel.isEmpty { state.value.taken = now }
        let tick = max(tick, state.value.taken + 1)
        state.value.wheel.set(slot, at: tick)
        if tick < state.value.armed { arm(tick) }
    }

    func remove(_ slot: UInt32) {
        state.value.wheel.remove(slot)
    }

    override func timerFired(_ payload: UInt64) {
        state.value.armed = .max
        let now = now
        while state.value.taken < now {
            guard let first = state.value.wheel.firstTick(after: state.value.taken), first <= now else {
                state.value.taken = now
                break
            }
            while let slot = state.value.wheel.take(first) { batch.append(slot) }
            state.value.taken = first
        }
        // Only now: what is set again must not hang where something late was still to be taken.
        for index in batch.indices { due(batch[index]) }
        batch.removeAll(keepingCapacity: true)
        if let next = state.value.wheel.firstTick(after: state.value.taken), next < state.value.armed { arm(next) }
    }

    private func arm(_ tick: UInt64) {
        if state.value.armed != .max { loop.cancel(state.value.timer) }
        let instant = tick * Self.second
        state.value.armed = tick
        state.value.timer = loop.schedule(after: instant > loop.now ? instant - loop.now : 0, self, tick)
    }
}
