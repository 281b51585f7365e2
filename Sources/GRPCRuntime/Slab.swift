/// Numbered places for values that must not move: chunks that are added and never given back, a list of free places.
///
/// Its state lies behind a pointer, so that a class can have one as a constant: using it costs no exclusivity check. Whoever
/// owns a slab removes its elements and calls `deallocate` at the end.
@safe struct Slab<Element: ~Copyable> {
    private static var chunkSize: Int { 64 }

    @safe private struct State {
        var chunks: UnsafeMutablePointer<UnsafeMutablePointer<Element>>?
        var chunkCount = 0
        var chunkCapacity = 0
        var free: [UInt32] = []
        var used: [Bool] = []
        var count = 0
    }

    private let state: UnsafeMutablePointer<State>

    init() {
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: State())
    }

    /// Gives the memory back; there are no elements left.
    func deallocate() {
        let chunkCount = unsafe state.pointee.chunkCount
        for index in 0..<chunkCount {
            unsafe state.pointee.chunks.unsafelyUnwrapped[index].deallocate()
        }
        unsafe state.pointee.chunks?.deallocate()
        unsafe state.deinitialize(count: 1)
        unsafe state.deallocate()
    }

    var count: Int { unsafe state.pointee.count }

    /// The element at `index`, which must have been inserted. Its address stays until it is removed; the place stays readable
    /// memory until `deallocate`.
    @inline(__always)
    subscript(index: UInt32) -> UnsafeMutablePointer<Element> {
        unsafe precondition(Int(index >> 6) < state.pointee.chunkCount, "no such place")
        return unsafe state.pointee.chunks.unsafelyUnwrapped[Int(index >> 6)] + Int(index & 63)
    }

    func insert(_ element: consuming Element) -> UInt32 {
        let index = place()
        unsafe self[index].initialize(to: element)
        unsafe state.pointee.used[Int(index)] = true
        unsafe state.pointee.count += 1
        return index
    }

    func remove(_ index: UInt32) {
        unsafe self[index].deinitialize(count: 1)
        unsafe state.pointee.used[Int(index)] = false
        unsafe state.pointee.free.append(index)
        unsafe state.pointee.count -= 1
    }

    /// Whether there is an element at `index`.
    @inline(__always)
    func isUsed(_ index: UInt32) -> Bool {
        unsafe Int(index) < state.pointee.used.count && state.pointee.used[Int(index)]
    }

    /// Places that may hold an element.
    var places: Range<UInt32> { 0..<UInt32(unsafe state.pointee.used.count) }

    private func place() -> UInt32 {
        if let index = unsafe state.pointee.free.popLast() { return index }
        if unsafe state.pointee.chunkCount == state.pointee.chunkCapacity { growChunks() }
        let chunk = UnsafeMutablePointer<Element>.allocate(capacity: Self.chunkSize)
        unsafe (state.pointee.chunks.unsafelyUnwrapped + state.pointee.chunkCount).initialize(to: chunk)
        let first = unsafe UInt32(state.pointee.chunkCount * Self.chunkSize)
        unsafe state.pointee.chunkCount += 1
        unsafe state.pointee.used.append(contentsOf: repeatElement(false, count: Self.chunkSize))
        for index in (1..<UInt32(Self.chunkSize)).reversed() { unsafe state.pointee.free.append(first + index) }
        return first
    }

    private func growChunks() {
        let capacity = unsafe max(4, state.pointee.chunkCapacity * 2)
        let larger = UnsafeMutablePointer<UnsafeMutablePointer<Element>>.allocate(capacity: capacity)
        if let chunks = unsafe state.pointee.chunks {
            unsafe larger.moveInitialize(from: chunks, count: state.pointee.chunkCount)
            unsafe chunks.deallocate()
        }
        unsafe state.pointee.chunks = larger
        unsafe state.pointee.chunkCapacity = capacity
    }
}
