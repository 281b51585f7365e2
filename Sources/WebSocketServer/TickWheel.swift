/// Coarse timers for very many connections: a wheel of 64 slots of one second, each a queue linked through flat entries.
///
/// Setting, moving and removing an entry are a few stores; an entry costs twelve bytes and no heap. `occupied` has a bit
/// for each slot that is not empty, so the owner arms one timer of its loop for the first of them: an idle loop wakes up
/// for what is due and for nothing else. Ticks are seconds of the loop's clock.
@safe struct TickWheel: ~Copyable {
    struct Link: BitwiseCopyable {
        var next: UInt32 = TickWheel.none
        var previous: UInt32 = TickWheel.none
        /// Where it hangs, 255 when it does not.
        var place: UInt8 = 255
    }

    static let none = UInt32.max
    /// The longest delay in ticks.
    static let longest: UInt64 = 63

    private let links = SlotTable(Link())
    private var heads = InlineArray<64, UInt32>(repeating: TickWheel.none)
    private var tails = InlineArray<64, UInt32>(repeating: TickWheel.none)
    private var occupied: UInt64 = 0

    init() {}

    deinit { links.free() }

    var isEmpty: Bool { occupied == 0 }

    /// Moves `entry` to the end of the queue of `tick`, which is at most 63 ahead of the last tick that was taken.
    mutating func set(_ entry: UInt32, at tick: UInt64) {
        let place = UInt8(truncatingIfNeeded: tick & 63)
        let link = unsafe links.make(entry)
        if unsafe link.pointee.place == place { return }
        if unsafe link.pointee.place != 255 { remove(entry) }
        let slot = Int(place)
        let tail = tails[slot]
        unsafe link.pointee = Link(next: Self.none, previous: tail, place: place)
        if tail == Self.none {
            heads[slot] = entry
            occupied |= 1 << UInt64(place)
        } else if let last = unsafe links.find(tail) {
            unsafe last.pointee.next = entry
        }
        tails[slot] = entry
    }

    mutating func remove(_ entry: UInt32) {
        guard let link = unsafe links.find(entry), unsafe link.pointee.place != 255 else { return }
        let (next, previous, slot) = unsafe (link.pointee.next, link.pointee.previous, Int(link.pointee.place))
        unsafe link.pointee = Link()
        if let before = unsafe links.find(previous) { unsafe before.pointee.next = next } else { heads[slot] = next }
        if let after = unsafe links.find(next) {
            unsafe after.pointee.previous = previous
        } else {
            tails[slot] = previous
        }
        if heads[slot] == Self.none { occupied &= ~(1 << UInt64(slot)) }
    }

    /// The first entry of the queue of `tick`, taken out.
    mutating func take(_ tick: UInt64) -> UInt32? {
        let entry = heads[Int(tick & 63)]
        guard entry != Self.none else { return nil }
        remove(entry)
        return entry
    }

    /// The first tick behind `tick` that has an entry.
    func firstTick(after tick: UInt64) -> UInt64? {
        guard occupied != 0 else { return nil }
        let shift = (tick &+ 1) & 63
        let rotated = shift == 0 ? occupied : occupied >> shift | occupied << (64 &- shift)
        return tick &+ 1 &+ UInt64(rotated.trailingZeroBitCount)
    }
}
