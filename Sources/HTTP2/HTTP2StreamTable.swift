/// The live streams of a connection: a slab of entries with a free list, and a hash table from identifier to slot.
///
/// Linear probing, without tombstones: deletion moves later entries back, so neighbours in time must not be neighbours in the
/// table (a hundred streams in a row would be one cluster, and each end of a stream would walk it). Hence the multiplication.
/// An unused table has no memory.
@safe struct HTTP2StreamTable: ~Copyable {
    private(set) var count = 0
    private var entries: UnsafeMutablePointer<HTTP2Stream>?
    private var capacity = 0
    private var used = 0  // slots that were ever used
    private var firstFree = HTTP2Stream.none
    private var index: UnsafeMutablePointer<UInt32>?  // slot by place
    private var indexMask = -1

    init() {}

    deinit {
        for slot in 0..<used { unsafe (entries.unsafelyUnwrapped + slot).deinitialize(count: 1) }
        unsafe entries?.deallocate()
        unsafe index?.deallocate()
    }

    /// The entry in `slot`. The pointer is valid until a stream is added.
    @inline(__always)
    subscript(slot: UInt32) -> UnsafeMutablePointer<HTTP2Stream> {
        precondition(Int(slot) < used, "no such stream")
        return unsafe entries.unsafelyUnwrapped + Int(slot)
    }

    /// Slots that may hold a stream; those that do not have the state `free`.
    var slots: Range<UInt32> { 0..<UInt32(used) }

    /// The slot of a stream.
    @inline(__always)
    func find(_ id: UInt32) -> UInt32? {
        guard count > 0 else { return nil }
        var place = home(id)
        while true {
            let slot = unsafe index.unsafelyUnwrapped[place]
            if slot == HTTP2Stream.none { return nil }
            if unsafe entries.unsafelyUnwrapped[Int(slot)].id == id { return slot }
            place = (place &+ 1) & indexMask
        }
    }

    /// Where an identifier is looked for first.
    @inline(__always)
    private func home(_ id: UInt32) -> Int {
        Int(truncatingIfNeeded: (id &* 0x9E37_79B1) >> 16) & indexMask
    }

    mutating func add(_ stream: consuming HTTP2Stream) -> UInt32 {
        if (count &+ 1) &* 2 > indexMask &+ 1 { growIndex() }
        let slot: UInt32
        if firstFree != HTTP2Stream.none {
            slot = firstFree
            firstFree = unsafe entries.unsafelyUnwrapped[Int(slot)].next
            unsafe entries.unsafelyUnwrapped[Int(slot)] = stream
        } else {
            if used == capacity { growEntries() }
            slot = UInt32(used)
            unsafe (entries.unsafelyUnwrapped + used).initialize(to: stream)
            used += 1
        }
        count += 1
        insert(slot)
        return slot
    }

    /// Frees a slot; the stream is closed.
    mutating func remove(_ slot: UInt32) {
        let entry = unsafe entries.unsafelyUnwrapped + Int(slot)
        unsafe unlink(entry.pointee.id, slot)
        unsafe entry.pointee.state = .free
        unsafe entry.pointee.context = HTTP2Stream.noContext
        unsafe entry.pointee.pending.release()
        unsafe entry.pointee.next = firstFree
        firstFree = slot
        count -= 1
    }

    private func insert(_ slot: UInt32) {
        let id = unsafe entries.unsafelyUnwrapped[Int(slot)].id
        var place = home(id)
        while unsafe index.unsafelyUnwrapped[place] != HTTP2Stream.none { place = (place &+ 1) & indexMask }
        unsafe index.unsafelyUnwrapped[place] = slot
    }

    private func unlink(_ id: UInt32, _ slot: UInt32) {
        let index = unsafe self.index.unsafelyUnwrapped
        var hole = home(id)
        while unsafe index[hole] != slot { hole = (hole &+ 1) & indexMask }
        var place = (hole &+ 1) & indexMask
        while true {
            let other = unsafe index[place]
            if other == HTTP2Stream.none { break }
            let home = unsafe home(entries.unsafelyUnwrapped[Int(other)].id)
            // It may move into the hole unless its home lies behind it.
            if (place &- home) & indexMask >= (place &- hole) & indexMask {
                unsafe index[hole] = other
                hole = place
            }
            place = (place &+ 1) & indexMask
        }
        unsafe index[hole] = HTTP2Stream.none
    }

    private mutating func growEntries() {
        let larger = UnsafeMutablePointer<HTTP2Stream>.allocate(capacity: max(8, capacity * 2))
        if let entries = unsafe entries {
            unsafe larger.moveInitialize(from: entries, count: used)
            unsafe entries.deallocate()
        }
        unsafe entries = larger
        capacity = max(8, capacity * 2)
    }

    private mutating func growIndex() {
        let size = max(16, (indexMask &+ 1) &* 2)
        unsafe index?.deallocate()
        let larger = UnsafeMutablePointer<UInt32>.allocate(capacity: size)
        unsafe larger.initialize(repeating: HTTP2Stream.none, count: size)
        unsafe index = larger
        indexMask = size &- 1
        for slot in 0..<used where unsafe entries.unsafelyUnwrapped[slot].state != .free { insert(UInt32(slot)) }
    }
}
