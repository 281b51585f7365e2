import Reactor

/// The queue of all subscribers with one interval: those that were given a frame and may not be given the next one yet, in
/// the order in which they may. One timer serves them all, and it is armed only while one of them has something to come.
final class Pacer: TimerHandler {
    /// Milliseconds.
    let interval: Int
    /// Subscribers with this interval.
    var users = 0
    /// Those in the queue with something to come.
    private(set) var marked = 0
    private(set) var first = UInt32.max
    private var last = UInt32.max
    /// When the first one may.
    private var firstDue: UInt64 = 0
    private var timer: TimerID?
    private let due: (Pacer) -> Void

    init(_ interval: Int, due: @escaping (Pacer) -> Void) {
        self.interval = interval
        self.due = due
    }

    /// Puts a subscriber, whose `mayAt` is the latest of all, at the end.
    func append(_ subscriber: UnsafeMutablePointer<Subscriber>, _ table: SlotTable<Subscriber>) {
        if unsafe subscriber.pointee.flags.contains(.paced) { unsafe remove(subscriber, table) }
        let slot = unsafe subscriber.pointee.id.slot
        unsafe subscriber.pointee.flags.insert(.paced)
        unsafe subscriber.pointee.pacedPrevious = last
        unsafe subscriber.pointee.pacedNext = .max
        if let before = unsafe table.find(last) {
            unsafe before.pointee.pacedNext = slot
        } else {
            first = slot
            firstDue = unsafe subscriber.pointee.mayAt
        }
        last = slot
    }

    func remove(_ subscriber: UnsafeMutablePointer<Subscriber>, _ table: SlotTable<Subscriber>) {
        let (next, previous) = unsafe (subscriber.pointee.pacedNext, subscriber.pointee.pacedPrevious)
        if let before = unsafe table.find(previous) {
            unsafe before.pointee.pacedNext = next
        } else {
            first = next
        }
        if let after = unsafe table.find(next) {
            unsafe after.pointee.pacedPrevious = previous
            if previous == .max { firstDue = unsafe after.pointee.mayAt }
        } else {
            last = previous
        }
        if unsafe subscriber.pointee.flags.contains(.dirty) { marked -= 1 }
        unsafe subscriber.pointee.flags.subtract([.paced, .dirty])
    }

    /// One in the queue has something to come.
    func markedOne(_ loop: EventLoop) {
        marked += 1
        if timer == nil { arm(at: firstDue, loop) }
    }

    func arm(at instant: UInt64, _ loop: EventLoop) {
        guard timer == nil else { return }
        timer = loop.schedule(after: instant > loop.now ? instant - loop.now : 0, self, 0)
    }

    func stop(_ loop: EventLoop) {
        if let timer { loop.cancel(timer) }
        timer = nil
    }

    override func timerFired(_ payload: UInt64) {
        timer = nil
        due(self)
    }
}
