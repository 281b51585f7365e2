#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Why a header block could not be decoded. Each is a COMPRESSION_ERROR of the connection (RFC 7541 §2.2…6.3).
public enum HPACKError: Error, Hashable, Sendable {
    /// The block ends in the middle of an integer or a string.
    case truncated
    /// An integer above 2³¹ or with needless octets.
    case integerOverflow
    /// Index 0, or one that neither table has.
    case invalidIndex
    /// Wrong code or padding.
    case invalidHuffman
    /// A table size above what was allowed, or not at the beginning of a block.
    case invalidTableSize
}

/// Decodes header blocks (RFC 7541). Fields of the last block are in `fields`, until the next block.
///
/// Nothing is copied that need not be: a field points into the tables or into the block itself; only strings in Huffman
/// code are decoded into scratch memory.
@safe public struct HPACKDecoder: ~Copyable {
    private var table: HPACKDynamicTable
    /// What the peer may set the table to: our SETTINGS_HEADER_TABLE_SIZE.
    private let allowedTableSize: Int
    /// Decoded bytes, as §6.5.2 of RFC 9113 counts them, that one block may have; a block with more is decoded to keep the
    /// table in step, and its further fields are dropped.
    private let maximumListSize: Int

    private var list: UnsafeMutablePointer<HeaderField>?
    private var listCapacity = 0
    /// Number of fields in the last block.
    public private(set) var count = 0
    /// Size of the last block, dropped fields included.
    public private(set) var listSize = 0

    private var scratch: UnsafeMutablePointer<UInt8>?
    private var scratchUsed = 0
    private var scratchCapacity = 0
    private var retiredScratch: [UnsafeMutablePointer<UInt8>] = unsafe []

    private let huffman = HPACKHuffman.shared
    private let staticFields: UnsafePointer<HeaderField>

    /// - Parameters:
    ///   - tableSize: bytes of the dynamic table that the peer may use.
    ///   - maximumListSize: decoded bytes that a block may have.
    public init(tableSize: Int = 4096, maximumListSize: Int) {
        table = HPACKDynamicTable(maximumSize: tableSize)
        allowedTableSize = table.maximumSize
        self.maximumListSize = maximumListSize
        unsafe staticFields = HPACKStaticTable.shared.fields
    }

    deinit {
        unsafe list?.deallocate()
        unsafe free(scratch)
        for index in unsafe retiredScratch.indices { unsafe free(retiredScratch[index]) }
    }

    /// Whether the last block was larger than allowed; `fields` then lacks its end.
    public var isTooLarge: Bool { listSize > maximumListSize }

    /// A field of the last block.
    public subscript(index: Int) -> HeaderField {
        precondition(index >= 0 && index < count, "no such field")
        return unsafe list.unsafelyUnwrapped[index]
    }

    /// The size of the dynamic table in bytes, as RFC 7541 §4.1 counts them.
    public var tableSize: Int { table.size }

    /// Decodes one whole block. Its bytes must stay where they are while `fields` are read.
    public mutating func decode(_ block: UnsafeRawBufferPointer) throws(HPACKError) {
        table.releaseRetired()
        if unsafe !retiredScratch.isEmpty { releaseScratch() }
        scratchUsed = 0
        count = 0
        listSize = 0
        var position = 0
        var mayResize = true
        while position < block.count {
            let first = unsafe block[position]
            if first & 0x80 != 0 {
                let index: Int
                if first != 0xff {
                    index = Int(first & 0x7f)
                    position &+= 1
                } else {
                    index = unsafe try integer(block, &position, prefix: 7)
                }
                add(try field(index))
            } else if first & 0x40 != 0 {
                let field = unsafe try literal(block, &position, prefix: 6)
                table.insert(field)
                add(field)
            } else if first & 0x20 != 0 {
                guard mayResize else { throw .invalidTableSize }
                let size = unsafe try integer(block, &position, prefix: 5)
                guard size <= allowedTableSize else { throw .invalidTableSize }
                table.setMaximumSize(size)
                continue
            } else {
                var field = unsafe try literal(block, &position, prefix: 4)
                field.isSensitive = first & 0x10 != 0
                add(field)
            }
            mayResize = false
        }
    }

    /// An indexed field.
    @inline(__always)
    private func field(_ index: Int) throws(HPACKError) -> HeaderField {
        if index <= HPACKStaticTable.count {
            guard index > 0 else { throw .invalidIndex }
            return unsafe staticFields[index]
        }
        guard let field = table.field(index &- HPACKStaticTable.count) else { throw .invalidIndex }
        return field
    }

    @inline(__always)
    private mutating func add(_ field: HeaderField) {
        listSize &+= field.size
        guard listSize <= maximumListSize else { return }
        if count == listCapacity { growList() }
        unsafe (list.unsafelyUnwrapped + count).initialize(to: field)
        count &+= 1
    }

    private mutating func literal(
        _ block: UnsafeRawBufferPointer, _ position: inout Int, prefix: UInt8
    ) throws(HPACKError) -> HeaderField {
        let index = unsafe try integer(block, &position, prefix: prefix)
        if index != 0 {
            let named = try self.field(index)
            let value = unsafe try string(block, &position)
            var field = unsafe HeaderField(name: named.name, value: value)
            field.token = named.token
            field.isNameValid = named.isNameValid
            unsafe field.isValueValid = HeaderRules.isValidValue(value)
            return field
        }
        let name = unsafe try string(block, &position)
        let value = unsafe try string(block, &position)
        var field = unsafe HeaderField(name: name, value: value)
        field.classify()
        return field
    }

    /// An integer with an N-bit prefix (§5.1).
    private func integer(
        _ block: UnsafeRawBufferPointer, _ position: inout Int, prefix: UInt8
    ) throws(HPACKError) -> Int {
        guard position < block.count else { throw .truncated }
        let mask = UInt8(1) << prefix &- 1
        var value = Int(unsafe block[position] & mask)
        position &+= 1
        if value < Int(mask) { return value }
        var shift = 0
        while true {
            guard position < block.count else { throw .truncated }
            let byte = unsafe block[position]
            position &+= 1
            // Five octets reach beyond 2³¹: more are an attack (§5.1, last paragraph).
            guard shift <= 28 else { throw .integerOverflow }
            value &+= Int(byte & 0x7f) << shift
            guard value <= Int(Int32.max) else { throw .integerOverflow }
            if byte & 0x80 == 0 { return value }
            shift &+= 7
        }
    }

    /// A string (§5.2): a part of the block, or of the scratch memory.
    private mutating func string(
        _ block: UnsafeRawBufferPointer, _ position: inout Int
    ) throws(HPACKError) -> UnsafeRawBufferPointer {
        guard position < block.count else { throw .truncated }
        let isHuffman = unsafe block[position] & 0x80 != 0
        let length = unsafe try integer(block, &position, prefix: 7)
        guard length <= block.count - position else { throw .truncated }
        let raw = unsafe UnsafeRawBufferPointer(rebasing: block[position..<position + length])
        position += length
        guard isHuffman else { return unsafe raw }
        let room = length * 8 / 5 + 1
        if scratchUsed + room > scratchCapacity { growScratch(room) }
        let target = unsafe scratch.unsafelyUnwrapped + scratchUsed
        let written = unsafe huffman.decode(raw, into: target)
        guard written >= 0 else { throw .invalidHuffman }
        scratchUsed += written
        return unsafe UnsafeRawBufferPointer(start: target, count: written)
    }

    private mutating func growList() {
        let capacity = max(16, listCapacity * 2)
        let larger = UnsafeMutablePointer<HeaderField>.allocate(capacity: capacity)
        if let list = unsafe list {
            unsafe larger.moveInitialize(from: list, count: count)
            unsafe list.deallocate()
        }
        unsafe list = larger
        listCapacity = capacity
    }

    /// A new block of scratch memory; fields may still point into the old one.
    private mutating func growScratch(_ room: Int) {
        let capacity = max(512, scratchCapacity * 2, room)
        guard let raw = unsafe malloc(capacity) else { fatalError("out of memory: \(capacity) bytes") }
        if let old = unsafe scratch { unsafe retiredScratch.append(old) }
        unsafe scratch = raw.bindMemory(to: UInt8.self, capacity: capacity)
        scratchCapacity = capacity
        scratchUsed = 0
    }

    private mutating func releaseScratch() {
        for index in unsafe retiredScratch.indices { unsafe free(retiredScratch[index]) }
        unsafe retiredScratch.removeAll()
    }
}
