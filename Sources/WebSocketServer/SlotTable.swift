/// State that is touched with every frame lies behind one of these and not in a class's variables: an access is a load,
/// without an exclusivity check. Made once, freed by its owner's `deinit`, touched on the loop's thread only.
@safe struct Hot<Value: ~Copyable> {
    private let pointer: UnsafeMutablePointer<Value>

    init(_ value: consuming Value) {
        unsafe pointer = .allocate(capacity: 1)
        unsafe pointer.initialize(to: value)
    }

    var value: Value {
        @inline(__always) unsafeAddress { unsafe UnsafePointer(pointer) }
        @inline(__always) nonmutating unsafeMutableAddress { unsafe pointer }
    }

    func free() {
        unsafe pointer.deinitialize(count: 1)
        unsafe pointer.deallocate()
    }
}

/// Plain values by connection slot: blocks of 256 that come when a slot of theirs is first used and never move, so that a
/// pointer into one stays good across any callback. Memory that was never used for a WebSocket is never there.
///
/// A handle that is copied freely; its owner frees it.
@safe struct SlotTable<Value: BitwiseCopyable> {
    @safe private struct Blocks {
        var base: UnsafeMutablePointer<UnsafeMutablePointer<Value>?>
        var count: Int
    }

    private let blocks: UnsafeMutablePointer<Blocks>
    private let initial: Value

    init(_ initial: Value) {
        self.initial = initial
        unsafe blocks = .allocate(capacity: 1)
        unsafe blocks.initialize(to: Blocks(base: .allocate(capacity: 0), count: 0))
    }

    func free() {
        for index in 0..<(unsafe blocks.pointee.count) { unsafe blocks.pointee.base[index]?.deallocate() }
        unsafe blocks.pointee.base.deallocate()
        unsafe blocks.deallocate()
    }

    /// Slots below this number may have a value.
    var end: UInt32 { unsafe UInt32(blocks.pointee.count << 8) }

    /// The value of `slot`, if its block is there.
    @inline(__always)
    func find(_ slot: UInt32) -> UnsafeMutablePointer<Value>? {
        let block = Int(slot >> 8)
        guard unsafe block < blocks.pointee.count, let base = unsafe blocks.pointee.base[block] else { return nil }
        return unsafe base + Int(slot & 255)
    }

    /// The value of `slot`; its block is made if need be.
    @inline(__always)
    func make(_ slot: UInt32) -> UnsafeMutablePointer<Value> {
        if let value = unsafe find(slot) { return unsafe value }
        return unsafe makeBlock(slot)
    }

    @inline(never)
    private func makeBlock(_ slot: UInt32) -> UnsafeMutablePointer<Value> {
        let block = Int(slot >> 8)
        let old = unsafe blocks.pointee
        if block >= old.count {
            let count = max(block + 1, old.count * 2, 16)
            let larger = UnsafeMutablePointer<UnsafeMutablePointer<Value>?>.allocate(capacity: count)
            unsafe larger.initialize(repeating: nil, count: count)
            unsafe larger.update(from: old.base, count: old.count)
            unsafe old.base.deallocate()
            unsafe blocks.pointee = Blocks(base: larger, count: count)
        }
        let base = UnsafeMutablePointer<Value>.allocate(capacity: 256)
        unsafe base.initialize(repeating: initial, count: 256)
        unsafe blocks.pointee.base[block] = base
        return unsafe base + Int(slot & 255)
    }
}
