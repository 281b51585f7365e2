#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A growable array of plain values in `malloc`ed memory: what `Array` is, without reference counts and exclusivity checks.
/// An empty one has no memory. Each index is checked, in release builds too.
@safe public struct Vector<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<Element>?
    /// How many elements there are.
    @inlinable
    public var count: Int { length }
    /// For how many there is memory.
    @inlinable
    public var capacity: Int { room }

    @usableFromInline var length = 0
    @usableFromInline var room = 0

    /// No elements, and no memory yet.
    @inlinable
    public init() { unsafe base = nil }

    @inlinable
    deinit { unsafe free(base) }

    /// Whether it has no elements.
    @inlinable
    public var isEmpty: Bool { count == 0 }

    /// One compare: a negative index is a large one.
    @inlinable @inline(__always)
    func contains(_ index: Int) -> Bool { UInt(bitPattern: index) < UInt(bitPattern: length) }

    /// The element at `index`, which must be one of its own.
    @inlinable
    public subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(contains(index), "index outside the vector")
            return unsafe base.unsafelyUnwrapped[index]
        }
        @inline(__always) set {
            precondition(contains(index), "index outside the vector")
            unsafe base.unsafelyUnwrapped[index] = newValue
        }
    }

    /// Appends an element.
    @inlinable @inline(__always)
    public mutating func append(_ element: Element) {
        if length == room { grow() }
        unsafe (base.unsafelyUnwrapped + count).initialize(to: element)
        length &+= 1
    }

    /// Takes the last element off; nil if there is none.
    @inlinable @inline(__always)
    public mutating func popLast() -> Element? {
        guard count > 0 else { return nil }
        length &-= 1
        return unsafe base.unsafelyUnwrapped[count]
    }

    /// Takes the last element off, which must be there.
    @inlinable
    public mutating func removeLast() {
        precondition(count > 0, "the vector is empty")
        length &-= 1
    }

    /// Drops the first `dropped` elements and moves the rest to the front: O(what is left).
    @inlinable
    public mutating func removeFirst(_ dropped: Int) {
        precondition(dropped >= 0 && dropped <= count, "more dropped than there is")
        if dropped < count {
            let base = unsafe base.unsafelyUnwrapped
            unsafe memmove(base, base + dropped, (count - dropped) * MemoryLayout<Element>.stride)
        }
        length &-= dropped
    }

    /// Drops everything and keeps the memory.
    @inlinable
    public mutating func removeAll() { length = 0 }

    /// Drops everything and gives the memory back.
    @inlinable
    public mutating func release() {
        unsafe free(base)
        unsafe base = nil
        length = 0
        room = 0
    }

    @usableFromInline @inline(never)
    mutating func grow() {
        room = max(16, room * 2)
        guard let larger = unsafe realloc(base, room * MemoryLayout<Element>.stride) else {
            fatalError("out of memory")
        }
        unsafe base = larger.assumingMemoryBound(to: Element.self)
    }
}
