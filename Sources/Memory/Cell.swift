/// One value in memory of its own. A class that has one as a constant reaches its hot state by a load, without the
/// exclusivity check of a variable; it is freed with its owner.
///
/// Not for two threads: it belongs to the loop of its owner.
@safe public struct Cell<Value: ~Copyable>: ~Copyable {
    @usableFromInline let pointer: UnsafeMutablePointer<Value>

    /// Moves `value` to the heap.
    @inlinable
    public init(_ value: consuming Value) {
        unsafe pointer = .allocate(capacity: 1)
        unsafe pointer.initialize(to: value)
    }

    @inlinable
    deinit {
        unsafe pointer.deinitialize(count: 1)
        unsafe pointer.deallocate()
    }

    /// The value, to be read and changed where it lies.
    @inlinable
    public var value: Value {
        @inline(__always) unsafeAddress { unsafe UnsafePointer(pointer) }
        @inline(__always) nonmutating unsafeMutableAddress { unsafe pointer }
    }

    /// The value's place, to hand to functions.
    @inlinable
    public var place: Place<Value> {
        @inline(__always) @_lifetime(borrow self) get { unsafe Place(pointer) }
    }
}
