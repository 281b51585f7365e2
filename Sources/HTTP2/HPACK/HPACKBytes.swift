#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A block of bytes that is filled from its front and never moves or grows: fields point into it. It is freed with its owner.
@safe struct HPACKBytes: ~Copyable {
    private var base: UnsafeMutablePointer<UInt8>?
    private(set) var used = 0
    private(set) var capacity = 0

    /// A block of `capacity` bytes; without any it has no memory.
    init(capacity: Int = 0) {
        guard capacity > 0 else {
            unsafe base = nil
            return
        }
        guard let raw = unsafe malloc(capacity) else { fatalError("out of memory: \(capacity) bytes") }
        unsafe base = raw.bindMemory(to: UInt8.self, capacity: capacity)
        self.capacity = capacity
    }

    deinit { unsafe free(base) }

    /// Bytes that can still be appended.
    var room: Int { capacity &- used }

    /// Appends a copy and tells where it lies. There must be room.
    @discardableResult
    mutating func append(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        precondition(bytes.count <= room, "a block of HPACK has a fixed size")
        guard bytes.count > 0 else { return unsafe UnsafeRawBufferPointer(start: nil, count: 0) }
        let target = unsafe base.unsafelyUnwrapped + used
        unsafe memcpy(target, bytes.baseAddress.unsafelyUnwrapped, bytes.count)
        used &+= bytes.count
        return unsafe UnsafeRawBufferPointer(start: target, count: bytes.count)
    }

    /// Lets `body` write up to `count` bytes, for which there must be room. It returns how many it wrote; below 0: none, and the
    /// result is nil.
    mutating func append(
        upTo count: Int, _ body: (UnsafeMutablePointer<UInt8>) -> Int
    ) -> UnsafeRawBufferPointer? {
        precondition(count <= room && count > 0, "a block of HPACK has a fixed size")
        let target = unsafe base.unsafelyUnwrapped + used
        let written = unsafe body(target)
        guard written >= 0 else { return nil }
        precondition(written <= count, "more was written than there was room for")
        used &+= written
        return unsafe UnsafeRawBufferPointer(start: target, count: written)
    }

    /// The bytes from `offset` on.
    func bytes(at offset: Int, count: Int) -> UnsafeRawBufferPointer {
        precondition(offset >= 0 && count >= 0 && count <= used &- offset, "outside the block")
        return unsafe UnsafeRawBufferPointer(start: base.map { unsafe $0 + offset }, count: count)
    }

    /// Where the `count` bytes from `offset` on begin.
    @inline(__always)
    func start(of count: Int, at offset: Int) -> UnsafePointer<UInt8> {
        precondition(offset >= 0 && count >= 0 && count <= used &- offset, "outside the block")
        guard let base = unsafe base else { return unsafe HeaderField.emptyStart }
        return unsafe UnsafePointer(base + offset)
    }

    /// Whether a pointer points into the block.
    func contains(_ pointer: UnsafePointer<UInt8>) -> Bool {
        guard let base = unsafe base else { return false }
        let start = UInt(bitPattern: base)
        let address = UInt(bitPattern: pointer)
        return address >= start && address < start &+ UInt(bitPattern: capacity)
    }

    /// Drops everything and keeps the memory.
    mutating func removeAll() { used = 0 }
}
