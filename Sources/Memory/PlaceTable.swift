/// Plain values by somebody else's handle, such as what a protocol keeps for a connection of the loop: a value is found only
/// by the very handle under which it was made.
///
/// Blocks of 256 come when a slot of theirs is first used and never move; memory that was never used is never there. A
/// removed value's memory stays as it is until its slot is used again, which a loop does in a later turn at the earliest.
/// Not for two threads: it belongs to the loop of its owner.
@safe public struct PlaceTable<Value: BitwiseCopyable>: ~Copyable {
    @usableFromInline struct Entry: BitwiseCopyable {
        /// The token of the handle whose value this is; `noKey`: there is none. One compare finds out.
        @usableFromInline var key: UInt64
        @usableFromInline var value: Value

        @inlinable
        init(key: UInt64, value: Value) {
            self.key = key
            self.value = value
        }
    }

    /// No handle's token: there is no slot of that number.
    @inlinable
    static var noKey: UInt64 { .max }

    /// Generation 0 names nothing: no value is ever made under such a key.
    @inlinable @inline(__always)
    static func key(_ slot: UInt32, _ generation: UInt32) -> UInt64 { UInt64(generation) << 32 | UInt64(slot) }

    @safe @usableFromInline struct State: ~Copyable {
        @usableFromInline var blocks = unsafe Vector<UnsafeMutablePointer<Entry>?>()
        @usableFromInline var count = 0

        init() {}
    }

    @usableFromInline let state: Cell<State>
    @usableFromInline let initial: Value

    /// - Parameter initial: what a value is when it is made.
    public init(_ initial: Value) {
        self.initial = initial
        state = Cell(State())
    }

    deinit {
        for index in 0..<(unsafe state.value.blocks.count) { unsafe state.value.blocks[index]?.deallocate() }
    }

    /// Values that are there.
    @inlinable
    public var count: Int { state.value.count }

    /// Slots from this number on have no value.
    @inlinable
    public var end: UInt32 { UInt32(truncatingIfNeeded: unsafe state.value.blocks.count << 8) }

    /// The value that was made for this handle; nil: none, or it has ended.
    @inlinable @inline(__always)
    @_lifetime(immortal)
    public func find(slot: UInt32, generation: UInt32) -> Place<Value>? {
        guard let entry = unsafe entry(slot), unsafe entry.pointee.key == Self.key(slot, generation) else { return nil }
        return unsafe Place(Self.value(entry))
    }

    /// The generation of the handle that has a value in `slot`; nil if there is none.
    @inlinable
    public func generation(atSlot slot: UInt32) -> UInt32? {
        guard let entry = unsafe entry(slot), unsafe entry.pointee.key != Self.noKey else { return nil }
        return unsafe UInt32(truncatingIfNeeded: entry.pointee.key >> 32)
    }

    /// Makes the value of a handle, or gives the one that is there. A value of an earlier handle of the slot has ended.
    @inlinable
    @_lifetime(immortal)
    public func make(slot: UInt32, generation: UInt32) -> Place<Value> {
        precondition(generation != 0 && slot != .max, "generation 0 names nothing, and there is no such slot")
        let entry: UnsafeMutablePointer<Entry>
        if let there = unsafe self.entry(slot) { unsafe entry = there } else { unsafe entry = makeBlock(slot) }
        let key = Self.key(slot, generation)
        if unsafe entry.pointee.key != key {
            if unsafe entry.pointee.key == Self.noKey { state.value.count += 1 }
            unsafe entry.pointee = Entry(key: key, value: initial)
        }
        return unsafe Place(Self.value(entry))
    }

    /// Ends the value of a handle. False: there was none.
    @inlinable
    @discardableResult
    public func remove(slot: UInt32, generation: UInt32) -> Bool {
        guard let entry = unsafe entry(slot), unsafe entry.pointee.key == Self.key(slot, generation) else {
            return false
        }
        unsafe entry.pointee.key = Self.noKey
        state.value.count -= 1
        return true
    }

    @inlinable @inline(__always)
    func entry(_ slot: UInt32) -> UnsafeMutablePointer<Entry>? {
        let block = Int(slot >> 8)
        guard unsafe block < state.value.blocks.count, let base = unsafe state.value.blocks[block] else { return nil }
        return unsafe base + Int(slot & 255)
    }

    @inlinable @inline(__always)
    static func value(_ entry: UnsafeMutablePointer<Entry>) -> UnsafeMutablePointer<Value> {
        unsafe withUnsafeMutablePointer(to: &entry.pointee.value) { unsafe $0 }
    }

    @usableFromInline @inline(never)
    func makeBlock(_ slot: UInt32) -> UnsafeMutablePointer<Entry> {
        let block = Int(slot >> 8)
        while unsafe block >= state.value.blocks.count { unsafe state.value.blocks.append(nil) }
        let base = UnsafeMutablePointer<Entry>.allocate(capacity: 256)
        unsafe base.initialize(repeating: Entry(key: Self.noKey, value: initial), count: 256)
        unsafe state.value.blocks[block] = base
        return unsafe base + Int(slot & 255)
    }
}
