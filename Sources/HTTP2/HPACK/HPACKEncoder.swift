import Bytes
import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Encodes header fields (RFC 7541) into a buffer, one after the other.
///
/// A field that is in a table costs one or two bytes; it is found by a hash of its name and value. What enters the table is
/// the caller's choice per field (`Indexing`): values that come again do, values that are new each time must not push the
/// others out.
@safe public struct HPACKEncoder: ~Copyable {
    public enum Indexing: Sendable {
        /// Put it into the dynamic table: it will come again.
        case table
        /// Do not: its value is different each time.
        case none
        /// Nobody on the way may (RFC 7541 §7.1.3): secrets.
        case never
    }

    private struct Slot: BitwiseCopyable {
        var hash: UInt32 = 0
        /// Absolute number of the entry (see `HPACKDynamicTable.insertions`), 0: free.
        var entry: Int32 = 0
    }

    private var table: HPACKDynamicTable
    /// What we use at most, whatever the peer allows: bytes.
    private let preferredTableSize: Int
    /// Table sizes to announce at the beginning of the next block: the smallest since, and the last.
    private var pendingSmallest: Int?
    private var pendingSize: Int?

    /// Whole fields by hash; a power of two of places, an older entry gives way to a newer one.
    /// None until a field enters the table.
    private var slots = Vector<Slot>()
    private static let slotCount = 256

    /// Absolute number of the entry that the last field was found in or put into, 0: none.
    private var lastEntry = 0

    /// Entries that have the names which the static table lacks, by token; 0: none.
    private var nameEntries = InlineArray<16, Int>(repeating: 0)

    private let huffman = HPACKHuffman.shared
    private let staticFields: UnsafePointer<HeaderField>

    /// - Parameter tableSize: bytes of the dynamic table that are used when the peer allows it.
    public init(tableSize: Int = 4096) {
        preferredTableSize = min(max(tableSize, 0), 4096)
        table = HPACKDynamicTable(maximumSize: preferredTableSize)
        unsafe staticFields = HPACKStaticTable.shared.fields
    }

    // Without an end of its own, whoever replaces an encoder ends its parts, and Swift 6.3's optimizer aborts when it inlines
    // that ("inlining a resilient function into a fragile function", release builds only).
    deinit {}

    /// The peer's SETTINGS_HEADER_TABLE_SIZE (§4.2): announced at the beginning of the next block.
    public mutating func setAllowedTableSize(_ size: Int) {
        let size = min(size, preferredTableSize)
        guard size != (pendingSize ?? table.maximumSize) else { return }
        pendingSmallest = min(size, pendingSmallest ?? size)
        pendingSize = size
    }

    /// A block that was encoded is not sent: the peer's table and ours differ from now on. Both are emptied at the beginning of
    /// the next block, by announcing a size of 0 and the old one.
    mutating func blockWasDropped() {
        pendingSize = pendingSize ?? table.maximumSize
        pendingSmallest = 0
    }

    /// To be called before the first field of each block.
    @inline(__always)
    public mutating func beginBlock(into output: inout ByteBuffer) {
        if pendingSize != nil { announceTableSize(into: &output) }
    }

    private mutating func announceTableSize(into output: inout ByteBuffer) {
        guard let size = pendingSize, let smallest = pendingSmallest else { return }
        if smallest < size {
            table.setMaximumSize(smallest)
            appendInteger(smallest, prefix: 5, first: 0x20, into: &output)
        }
        table.setMaximumSize(size)
        appendInteger(size, prefix: 5, first: 0x20, into: &output)
        pendingSize = nil
        pendingSmallest = nil
    }

    /// Encodes a field of the static table whole, by its index there.
    @inline(__always)
    public func encode(staticIndex: UInt8, into output: inout ByteBuffer) {
        output.append(0x80 | staticIndex)
    }

    /// A field that is encoded again and again on one connection: its place in the table is remembered here, without a hash.
    public struct Remembered: Sendable {
        var entry = 0
        public init() {}
    }

    /// Encodes a field whose name and value never change, remembering where it is.
    @inline(__always)
    public mutating func encode(
        _ name: StaticString, _ value: StaticString, remembered: inout Remembered, into output: inout ByteBuffer
    ) {
        let age = table.insertions &- remembered.entry
        if remembered.entry > 0 && age < table.count && age &+ 62 < 127 {
            output.append(UInt8(truncatingIfNeeded: 0x80 | (age &+ 62)))
            return
        }
        unsafe encode(
            UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount),
            UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount), .table, into: &output)
        remembered.entry = lastEntry
    }

    /// Encodes a field whose value never changes, remembering where it is.
    @inline(__always)
    public mutating func encode(
        _ token: HeaderToken, _ value: UnsafeRawBufferPointer, remembered: inout Remembered,
        into output: inout ByteBuffer
    ) {
        let age = table.insertions &- remembered.entry
        if remembered.entry > 0 && age < table.count && age &+ 62 < 127 {
            output.append(UInt8(truncatingIfNeeded: 0x80 | (age &+ 62)))
            return
        }
        unsafe encode(token, value, .table, into: &output)
        remembered.entry = lastEntry
    }

    /// Encodes one field whose name has a token. A name that the static table lacks enters the dynamic table with its first
    /// value, whatever `indexing` says, so that it costs an index from then on.
    public mutating func encode(
        _ token: HeaderToken, _ value: UnsafeRawBufferPointer, _ indexing: Indexing, into output: inout ByteBuffer
    ) {
        let extra = Int(token.rawValue) &- HeaderToken.firstExtra
        if extra >= 0 && indexing == .none {
            let age = table.insertions &- nameEntries[extra]
            if nameEntries[extra] > 0 && age < table.count {
                appendInteger(age &+ 62, prefix: 4, first: 0x00, into: &output)
                return unsafe appendString(value, into: &output)
            }
            unsafe encode(HeaderToken.name(token), value, .table, into: &output)
            nameEntries[extra] = lastEntry
            return
        }
        unsafe encode(HeaderToken.name(token), value, indexing, into: &output)
    }

    /// Encodes one field. The name must be lower-case.
    public mutating func encode(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ indexing: Indexing,
        into output: inout ByteBuffer
    ) {
        var field = unsafe HeaderField(name: name, value: value)
        unsafe field.token = HeaderToken.of(name)
        lastEntry = 0
        if field.token.rawValue <= HPACKStaticTable.count && field.token != .other && indexing != .never {
            // A whole field of the static table? Names with values lie side by side.
            var index = Int(field.token.rawValue)
            while index <= HPACKStaticTable.count, unsafe staticFields[index].token == field.token {
                if unsafe Self.equal(staticFields[index].value, value) {
                    return output.append(0x80 | UInt8(index))
                }
                index += 1
            }
        }
        let nameIndex = field.token.rawValue <= HPACKStaticTable.count ? Int(field.token.rawValue) : 0
        switch indexing {
        case .never:
            appendInteger(nameIndex, prefix: 4, first: 0x10, into: &output)
            if nameIndex == 0 { unsafe appendPlain(name, into: &output) }
            // Credentials look like random: Huffman code would take instructions at both ends, and make them little shorter.
            return unsafe appendPlain(value, into: &output)
        case .none:
            appendInteger(nameIndex, prefix: 4, first: 0x00, into: &output)
        case .table:
            let hash = unsafe Self.hash(name, value)
            if slots.isEmpty {
                for _ in 0..<Self.slotCount { slots.append(Slot()) }
            }
            let slot = Int(hash) & (Self.slotCount &- 1)
            let known = slots[slot]
            let age = table.insertions &- Int(known.entry)
            if known.entry > 0 && known.hash == hash && age < table.count, let entry = table.field(age + 1),
                unsafe Self.equal(entry.name, name) && Self.equal(entry.value, value)
            {
                lastEntry = Int(known.entry)
                appendInteger(age + 62, prefix: 7, first: 0x80, into: &output)
                return
            }
            appendInteger(nameIndex, prefix: 6, first: 0x40, into: &output)
            unsafe appendLiteral(name: name, value: value, isNameNeeded: nameIndex == 0, into: &output)
            let before = table.insertions
            // Nothing points into the block that the table may have left.
            _ = table.insert(field)
            if table.insertions > before {
                lastEntry = table.insertions
                slots[slot] = Slot(hash: hash, entry: Int32(truncatingIfNeeded: table.insertions))
            }
            return
        }
        unsafe appendLiteral(name: name, value: value, isNameNeeded: nameIndex == 0, into: &output)
    }

    /// The size of the dynamic table in bytes.
    public var tableSize: Int { table.size }

    /// What the dynamic table may have now, in bytes.
    package var maximumTableSize: Int { table.maximumSize }

    /// Bytes of memory.
    public var heldBytes: Int { table.heldBytes &+ slots.capacity &* MemoryLayout<Slot>.stride }

    private func appendLiteral(
        name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, isNameNeeded: Bool, into output: inout ByteBuffer
    ) {
        if isNameNeeded { unsafe appendString(name, into: &output) }
        unsafe appendString(value, into: &output)
    }

    /// Bytes of the longest string that is tried in Huffman code. Reason: what is longer is mostly a token, which comes with every
    /// call and becomes a quarter shorter at best, for some forty instructions a byte at each end.
    private static let longestEncoded = 128

    /// A string in Huffman code, or as it is when that is not longer, so short that there is little to win, or long.
    private func appendString(_ bytes: UnsafeRawBufferPointer, into output: inout ByteBuffer) {
        if bytes.count > Self.longestEncoded { return unsafe appendPlain(bytes, into: &output) }
        if bytes.count <= 9 {
            output.append(UInt8(truncatingIfNeeded: bytes.count))
            return unsafe output.append(bytes)
        }
        let encoded = unsafe huffman.encodedCount(bytes)
        if encoded < bytes.count {
            appendInteger(encoded, prefix: 7, first: 0x80, into: &output)
            unsafe huffman.encode(bytes, into: &output)
        } else {
            unsafe appendPlain(bytes, into: &output)
        }
    }

    private func appendPlain(_ bytes: UnsafeRawBufferPointer, into output: inout ByteBuffer) {
        appendInteger(bytes.count, prefix: 7, first: 0x00, into: &output)
        unsafe output.append(bytes)
    }

    private func appendInteger(_ value: Int, prefix: UInt8, first: UInt8, into output: inout ByteBuffer) {
        let mask = Int(1) << Int(prefix) &- 1
        if value < mask { return output.append(first | UInt8(truncatingIfNeeded: value)) }
        output.append(first | UInt8(truncatingIfNeeded: mask))
        var rest = value - mask
        while rest >= 0x80 {
            output.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        output.append(UInt8(truncatingIfNeeded: rest))
    }

    private static func equal(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        guard a.count == b.count else { return false }
        guard a.count > 0 else { return true }
        return unsafe memcmp(a.baseAddress.unsafelyUnwrapped, b.baseAddress.unsafelyUnwrapped, a.count) == 0
    }

    /// FNV-1a over name, a separator and value.
    private static func hash(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> UInt32 {
        var hash: UInt32 = 2_166_136_261
        for index in 0..<name.count { hash = (hash ^ UInt32(unsafe name[index])) &* 16_777_619 }
        hash = (hash ^ 0xff) &* 16_777_619
        for index in 0..<value.count { hash = (hash ^ UInt32(unsafe value[index])) &* 16_777_619 }
        return hash ^ (hash >> 15)
    }
}
