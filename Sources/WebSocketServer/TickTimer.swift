import Reactor

/// A `TickWheel` on a loop: calls `due` for each slot whose second has come. One timer of the loop, armed for the first
/// second that has an entry.
final class TickTimer: TimerHandler {
    private let loop: EventLoop
    private let due: (UInt32) -> Void
    private var wheel = TickWheel()
    /// The last tick whose entries were taken.
    private var taken: UInt64
    /// What is due, taken out of the wheel.
    private var batch: [UInt32] = []
    private var armed: (tick: UInt64, timer: TimerID)?

    private static let second: UInt64 = 1_000_000_000

    init(loop: EventLoop, due: @escaping (UInt32) -> Void) {
        self.loop = loop
        self.due = due
        taken = loop.now / Self.second
    }

    /// Whole seconds of the loop's clock.
    var now: UInt64 { loop.now / Self.second }

    /// Calls `due(slot)` in `seconds` (at most 62), up to one second late and at most 50 ms early: what is set when a tick
    /// fires, a little behind the full second, is due with a tick again. Replaces what was set before.
    func set(_ slot: UInt32, after seconds: Int) {
        if wheel.isEmpty { taken = now }
        let delay = UInt64(min(max(seconds, 0), 62)) * Self.second
        let tick = max((loop.now + delay + Self.second - 50_000_000) / Self.second, taken + 1)
        wheel.set(slot, at: tick)
        if armed.map({ tick < $0.tick }) ?? true { arm(tick) }
    }

    func remove(_ slot: UInt32) {
        wheel.remove(slot)
    }

    override func timerFired(_ payload: UInt64) {
        armed = nil
        let now = now
        while taken < now {
            guard let first = wheel.firstTick(after: taken), first <= now else {
                taken = now
                break
            }
            while let slot = wheel.take(first) { batch.append(slot) }
            taken = first
        }
        // Only now: what is set again must not hang where something late was still to be taken.
        for index in batch.indices { due(batch[index]) }
        batch.removeAll(keepingCapacity: true)
        if let next = wheel.firstTick(after: taken) { arm(next) }
    }

    private func arm(_ tick: UInt64) {
        if let armed {
            guard armed.tick > tick else { return }
            loop.cancel(armed.timer)
        }
        let instant = tick * Self.second
        armed = (tick, loop.schedule(after: instant > loop.now ? instant - loop.now : 0, self, tick))
    }
}
