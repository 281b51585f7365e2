/// Numbered places for values that must not move: chunks that are added and never given back, a list of free places.
@safe struct Slab<Element: ~Copyable>: ~Copyable {
    private static var chunkSize: Int { 64 }
    private var chunks: UnsafeMutablePointer<UnsafeMutablePointer<Element>>?
    private var chunkCount = 0
    private var chunkCapacity = 0
    private var free: [UInt32] = []
    private var used: [Bool] = []
    private(set) var count = 0

    init() {}

    deinit {
        // Whoever uses a slab removes its elements: only the memory is given back here.
        for index in 0..<chunkCount { unsafe chunks.unsafelyUnwrapped[index].deallocate() }
        unsafe chunks?.deallocate()
    }

    /// The element at `index`, which must have been inserted. Its address stays until it is removed; the place stays readable
    /// memory for ever.
    @inline(__always)
    subscript(index: UInt32) -> UnsafeMutablePointer<Element> {
        precondition(Int(index >> 6) < chunkCount, "no such place")
        return unsafe chunks.unsafelyUnwrapped[Int(index >> 6)] + Int(index & 63)
    }

    mutating func insert(_ element: consuming Element) -> UInt32 {
        let index = place()
        unsafe self[index].initialize(to: element)
        used[Int(index)] = true
        count += 1
        return index
    }

    mutating func remove(_ index: UInt32) {
        unsafe self[index].deinitialize(count: 1)
        used[Int(index)] = false
        free.append(index)
        count -= 1
    }

    /// Whether there is an element at `index`.
    @inline(__always)
    func isUsed(_ index: UInt32) -> Bool { Int(index) < used.count && used[Int(index)] }

    /// Places that may hold an element.
    var places: Range<UInt32> { 0..<UInt32(used.count) }

    private mutating func place() -> UInt32 {
        if let index = free.popLast() { return index }
        if chunkCount == chunkCapacity {
            let capacity = max(4, chunkCapacity * 2)
            let larger = UnsafeMutablePointer<UnsafeMutablePointer<Element>>.allocate(capacity: capacity)
            if let chunks = unsafe chunks {
                unsafe larger.moveInitialize(from: chunks, count: chunkCount)
                unsafe chunks.deallocate()
            }
            unsafe chunks = larger
            chunkCapacity = capacity
        }
        let chunk = UnsafeMutablePointer<Element>.allocate(capacity: Self.chunkSize)
        unsafe (chunks.unsafelyUnwrapped + chunkCount).initialize(to: chunk)
        let first = UInt32(chunkCount * Self.chunkSize)
        chunkCount += 1
        used.append(contentsOf: repeatElement(false, count: Self.chunkSize))
        for index in (1..<UInt32(Self.chunkSize)).reversed() { free.append(first + index) }
        return first
    }
}
