#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The address of a value in memory that the loop owns: hot state lies flat behind one of these instead of in objects,
/// so that an access costs a load and neither a retain nor an exclusivity check.
///
/// `@safe`: every `Ref` in this room points into memory that lives as long as its loop (slab, loop state) and is touched
/// on the loop's thread only.
@safe @usableFromInline
struct Ref<Value: ~Copyable> {
    @usableFromInline let pointer: UnsafeMutablePointer<Value>

    @inlinable @inline(__always)
    init(_ pointer: UnsafeMutablePointer<Value>) {
        unsafe self.pointer = unsafe pointer
    }

    @inlinable
    var value: Value {
        @inline(__always) unsafeAddress { unsafe UnsafePointer(pointer) }
        @inline(__always) nonmutating unsafeMutableAddress { unsafe pointer }
    }
}

/// A growable array of plain values in `malloc`ed memory: what `Array` is, without reference counts and exclusivity checks.
@safe @usableFromInline
struct Vector<Element: BitwiseCopyable>: ~Copyable {
    private var base: UnsafeMutablePointer<Element>?
    private(set) var count = 0
    private var capacity = 0

    init() { unsafe base = nil }

    deinit { unsafe free(base) }

    var isEmpty: Bool { count == 0 }

    subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(index >= 0 && index < count, "index outside the vector")
            return unsafe base.unsafelyUnwrapped[index]
        }
        @inline(__always) set {
            precondition(index >= 0 && index < count, "index outside the vector")
            unsafe base.unsafelyUnwrapped[index] = newValue
        }
    }

    @inline(__always)
    mutating func append(_ element: Element) {
        if count == capacity { grow() }
        unsafe (base.unsafelyUnwrapped + count).initialize(to: element)
        count &+= 1
    }

    mutating func popLast() -> Element? {
        guard count > 0 else { return nil }
        count &-= 1
        return unsafe base.unsafelyUnwrapped[count]
    }

    mutating func removeLast() {
        precondition(count > 0, "the vector is empty")
        count &-= 1
    }

    /// Drops the first `dropped` elements and moves the rest to the front: O(what is left).
    mutating func removeFirst(_ dropped: Int) {
        precondition(dropped >= 0 && dropped <= count, "more dropped than there is")
        if dropped < count {
            let base = unsafe base.unsafelyUnwrapped
            unsafe memmove(base, base + dropped, (count - dropped) * MemoryLayout<Element>.stride)
        }
        count &-= dropped
    }

    @inline(never)
    private mutating func grow() {
        capacity = max(16, capacity * 2)
        guard let larger = unsafe realloc(base, capacity * MemoryLayout<Element>.stride) else {
            fatalError("out of memory")
        }
        unsafe base = larger.assumingMemoryBound(to: Element.self)
    }
}
