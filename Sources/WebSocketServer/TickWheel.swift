import Memory
import Reactor

/// Coarse timers for very many connections: a wheel of 64 slots of one second, each a queue linked through flat entries.
///
/// Setting, moving and removing an entry are a few stores; an entry costs 28 bytes and no heap. `occupied` has a bit
/// for each slot that is not empty, so the owner arms one timer of its loop for the first of them: an idle loop wakes up
/// for what is due and for nothing else. Ticks are seconds of the loop's clock.
@safe struct TickWheel: ~Copyable {
    struct Link: BitwiseCopyable {
        var next = WebSocketID.none
        var previous = WebSocketID.none
        /// Where it hangs.
        var place: UInt8 = 0
    }

    /// The longest delay in ticks.
    static let longest: UInt64 = 63

    private let links = PlaceTable(Link())
    private var heads = InlineArray<64, WebSocketID>(repeating: .none)
    private var tails = InlineArray<64, WebSocketID>(repeating: .none)
    private var occupied: UInt64 = 0

    init() {}

    var isEmpty: Bool { occupied == 0 }

    /// Moves `entry` to the end of the queue of `tick`, which is at most 63 ahead of the last tick that was taken.
    mutating func set(_ entry: WebSocketID, at tick: UInt64) {
        let place = UInt8(truncatingIfNeeded: tick & 63)
        if let link = links.find(entry) {
            if link.value.place == place { return }
            remove(entry)
        } else if let earlier = links.id(atSlot: entry.slot) {
            // A connection that had the slot before and was not taken out at its end would break the queue.
            remove(earlier)
        }
        let slot = Int(place)
        let tail = tails[slot]
        links.make(entry).value = Link(next: .none, previous: tail, place: place)
        if let last = links.find(tail) {
            last.value.next = entry
        } else {
            heads[slot] = entry
            occupied |= 1 << UInt64(place)
        }
        tails[slot] = entry
    }

    mutating func remove(_ entry: WebSocketID) {
        guard let link = links.find(entry) else { return }
        let (next, previous, slot) = (link.value.next, link.value.previous, Int(link.value.place))
        links.remove(entry)
        if let before = links.find(previous) { before.value.next = next } else { heads[slot] = next }
        if let after = links.find(next) { after.value.previous = previous } else { tails[slot] = previous }
        if heads[slot] == .none { occupied &= ~(1 << UInt64(slot)) }
    }

    /// The first entry of the queue of `tick`, taken out.
    mutating func take(_ tick: UInt64) -> WebSocketID? {
        let entry = heads[Int(tick & 63)]
        guard entry != .none else { return nil }
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
