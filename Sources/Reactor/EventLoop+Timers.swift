import Basics
import Memory

extension UInt64 {
    /// The instant so many nanoseconds after this one; one that never comes, and not one in the past, if there is no such
    /// number.
    @inline(__always)
    func later(by span: UInt64) -> UInt64 {
        let (instant, isBeyond) = addingReportingOverflow(span)
        return isBeyond ? .max : instant
    }
}

extension EventLoop {
    /// Runs `work` once, so long after the beginning of this turn. Never early.
    @discardableResult
    public func schedule(after delay: Duration, _ work: @escaping () -> Void) -> TimerID {
        schedule(after: delay.nanoseconds, work)
    }

    /// Runs `work` every `interval`, first after one. Beats that were missed are left out.
    @discardableResult
    public func schedule(every interval: Duration, _ work: @escaping () -> Void) -> TimerID {
        schedule(every: interval.nanoseconds, work)
    }

    /// Runs `work` once, `delay` nanoseconds from the beginning of this turn. Never early.
    @discardableResult
    public func schedule(after delay: UInt64, _ work: @escaping () -> Void) -> TimerID {
        hot.value.timers.arm(at: timerBase.later(by: delay), .once(work))
    }

    /// Runs `work` every `interval` nanoseconds (at least 1), first after one interval. Beats that were missed are left out.
    @discardableResult
    public func schedule(every interval: UInt64, _ work: @escaping () -> Void) -> TimerID {
        hot.value.timers.arm(at: timerBase.later(by: max(1, interval)), .every(max(1, interval), work))
    }

    /// Fires at `handler` with `payload` after `delay` nanoseconds, without an allocation.
    @discardableResult
    public func schedule(after delay: UInt64, _ handler: TimerHandler, _ payload: UInt64) -> TimerID {
        hot.value.timers.arm(at: timerBase.later(by: delay), .handler(handler, payload))
    }

    /// Cancels a timer; without effect if it has fired.
    public func cancel(_ id: TimerID) {
        // What the timer held goes after the heap is whole again: its end may call the loop.
        let dropped = hot.value.timers.cancel(id)
        withExtendedLifetime(dropped) {}
    }

    /// Before its first turn, and between turns that somebody else drives, the loop's time stands still.
    private var timerBase: UInt64 { EventLoop.current === self ? hot.value.now : system.now() }

    /// Sets a connection's deadline. Its timer may be due earlier, which costs nothing now; never later.
    @inline(__always)
    func armDeadline(_ place: Place<Connection>, _ token: UInt64, at deadline: UInt64) {
        place.value.deadline = max(1, deadline)
        moveTimer(place, token, to: deadline)
    }

    /// Makes sure that the connection's timer is due at `instant` or before.
    @inline(__always)
    func moveTimer(_ place: Place<Connection>, _ token: UInt64, to instant: UInt64) {
        let due = place.value.timerDue
        if due == 0 || instant < due { armTimer(place, token, at: instant) }
    }

    @inline(never)
    private func armTimer(_ place: Place<Connection>, _ token: UInt64, at instant: UInt64) {
        let due = max(instant, hot.value.now)
        if place.value.timerDue == 0 {
            place.value.timer = hot.value.timers.arm(at: due, .connection(token))
        } else {
            hot.value.timers.move(place.value.timer, to: due)
        }
        place.value.timerDue = due
    }

    /// Fires what is due, in order, within the turn's budget. What is armed meanwhile waits for the next turn, even if it is due
    /// already.
    func fireTimers() {
        let before = hot.value.timers.nextSequence
        let now = hot.value.now
        var fired = 0
        while fired == 0 || !isTurnSpent(),
            let (action, _) = hot.value.timers.takeDue(now, armedBefore: before)
        {
            fired += 1
            switch action {
            case .once(let work), .every(_, let work): work()
            case .handler(let handler, let payload): handler.timerFired(payload)
            case .connection(let token): deadlineTimer(token)
            case .none: break
            }
        }
    }

    /// A connection's timer is due, its deadlines perhaps not: then it moves on.
    private func deadlineTimer(_ token: UInt64) {
        guard let place = hot.value.find(token), place.value.kind == .connection else { return }
        place.value.timerDue = 0
        if place.value.outputDue != 0, place.value.outputDue <= hot.value.now { judgeOutput(place, token) }
        if place.value.deadline != 0, place.value.deadline <= hot.value.now { deadlinePassed(place, token) }
        if place.value.flags.contains(.closed) { return }
        // What a handler has set meanwhile is armed already.
        if place.value.deadline != 0 { moveTimer(place, token, to: place.value.deadline) }
        if place.value.outputDue != 0 { moveTimer(place, token, to: place.value.outputDue) }
    }

    private func deadlinePassed(_ place: Place<Connection>, _ token: UInt64) {
        if place.value.flags.contains(.closed) { return }
        place.value.deadline = 0
        let flags = place.value.flags
        if flags.contains(.connecting) {
            close(place, token, .connectTimeout)
        } else if flags.contains(.handshaking) {
            close(place, token, .deadline)
        } else if flags.contains(.lingering) {
            close(place, token, .local)
        } else if !flags.contains(.finishing) {
            unsafe place.value.handler.unsafelyUnwrapped._withUnsafeGuaranteedRef {
                $0.connectionDeadline(ConnectionID(token: token))
            }
        }
    }
}
