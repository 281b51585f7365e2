import Memory

/// HPACK's dynamic table (RFC 7541 §2.3.2, §4): the newest entry has index 1 here, the oldest is evicted first.
///
/// The strings of all entries lie in one block in the order of insertion, new ones at the end. When the block is full, the
/// live ones move to a new block, at most twice as large as the table may be; whoever has fields that point into the old one
/// is given it, to copy what it still needs before that is freed. An unused table has no memory.
struct HPACKDynamicTable: ~Copyable {
    private struct Entry: BitwiseCopyable {
        var offset: UInt32 = 0
        var nameCount: UInt16 = 0
        var valueCount: UInt16 = 0
        var token = HeaderToken.other
        var flags: UInt8 = 0  // 1: the name is valid, 2: the value is valid

        /// Bytes as §4.1 counts them.
        var size: Int { Int(nameCount) &+ Int(valueCount) &+ 32 }
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
    /// Bytes and entries that were moved to make room: what tests count.
    private(set) var work = 0

    /// A ring of a power of two of places, or none.
    private var entries = Vector<Entry>()
    private var newest = 0  // place of the newest entry in the ring
    private var strings = HPACKBytes()

    init(maximumSize: Int) {
        self.maximumSize = min(max(maximumSize, 0), Self.largestMaximum)
    }

    /// Bytes of memory.
    var heldBytes: Int { strings.capacity &+ entries.capacity &* MemoryLayout<Entry>.stride }

    /// The entry with `index` (1 = newest), nil if there is none.
    @inline(__always)
    func field(_ index: Int) -> HeaderField? {
        guard index >= 1 && index <= count else { return nil }
        let entry = entries[(newest &- index &+ 1) & (entries.count &- 1)]
        let nameCount = UInt32(entry.nameCount)
        let valueCount = UInt32(entry.valueCount)
        let name = unsafe strings.start(of: Int(nameCount &+ valueCount), at: Int(entry.offset))
        var field = unsafe HeaderField(
            nameStart: name, nameCount: nameCount, valueStart: name + Int(nameCount), valueCount: valueCount,
            token: entry.token)
        field.isNameValid = entry.flags & 1 != 0
        field.isValueValid = entry.flags & 2 != 0
        return field
    }

    /// Inserts a field that was classified. One that is larger than the table empties it (§4.4).
    ///
    /// - Returns: the block in which the strings lay, if they have moved. Fields may point into it until it is dropped.
    mutating func insert(_ field: HeaderField) -> HPACKBytes? {
        let extra = field.size
        guard extra <= maximumSize else {
            evict(downTo: 0)
            return nil
        }
        evict(downTo: maximumSize &- extra)
        // The field may point into this table, also to an entry that was just evicted: its bytes are there until the old block
        // is dropped.
        let old = strings.room < extra &- 32 ? makeRoom(extra &- 32) : nil
        if count == entries.count { growEntries() }
        newest = (newest &+ 1) & (entries.count &- 1)
        entries[newest] = Entry(
            offset: UInt32(clamping: strings.used), nameCount: UInt16(clamping: field.nameCount),
            valueCount: UInt16(clamping: field.valueCount), token: field.token,
            flags: (field.isNameValid ? 1 : 0) | (field.isValueValid ? 2 : 0))
        unsafe strings.append(field.name)
        unsafe strings.append(field.value)
        size &+= extra
        count &+= 1
        insertions &+= 1
        return old
    }

    /// Changes what the table may hold (§4.3). No field may point into it any more: a table of 0 bytes has no memory.
    mutating func setMaximumSize(_ value: Int) {
        maximumSize = min(max(value, 0), Self.largestMaximum)
        evict(downTo: maximumSize)
        if maximumSize == 0 {
            strings = HPACKBytes()
            entries.release()
        }
    }

    private mutating func evict(downTo limit: Int) {
        while size > limit {
            size &-= entries[oldest].size
            count &-= 1
        }
    }

    /// The place of the oldest entry.
    private var oldest: Int { (newest &- count &+ 1) & (entries.count &- 1) }

    /// Moves the live strings to a block with room for `length` more bytes, and gives the old block.
    private mutating func makeRoom(_ length: Int) -> HPACKBytes {
        let live = size &- 32 &* count
        // As much again, so that a string is moved once on average however the peer inserts.
        var block = HPACKBytes(capacity: max(256, (live &+ length) &* 2))
        work &+= live &+ count
        if count > 0 {
            // Live strings are contiguous: the oldest entry's offset is where they begin.
            let first = entries[oldest].offset
            unsafe block.append(strings.bytes(at: Int(first), count: live))
            for index in 0..<count { entries[(newest &- index) & (entries.count &- 1)].offset &-= first }
        }
        swap(&block, &strings)
        return block
    }

    private mutating func growEntries() {
        let capacity = max(8, entries.count &* 2)
        work &+= count
        var larger = Vector<Entry>()
        // The oldest goes to place 0.
        for index in 0..<count { larger.append(entries[(newest &- count &+ 1 &+ index) & (entries.count &- 1)]) }
        while larger.count < capacity { larger.append(Entry()) }
        newest = count &- 1
        entries = larger
    }
}
