#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Numbered places for values that never move, reached by handles that are checked at each access, in release builds too.
///
///     free ──insert──▶ live ──remove──▶ retired ──reclaim──▶ free (under the next generation)
///
/// `remove` ends a value exactly once and says whether it did: from then on every handle to it reads as gone. What it owns
/// is let go by `reclaim`, at the end of the loop's turn: whoever stands further up the stack and still has its `Place` looks
/// at the same ended value, never at freed memory and never at somebody else's.
///
/// Memory comes in chunks that double and are kept until the slab ends; an empty slab has none. A class has a slab as a
/// constant: using it costs no exclusivity check. Not for two threads: it belongs to the loop of its owner.
@safe public struct Slab<Element: ~Copyable>: ~Copyable {
    /// What lies in front of each value.
    @usableFromInline struct Header: BitwiseCopyable {
        /// Of the handle that names the value; after the end, of the next one.
        @usableFromInline var generation: UInt32 = 1
        /// `live`, or the next place of the list (free or retired) in which it stands.
        @usableFromInline var next = Links.none

        @inlinable
        init() {}
    }

    @usableFromInline enum Links {
        @usableFromInline static var none: UInt32 { .max }
        @usableFromInline static var live: UInt32 { .max - 1 }
    }

    @safe @usableFromInline struct State: ~Copyable {
        /// The first chunk, where nearly everything is found.
        @usableFromInline var first: UnsafeMutableRawPointer?
        /// Places that the first chunk has memory for; each later chunk doubles what there is.
        @usableFromInline var firstCount: UInt32 = 0
        /// The chunks behind the first.
        @usableFromInline var more = unsafe Vector<UnsafeMutableRawPointer>()
        /// Places that have memory.
        @usableFromInline var memory: UInt32 = 0
        /// Places that were ever used.
        @usableFromInline var used: UInt32 = 0
        /// Those of them that lie in the first chunk: below it, one compare finds a place.
        @usableFromInline var usedInFirst: UInt32 = 0
        @usableFromInline var count: UInt32 = 0
        @usableFromInline var firstFree = Links.none
        @usableFromInline var firstRetired = Links.none
        /// Places at most.
        @usableFromInline let capacity: UInt32
        /// The first chunk has memory for 2^`initialShift` places, unless it is a reserved stretch.
        @usableFromInline let initialShift: UInt32
        /// Bytes of the first chunk if it is a reserved stretch of addresses, 0 if it is `malloc`ed.
        @usableFromInline var reserved = 0

        init(capacity: Int, initialCount: Int) {
            unsafe first = nil
            self.capacity = UInt32(clamping: min(max(capacity, 1), 1 << 30))
            let wanted = min(max(initialCount, 1), 1 << 20)
            initialShift = UInt32(truncatingIfNeeded: Int.bitWidth - (wanted - 1).leadingZeroBitCount)
        }
    }

    @usableFromInline let state: UnsafeMutablePointer<State>

    /// - Parameters:
    ///   - capacity: values at most, up to 2³⁰: one more is refused.
    ///   - initialCount: values for which memory is taken with the first one, rounded up to a power of two.
    public init(capacity: Int = 1 << 30, initialCount: Int = 64) {
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: State(capacity: capacity, initialCount: initialCount))
    }

    /// A slab whose places lie in one stretch of reserved addresses, which gets memory as it is first used.
    /// Nil: the addresses can't be had; `errno` says why.
    public init?(reserving capacity: Int) {
        self.init(capacity: capacity, initialCount: capacity)
        let bytes = Int(unsafe state.pointee.capacity) * Self.stride
        let flags = MAP_PRIVATE | Int32(MAP_ANONYMOUS) | Int32(MAP_NORESERVE)
        let memory = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, -1, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { return nil }
        unsafe state.pointee.first = memory
        unsafe state.pointee.firstCount = state.pointee.capacity
        unsafe state.pointee.memory = state.pointee.capacity
        unsafe state.pointee.reserved = bytes
    }

    deinit {
        reclaim()
        for slot in 0..<end where handle(atSlot: slot) != nil {
            unsafe element(header(slot)).deinitialize(count: 1)
        }
        if let first = unsafe state.pointee.first {
            let reserved = unsafe state.pointee.reserved
            if reserved > 0 { unsafe munmap(first, reserved) } else { unsafe first.deallocate() }
        }
        for index in 0..<(unsafe state.pointee.more.count) { unsafe state.pointee.more[index].deallocate() }
        unsafe state.deinitialize(count: 1)
        unsafe state.deallocate()
    }

    /// Live values.
    @inlinable
    public var count: Int { Int(unsafe state.pointee.count) }

    /// Whether nothing is in it.
    @inlinable
    public var isEmpty: Bool { count == 0 }

    /// Slots below this number were used at least once: for walks in portions with `handle(atSlot:)`.
    @inlinable
    public var end: UInt32 { unsafe state.pointee.used }

    /// Bytes of memory that the slab holds, without what its values own.
    public var bytes: Int { Int(unsafe state.pointee.memory) * Self.stride }

    // MARK: Values

    /// The value that `handle` names; nil: it has ended.
    @inlinable @inline(__always)
    @_lifetime(immortal)
    public func find(_ handle: Handle<Element>) -> Place<Element>? {
        guard let header = unsafe liveHeader(handle) else { return nil }
        return unsafe Place(element(header))
    }

    /// Whether `handle` names a live value.
    @inlinable @inline(__always)
    public func contains(_ handle: Handle<Element>) -> Bool { unsafe liveHeader(handle) != nil }

    /// The handle of the live value in `slot`; nil if there is none.
    @inlinable
    public func handle(atSlot slot: UInt32) -> Handle<Element>? {
        guard slot < end else { return nil }
        let header = unsafe header(slot)
        guard unsafe header.pointee.next == Links.live else { return nil }
        return Handle(slot: slot, generation: unsafe header.pointee.generation)
    }

    /// Gives `element` a place; nil: the slab is full.
    @inlinable
    public func insert(_ element: consuming Element) -> Handle<Element>? {
        let slot: UInt32
        let header: UnsafeMutablePointer<Header>
        let free = unsafe state.pointee.firstFree
        if free != Links.none {
            slot = free
            unsafe header = self.header(slot)
            unsafe state.pointee.firstFree = header.pointee.next
        } else {
            guard let fresh = takeUnused() else { return nil }
            slot = fresh
            unsafe header = self.header(slot)
        }
        unsafe header.pointee.next = Links.live
        unsafe self.element(header).initialize(to: element)
        unsafe state.pointee.count &+= 1
        return Handle(slot: slot, generation: unsafe header.pointee.generation)
    }

    /// A place that was never used; nil: there is none left.
    @usableFromInline @inline(never)
    func takeUnused() -> UInt32? {
        let slot = unsafe state.pointee.used
        guard unsafe slot < state.pointee.capacity else { return nil }
        if unsafe slot == state.pointee.memory { grow() }
        unsafe state.pointee.used = slot &+ 1
        unsafe state.pointee.usedInFirst = min(slot &+ 1, state.pointee.firstCount)
        unsafe header(slot).initialize(to: Header())
        return slot
    }

    /// Ends the value that `handle` names. False: it had ended before.
    ///
    /// What the value owns is let go by `reclaim`.
    @inlinable @inline(__always)
    @discardableResult
    public func remove(_ handle: Handle<Element>) -> Bool {
        guard let header = unsafe liveHeader(handle) else { return false }
        unsafe header.pointee.generation = handle.generation &+ 1
        unsafe header.pointee.next = state.pointee.firstRetired
        unsafe state.pointee.firstRetired = handle.slot
        unsafe state.pointee.count &-= 1
        return true
    }

    /// Whether there is something for `reclaim` to do.
    @inlinable
    public var hasRetired: Bool { unsafe state.pointee.firstRetired != Links.none }

    /// Lets go of what was removed and frees its places. At the end of a turn, when nobody can have a `Place`.
    @inlinable
    public func reclaim() {
        while true {
            let slot = unsafe state.pointee.firstRetired
            guard slot != Links.none else { return }
            let header = unsafe header(slot)
            unsafe state.pointee.firstRetired = header.pointee.next
            // Its end may run foreign code (a closure that it held), which may call this slab: the lists are whole.
            unsafe element(header).deinitialize(count: 1)
            // A place that has used up its generations is never used again: no handle can come to life a second time.
            guard unsafe header.pointee.generation != .max else {
                unsafe header.pointee.next = Links.none
                continue
            }
            unsafe header.pointee.next = state.pointee.firstFree
            unsafe state.pointee.firstFree = slot
        }
    }

    /// Calls `body` with each live value. It may remove and insert; what is inserted meanwhile may be left out.
    @inlinable
    public func walk(_ body: (Handle<Element>, Place<Element>) -> Void) {
        for slot in 0..<end {
            guard let handle = handle(atSlot: slot) else { continue }
            unsafe body(handle, Place(element(header(slot))))
        }
    }

    // MARK: Memory

    /// Bytes from one place to the next, and from a header to its value.
    @inlinable
    static var elementOffset: Int {
        @inline(__always) get { max(MemoryLayout<Header>.size, MemoryLayout<Element>.alignment) }
    }

    @inlinable
    static var stride: Int {
        @inline(__always) get {
            let alignment = max(MemoryLayout<Header>.alignment, MemoryLayout<Element>.alignment)
            return (elementOffset &+ MemoryLayout<Element>.size &+ alignment &- 1) & ~(alignment &- 1)
        }
    }

    /// The header of the live value that `handle` names; nil: it has ended. A free or retired place has a generation that no
    /// handle has yet: one compare is enough.
    @inlinable @inline(__always)
    func liveHeader(_ handle: Handle<Element>) -> UnsafeMutablePointer<Header>? {
        let header: UnsafeMutablePointer<Header>
        if unsafe handle.slot < state.pointee.usedInFirst {
            unsafe header = headerInFirst(handle.slot)
        } else {
            guard handle.slot < end else { return nil }
            unsafe header = headerBehindFirst(handle.slot)
        }
        return unsafe header.pointee.generation == handle.generation ? header : nil
    }

    /// Where the header of a slot below `used` lies.
    @inlinable @inline(__always)
    func header(_ slot: UInt32) -> UnsafeMutablePointer<Header> {
        unsafe slot < state.pointee.usedInFirst ? headerInFirst(slot) : headerBehindFirst(slot)
    }

    @inlinable @inline(__always)
    func headerInFirst(_ slot: UInt32) -> UnsafeMutablePointer<Header> {
        let base = unsafe state.pointee.first.unsafelyUnwrapped
        return unsafe (base + Int(slot) &* Self.stride).assumingMemoryBound(to: Header.self)
    }

    /// Chunk n (from 0) behind the first holds the slots from 2ˢ · 2ⁿ to 2ˢ · 2ⁿ⁺¹, s being `initialShift`. Always inlined: a call
    /// would make every look-up save registers for what nearly none of them needs.
    @inlinable @inline(__always)
    func headerBehindFirst(_ slot: UInt32) -> UnsafeMutablePointer<Header> {
        let shift = unsafe Int(state.pointee.initialShift)
        let chunk = 31 &- slot.leadingZeroBitCount &- shift
        let offset = Int(slot) &- 1 << (shift &+ chunk)
        return unsafe (state.pointee.more[chunk] + offset &* Self.stride).assumingMemoryBound(to: Header.self)
    }

    @inlinable @inline(__always)
    func element(_ header: UnsafeMutablePointer<Header>) -> UnsafeMutablePointer<Element> {
        unsafe (UnsafeMutableRawPointer(header) + Self.elementOffset).assumingMemoryBound(to: Element.self)
    }

    @usableFromInline @inline(never)
    func grow() {
        let have = unsafe state.pointee.memory
        let count = unsafe have == 0 ? 1 << state.pointee.initialShift : have
        let alignment = max(16, MemoryLayout<Element>.alignment)
        let chunk = UnsafeMutableRawPointer.allocate(byteCount: Int(count) * Self.stride, alignment: alignment)
        if have == 0 {
            unsafe state.pointee.first = chunk
            unsafe state.pointee.firstCount = count
        } else {
            unsafe state.pointee.more.append(chunk)
        }
        unsafe state.pointee.memory = have + count
    }
}
