/// The address of a value in memory that the server owns: hot state lies flat behind one of these, so that an access costs
/// a load, and neither a retain nor an exclusivity check.
///
/// `@safe`: every `Ref` of this room points into memory that its server allocated and frees (core, slab, queues) and that
/// is touched on the loop's thread only; none is kept beyond the call that made it.
@safe struct Ref<Value: ~Copyable> {
    let pointer: UnsafeMutablePointer<Value>

    @inline(__always)
    init(_ pointer: UnsafeMutablePointer<Value>) { unsafe self.pointer = unsafe pointer }

    /// Memory for one value, to be freed with `free`.
    static func allocate(_ value: consuming Value) -> Ref<Value> {
        let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
        unsafe pointer.initialize(to: value)
        return unsafe Ref(pointer)
    }

    func free() {
        unsafe pointer.deinitialize(count: 1)
        unsafe pointer.deallocate()
    }

    var value: Value {
        @inline(__always) unsafeAddress { unsafe UnsafePointer(pointer) }
        @inline(__always) nonmutating unsafeMutableAddress { unsafe pointer }
    }
}
