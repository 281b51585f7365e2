import Memory

/// Why a header block could not be decoded. Each is a COMPRESSION_ERROR of the connection (RFC 7541 §2.2…6.3), except
/// `tooMuchWork`.
public enum HPACKError: Error, Hashable, Sendable {
    /// The block ends in the middle of an integer or a string.
    case truncated
    /// An integer above 2³¹ or with needless octets.
    case integerOverflow
    /// Index 0, or one that neither table has.
    case invalidIndex
    /// Wrong code or padding.
    case invalidHuffman
    /// A table size above what was allowed, not at the beginning of a block, or the third there (§4.2).
    case invalidTableSize
    /// The block decodes to more than is worth going on for (ENHANCE_YOUR_CALM).
    case tooMuchWork
}

/// Decodes header blocks (RFC 7541). The fields of the last block are its elements, until the next block or `release`.
///
/// Nothing is copied that need not be: a field points into the tables or into the block itself; only strings in Huffman
/// code are decoded into scratch memory, and strings of the table are copied when it moves while a block is decoded. What a
/// block may cost is bounded in memory (twice the table, the list, the scratch memory of one block) and in work (`maximumWork`).
@safe public struct HPACKDecoder: ~Copyable {
    private var table: HPACKDynamicTable
    /// What the peer may set the table to: our SETTINGS_HEADER_TABLE_SIZE.
    private let allowedTableSize: Int
    /// Decoded bytes, as §6.5.2 of RFC 9113 counts them, that one block may have; a block with more is decoded to keep the
    /// table in step, and its further fields are dropped.
    private let maximumListSize: Int
    /// Decoded bytes at which decoding ends for good.
    private let maximumWork: Int

    private var list = Vector<HeaderField>()
    /// Size of the last block, dropped fields included.
    public private(set) var listSize = 0

    /// Strings of the last block that were in Huffman code.
    private var scratch = HPACKBytes()
    /// Strings of the last block's fields that lay in a block of the table which is gone.
    private var rescued = HPACKBytes()
    /// Memory for a block's strings and fields that is kept for the next one. Bytes, fields.
    private static let keptScratch = 2048
    private static let keptFields = 64

    private let huffman = HPACKHuffman.shared
    private let staticFields: UnsafePointer<HeaderField>

    /// Bytes that were decoded, moved or copied: what tests count.
    package var work: Int { decoded &+ table.work }
    private var decoded = 0

    /// - Parameters:
    ///   - tableSize: bytes of the dynamic table that the peer may use.
    ///   - maximumListSize: decoded bytes that a block may have.
    ///   - maximumWork: decoded bytes of a block, dropped fields included, beyond which it is refused.
    public init(tableSize: Int = 4096, maximumListSize: Int, maximumWork: Int = .max) {
        table = HPACKDynamicTable(maximumSize: tableSize)
        allowedTableSize = table.maximumSize
        self.maximumListSize = maximumListSize
        self.maximumWork = max(maximumWork, maximumListSize)
        unsafe staticFields = HPACKStaticTable.shared.fields
    }

    /// Number of fields in the last block.
    public var count: Int { list.count }

    /// Whether the last block was larger than allowed; its end is then missing.
    public var isTooLarge: Bool { listSize > maximumListSize }

    /// A field of the last block.
    public subscript(index: Int) -> HeaderField { list[index] }

    /// The size of the dynamic table in bytes, as RFC 7541 §4.1 counts them.
    public var tableSize: Int { table.size }

    /// Bytes of memory: the table, and what the last block's fields need.
    public var heldBytes: Int {
        table.heldBytes &+ scratch.capacity &+ rescued.capacity
            &+ list.capacity &* MemoryLayout<HeaderField>.stride
    }

    /// Whether the last block has left more memory than is kept for the next.
    var holdsMuch: Bool {
        scratch.capacity > Self.keptScratch || rescued.capacity > 0 || list.capacity > Self.keptFields
    }

    /// Drops the last block's fields, and gives back what memory a usual block does not need.
    mutating func release() {
        list.removeAll()
        if list.capacity > Self.keptFields { list.release() }
        if scratch.capacity > Self.keptScratch { scratch = HPACKBytes() }
        if rescued.capacity > 0 { rescued = HPACKBytes() }
    }

    /// Decodes one whole block. Its bytes must stay where they are while its fields are read.
    public mutating func decode(_ block: UnsafeRawBufferPointer) throws(HPACKError) {
        list.removeAll()
        listSize = 0
        scratch.removeAll()
        if rescued.capacity > 0 { rescued = HPACKBytes() }
        decoded &+= block.count
        var position = 0
        var resizes = 0
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
                try add(try field(index))
            } else if first & 0x40 != 0 {
                let field = unsafe try literal(block, &position, prefix: 6)
                try add(field)
                decoded &+= field.size
                // The fields that point into a block which the table has left take their strings along.
                if let old = table.insert(field) { rescue(from: old) }
            } else if first & 0x20 != 0 {
                // At the beginning, and twice at most: the smallest since the last block, and the last (§4.2).
                guard list.isEmpty && listSize == 0 && resizes < 2 else { throw .invalidTableSize }
                resizes &+= 1
                let size = unsafe try integer(block, &position, prefix: 5)
                guard size <= allowedTableSize else { throw .invalidTableSize }
                table.setMaximumSize(size)
            } else {
                var field = unsafe try literal(block, &position, prefix: 4)
                field.isSensitive = first & 0x10 != 0
                try add(field)
            }
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
    private mutating func add(_ field: HeaderField) throws(HPACKError) {
        listSize &+= field.size
        guard listSize <= maximumListSize else {
            if listSize > maximumWork { throw .tooMuchWork }
            return
        }
        list.append(field)
    }

    /// Copies those strings of the list that lie in `old`. All strings of the list are at most `maximumListSize` bytes.
    private mutating func rescue(from old: borrowing HPACKBytes) {
        if rescued.capacity == 0 { rescued = HPACKBytes(capacity: maximumListSize) }
        decoded &+= list.count
        for index in 0..<list.count {
            var field = list[index]
            if unsafe field.nameCount > 0 && old.contains(field.nameStart) {
                unsafe field.nameStart = HeaderField.start(rescued.append(field.name))
            }
            if unsafe field.valueCount > 0 && old.contains(field.valueStart) {
                unsafe field.valueStart = HeaderField.start(rescued.append(field.value))
            }
            list[index] = field
        }
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
        guard isHuffman && length > 0 else { return unsafe raw }
        // The shortest code has 5 bits. Room for all that is left of the block: scratch memory never moves.
        if scratch.used == 0 && scratch.capacity < (length &+ block.count &- position) &* 8 / 5 &+ 8 {
            scratch = HPACKBytes(capacity: max((length &+ block.count &- position) &* 8 / 5 &+ 8, 512))
        }
        guard let text = unsafe scratch.append(upTo: length &* 8 / 5 &+ 1, { unsafe huffman.decode(raw, into: $0) })
        else { throw .invalidHuffman }
        decoded &+= text.count
        return unsafe text
    }
}
