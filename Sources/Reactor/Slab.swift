#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The places of a loop's connections: one reserved stretch of addresses that gets memory as it is first used, so that a
/// place never moves, however many there are, and finding it is a multiplication.
@safe struct Slab: ~Copyable {
    private let base: UnsafeMutablePointer<Connection>
    private let capacity: Int
    /// Places that were ever used.
    private(set) var used: UInt32 = 0
    /// The first free place below `used`, `UInt32.max` if there is none.
    private var firstFree = UInt32.max

    /// Room for `capacity` places.
    init(capacity: Int) throws(SystemError) {
        let bytes = capacity * MemoryLayout<Connection>.stride
        let flags = MAP_PRIVATE | Int32(MAP_ANONYMOUS) | Int32(MAP_NORESERVE)
        let memory = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, -1, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
            throw SystemError(operation: "reserving \(bytes) bytes for connections", errno: errno)
        }
        unsafe base = memory.bindMemory(to: Connection.self, capacity: capacity)
        self.capacity = capacity
    }

    deinit {
        for slot in 0..<Int(used) { unsafe (base + slot).deinitialize(count: 1) }
        unsafe munmap(base, capacity * MemoryLayout<Connection>.stride)
    }

    /// The place at `slot`, which must have been used once.
    @inline(__always)
    func place(_ slot: UInt32) -> Ref<Connection> {
        precondition(slot < used, "no such place")
        return unsafe Ref(base + Int(slot))
    }

    /// The place that `token` names, unless it was given to another since.
    @inline(__always)
    func find(_ token: UInt64) -> Ref<Connection>? {
        let slot = UInt32(truncatingIfNeeded: token)
        guard slot < used else { return nil }
        let place = unsafe Ref(base + Int(slot))
        return place.value.generation == UInt32(truncatingIfNeeded: token >> 32) ? place : nil
    }

    /// A free place; nil if all are taken.
    mutating func take(_ kind: PlaceKind) -> (ConnectionID, Ref<Connection>)? {
        let slot: UInt32
        if firstFree != UInt32.max {
            slot = firstFree
            firstFree = place(slot).value.nextFree
        } else {
            guard Int(used) < capacity else { return nil }
            slot = used
            used += 1
            unsafe (base + Int(slot)).initialize(to: Connection())
        }
        let place = place(slot)
        place.value.kind = kind
        return (ConnectionID(slot: slot, generation: place.value.generation), place)
    }

    /// Gives a place back under the next generation. What it owned must have been released.
    mutating func giveBack(_ slot: UInt32) {
        let place = place(slot)
        var generation = place.value.generation &+ 1
        if generation == 0 { generation = 1 }
        place.value = Connection()
        place.value.generation = generation
        place.value.nextFree = firstFree
        firstFree = slot
    }
}
