/// Where a value lies, for the length of a callback: an access is a load, without a reference count, a copy or an
/// exclusivity check.
///
/// The compiler refuses to keep one (`~Escapable`: not in a property, not in an array, not in a closure that is kept), and
/// its owner frees what was removed at the end of the turn only, so the memory behind it holds the same value for as long as
/// a place can exist, also when that value was removed meanwhile. Who calls into foreign code and goes on afterwards looks
/// the handle up again: the value may have ended.
///
/// A condition says `if a, place.value.b`, not `a && place.value.b`: the right side of `&&`, `||` and `??` is a closure, and
/// Swift 6.3's optimizer loses what it captured ("Found a leaked owned value", release builds only).
///
/// Not for two threads: it belongs to the loop of its owner.
@safe public struct Place<Value: ~Copyable>: ~Escapable {
    @usableFromInline let pointer: UnsafeMutablePointer<Value>

    @inlinable @inline(__always)
    @_lifetime(immortal)
    init(_ pointer: UnsafeMutablePointer<Value>) {
        unsafe self.pointer = unsafe pointer
    }

    /// The value, to be read and changed where it lies.
    @inlinable
    public var value: Value {
        @inline(__always) unsafeAddress { unsafe UnsafePointer(pointer) }
        @inline(__always) nonmutating unsafeMutableAddress { unsafe pointer }
    }
}
