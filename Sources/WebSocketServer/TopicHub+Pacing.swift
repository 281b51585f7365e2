import Memory
import Reactor

/// At most one frame per interval.
extension TopicHub {
    /// The queue of `interval` milliseconds, with one user more.
    func joinPacer(_ interval: Int) -> Handle<Pacer> {
        let handle = intervals[interval] ?? pacers.insert(Pacer(interval: interval)) ?? .none
        guard let pacer = pacers.find(handle) else { return .none }
        intervals[interval] = handle
        pacer.value.users += 1
        return handle
    }

    func leavePacer(_ subscriber: Place<Subscriber>) {
        let handle = subscriber.value.pacer
        guard let pacer = pacers.find(handle) else { return }
        if subscriber.value.flags.contains(.paced) { takeOut(subscriber, pacer) }
        pacer.value.users -= 1
        guard pacer.value.users == 0 else { return }
        if pacer.value.isArmed { loop.cancel(pacer.value.timer) }
        intervals[pacer.value.interval] = nil
        pacers.remove(handle)
        reclaimAtEndOfTurn()
    }

    /// Puts a subscriber, whose `mayAt` is the latest of all, at the end.
    @inline(__always)
    func pace(_ subscriber: Place<Subscriber>, _ pacer: Place<Pacer>) {
        if subscriber.value.flags.contains(.paced) { takeOut(subscriber, pacer) }
        let id = subscriber.value.id
        subscriber.value.flags.insert(.paced)
        subscriber.value.pacedPrevious = pacer.value.last
        subscriber.value.pacedNext = .none
        if let before = subscribers.find(pacer.value.last) {
            before.value.pacedNext = id
        } else {
            pacer.value.first = id
        }
        pacer.value.last = id
    }

    func takeOut(_ subscriber: Place<Subscriber>, _ pacer: Place<Pacer>) {
        let (next, previous) = (subscriber.value.pacedNext, subscriber.value.pacedPrevious)
        if let before = subscribers.find(previous) {
            before.value.pacedNext = next
        } else {
            pacer.value.first = next
        }
        if let after = subscribers.find(next) {
            after.value.pacedPrevious = previous
        } else {
            pacer.value.last = previous
        }
        if subscriber.value.flags.contains(.dirty) { pacer.value.marked -= 1 }
        subscriber.value.flags.subtract([.paced, .dirty])
    }

    /// Something has come for one who stands in the queue.
    func markPaced(_ subscriber: Place<Subscriber>) {
        guard let pacer = pacers.find(subscriber.value.pacer), !subscriber.value.flags.contains(.dirty) else { return }
        subscriber.value.flags.insert(.dirty)
        pacer.value.marked += 1
        armPacer(subscriber.value.pacer, pacer)
    }

    /// For the first in the queue, if anybody in it has something to come.
    private func armPacer(_ handle: Handle<Pacer>, _ pacer: Place<Pacer>) {
        guard !pacer.value.isArmed, pacer.value.marked > 0, let first = subscribers.find(pacer.value.first) else {
            return
        }
        let due = first.value.mayAt
        pacer.value.timer = loop.schedule(after: due > loop.now ? due - loop.now : 0, timer, handle.token)
        pacer.value.isArmed = true
    }

    /// The queue of an interval says that the next frame may be sent; to so many in one turn.
    func paceDue(_ handle: Handle<Pacer>) {
        guard let pacer = pacers.find(handle) else { return }
        pacer.value.isArmed = false
        let now = loop.now
        var budget = subscribersPerTurn
        while budget > 0, let subscriber = subscribers.find(pacer.value.first), subscriber.value.mayAt <= now {
            let isDirty = subscriber.value.flags.contains(.dirty)
            takeOut(subscriber, pacer)
            if isDirty { mark(subscriber, now) }
            budget -= 1
        }
        armPacer(handle, pacer)
    }
}
