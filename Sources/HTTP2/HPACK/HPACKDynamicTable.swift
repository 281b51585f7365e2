#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// HPACK's dynamic table (RFC 7541 §2.3.2, §4): the newest entry has index 1 here, the oldest is evicted first.
///
/// The strings of all entries lie in one block in the order of insertion, new ones at the end. When the block is full, the
/// live ones move to a new block; the old block is kept until `releaseRetired`, so fields that point into it stay valid
/// while a header block is being decoded. An unused table has no memory.
@safe struct HPACKDynamicTable: ~Copyable {
    private struct Entry {
        var offset: UInt32
        var nameCount: UInt16
        var valueCount: UInt16
        var token: HeaderToken
        var flags: UInt8  // 1: the name is valid, 2: the value is valid
    }

    /// Most bytes that a table is ever allowed to have here; a name or value then fits in 16 bits.
    static let largestMaximum = 32 << 10

    /// Bytes as §4.1 counts them.
    private(set) var size = 0
    /// Bytes that the table may have now.
    private(set) var maximumSize: Int
    private(set) var count = 0
    /// How many were ever inserted: the absolute number of the newest entry.
    private(set) var insertions = 0

    private var entries: UnsafeMutablePointer<Entry>?
    private var entryCapacity = 0  // a power of two, or 0
    private var newest = 0  // place of the newest entry in the ring
    private var bytes: UnsafeMutablePointer<UInt8>?
    private var bytesUsed = 0
    private var bytesCapacity = 0
    private var retired: [UnsafeMutablePointer<UInt8>] = unsafe []

    init(maximumSize: Int) {
        self.maximumSize = min(maximumSize, Self.largestMaximum)
    }

    deinit {
        unsafe entries?.deallocate()
        unsafe free(bytes)
        for index in unsafe retired.indices { unsafe free(retired[index]) }
    }

    /// Frees the blocks that fields of the last header block may have pointed into.
    @inline(__always)
    mutating func releaseRetired() {
        if unsafe !retired.isEmpty { freeRetired() }
    }

    private mutating func freeRetired() {
        for index in unsafe retired.indices { unsafe free(retired[index]) }
        unsafe retired.removeAll()
    }

    /// The entry with `index` (1 = newest), nil if there is none.
    @inline(__always)
    func field(_ index: Int) -> HeaderField? {
        guard index >= 1 && index <= count else { return nil }
        let entry = unsafe entries.unsafelyUnwrapped + ((newest &- index &+ 1) & (entryCapacity &- 1))
        let name = unsafe bytes.unsafelyUnwrapped + Int(entry.pointee.offset)
        var field = unsafe HeaderField(
            name: UnsafeRawBufferPointer(start: name, count: Int(entry.pointee.nameCount)),
            value: UnsafeRawBufferPointer(
                start: name + Int(entry.pointee.nameCount), count: Int(entry.pointee.valueCount)))
        unsafe field.token = entry.pointee.token
        unsafe field.isNameValid = entry.pointee.flags & 1 != 0
        unsafe field.isValueValid = entry.pointee.flags & 2 != 0
        return field
    }

    /// Inserts a field that was classified. One that is larger than the table empties it (§4.4).
    mutating func insert(_ field: HeaderField) {
        let extra = field.size
        guard extra <= maximumSize else {
            evict(downTo: 0)
            return
        }
        evict(downTo: maximumSize - extra)
        let length = extra - 32
        // The field may point into this table (a name taken from an entry that was just evicted): `makeRoom` retires the
        // old block instead of freeing it, so the source is still there.
        if bytesUsed + length > bytesCapacity { makeRoom(length) }
        if count == entryCapacity { growEntries() }
        let target = unsafe bytes.unsafelyUnwrapped + bytesUsed
        unsafe memcpy(target, field.nameStart, Int(field.nameCount))
        unsafe memcpy(target + Int(field.nameCount), field.valueStart, Int(field.valueCount))
        newest = (newest &+ 1) & (entryCapacity &- 1)
        unsafe entries.unsafelyUnwrapped[newest] = Entry(
            offset: UInt32(bytesUsed), nameCount: UInt16(field.nameCount), valueCount: UInt16(field.valueCount),
            token: field.token, flags: (field.isNameValid ? 1 : 0) | (field.isValueValid ? 2 : 0))
        bytesUsed += length
        size += extra
        count += 1
        insertions += 1
    }

    /// Changes what the table may hold (§4.3).
    mutating func setMaximumSize(_ value: Int) {
        maximumSize = min(value, Self.largestMaximum)
        evict(downTo: maximumSize)
    }

    private mutating func evict(downTo limit: Int) {
        while size > limit {
            let oldest = unsafe entries.unsafelyUnwrapped[(newest &- count &+ 1) & (entryCapacity &- 1)]
            size -= Int(oldest.nameCount) + Int(oldest.valueCount) + 32
            count -= 1
        }
    }

    /// A block with room for `length` more bytes behind the live ones.
    private mutating func makeRoom(_ length: Int) {
        let live = size - 32 * count
        let wanted = min(max(256, (live + length) * 2), 2 * maximumSize + 64)
        let capacity = max(wanted, live + length)
        guard let raw = unsafe malloc(capacity) else { fatalError("out of memory: \(capacity) bytes") }
        let block = unsafe raw.bindMemory(to: UInt8.self, capacity: capacity)
        if let old = unsafe bytes {
            // Live strings are contiguous: the oldest entry's offset is where they begin.
            if count > 0 {
                let first = unsafe entries.unsafelyUnwrapped[(newest &- count &+ 1) & (entryCapacity &- 1)].offset
                unsafe memcpy(block, old + Int(first), live)
                for index in 0..<count {
                    unsafe entries.unsafelyUnwrapped[(newest &- index) & (entryCapacity &- 1)].offset -= first
                }
            }
            unsafe retired.append(old)
        }
        unsafe bytes = block
        bytesUsed = live
        bytesCapacity = capacity
    }

    private mutating func growEntries() {
        let capacity = max(8, entryCapacity * 2)
        let larger = UnsafeMutablePointer<Entry>.allocate(capacity: capacity)
        for index in 0..<count {
            // The oldest goes to place 0.
            unsafe (larger + index).initialize(
                to: entries.unsafelyUnwrapped[(newest &- count &+ 1 &+ index) & (entryCapacity &- 1)])
        }
        unsafe entries?.deallocate()
        unsafe entries = larger
        entryCapacity = capacity
        newest = count - 1
    }
}
