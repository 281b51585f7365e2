import Bytes

/// The Huffman code of HPACK (RFC 7541 §5.2, appendix B).
///
/// The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and shorter codes come
/// first. So the lengths alone define it, and the tables are computed from them once per process.
///
/// Decoding looks at the next 8 bits: the 74 symbols with codes up to 8 bits, which is nearly all of what headers contain,
/// are one look-up each. A longer code is found by its length: at most 13 comparisons.
@safe struct HPACKHuffman {
    /// Bits of the code of each byte; the end-of-string symbol has 30.
    private static let lengths: [UInt8] = [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
        28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
        6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
        5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
        13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
        15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
        6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
        20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
        24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
        22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
        21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
        26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
        19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
        20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
        26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
        30,
    ]

    /// The tables, made on first use and kept for the life of the process.
    static let shared = HPACKHuffman()

    private static let endOfString: UInt16 = 256

    /// Code (right-aligned) and length of each byte: `code << 8 | length`.
    private let codes: UnsafePointer<UInt64>
    /// By the next 8 bits: `symbol << 8 | length`, 0 when the code is longer.
    private let short: UnsafePointer<UInt16>
    /// By length 9…30: the first number, left-aligned in 32 bits, that is not a code of this length or shorter.
    private let limits: UnsafePointer<UInt64>
    /// By length: what to add to a code, right-aligned, to get its place in `symbols`.
    private let bases: UnsafePointer<Int32>
    /// All symbols in the order of their codes.
    private let symbols: UnsafePointer<UInt16>

    private init() {
        let order = (0..<257).sorted {
            (HPACKHuffman.lengths[$0], $0) < (HPACKHuffman.lengths[$1], $1)
        }
        let codes = UnsafeMutablePointer<UInt64>.allocate(capacity: 257)
        let short = UnsafeMutablePointer<UInt16>.allocate(capacity: 256)
        unsafe short.initialize(repeating: 0, count: 256)
        let limits = UnsafeMutablePointer<UInt64>.allocate(capacity: 32)
        unsafe limits.initialize(repeating: 0, count: 32)
        let bases = UnsafeMutablePointer<Int32>.allocate(capacity: 32)
        unsafe bases.initialize(repeating: 0, count: 32)
        let symbols = UnsafeMutablePointer<UInt16>.allocate(capacity: 257)

        var code: UInt64 = 0
        var length = 5
        for (place, symbol) in order.enumerated() {
            let symbolLength = Int(HPACKHuffman.lengths[symbol])
            while length < symbolLength {
                unsafe limits[length] = code << UInt64(32 - length)
                code <<= 1
                length += 1
            }
            if place == 0 || Int(HPACKHuffman.lengths[order[place - 1]]) != length {
                unsafe bases[length] = Int32(place) - Int32(code)
            }
            unsafe codes[symbol] = code << 8 | UInt64(length)
            unsafe symbols[place] = UInt16(symbol)
            if length <= 8 {
                let first = Int(code) << (8 - length)
                for index in first..<(first + 1 << (8 - length)) {
                    unsafe short[index] = UInt16(symbol) << 8 | UInt16(length)
                }
            }
            code += 1
        }
        // The code is complete: after the last symbol it has used up all numbers.
        precondition(code == 1 << 30, "the Huffman code of HPACK is complete")
        unsafe limits[30] = 1 << 32
        unsafe self.codes = UnsafePointer(codes)
        unsafe self.short = UnsafePointer(short)
        unsafe self.limits = UnsafePointer(limits)
        unsafe self.bases = UnsafePointer(bases)
        unsafe self.symbols = UnsafePointer(symbols)
    }

    /// Decodes `input` into `output`, which must have room for `input.count * 8 / 5` bytes. Returns how many bytes were
    /// written, or -1: a code for the end of string, padding that is longer than 7 bits or not all ones.
    func decode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutablePointer<UInt8>) -> Int {
        var window: UInt64 = 0  // the next bits, left-aligned
        var bits = 0  // how many of them are there
        var position = 0
        var written = 0
        let count = input.count
        let short = unsafe self.short
        // While eight bytes are left they are loaded at once, and any code is whole. A load may bring a few bits more than are
        // counted; the next one brings the same bits again.
        while count &- position >= 8 {
            let word = unsafe UInt64(bigEndian: input.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            window |= word &>> UInt64(truncatingIfNeeded: bits)
            position &+= (63 &- bits) >> 3
            bits |= 56
            repeat {
                let entry = unsafe short[Int(truncatingIfNeeded: window >> 56)]
                if entry != 0 {
                    unsafe output[written] = UInt8(truncatingIfNeeded: entry >> 8)
                    written &+= 1
                    window &<<= UInt64(entry & 0xff)
                    bits &-= Int(entry & 0xff)
                } else {
                    let long = unsafe decodeLong(window, &output[written])
                    guard long > 0 else { return -1 }
                    written &+= 1
                    window &<<= UInt64(truncatingIfNeeded: long)
                    bits &-= long
                }
            } while bits >= 30
        }
        while position < count || bits > 0 {
            while bits <= 56 && position < count {
                window |= UInt64(unsafe input[position]) << UInt64(truncatingIfNeeded: 56 &- bits)
                bits &+= 8
                position &+= 1
            }
            let entry = unsafe short[Int(truncatingIfNeeded: window >> 56)]
            var length = Int(entry & 0xff)
            if length != 0 && length <= bits {
                unsafe output[written] = UInt8(truncatingIfNeeded: entry >> 8)
            } else {
                // Padding: less than a byte of ones (§5.2). No code is all ones in so few bits.
                if position == count && bits < 8 && window == ~(UInt64.max >> UInt64(bits)) { return written }
                length = unsafe decodeLong(window, &output[written])
                guard length > 0 && length <= bits else { return -1 }
            }
            written &+= 1
            window &<<= UInt64(truncatingIfNeeded: length)
            bits &-= length
        }
        return written
    }

    /// A code of more than 8 bits: returns its length, -1 for the end of string.
    @inline(never)
    private func decodeLong(_ window: UInt64, _ output: inout UInt8) -> Int {
        let top = window >> 32
        var length = 9
        while unsafe length < 30 && top >= limits[length] { length &+= 1 }
        let code = Int32(truncatingIfNeeded: window >> UInt64(64 &- length))
        let place = unsafe Int(code &+ bases[length])
        guard place >= 0 && place < 257 else { return -1 }
        let symbol = unsafe symbols[place]
        guard symbol != HPACKHuffman.endOfString else { return -1 }
        output = UInt8(truncatingIfNeeded: symbol)
        return length
    }

    /// Bytes that the Huffman form of `bytes` takes.
    func encodedCount(_ bytes: UnsafeRawBufferPointer) -> Int {
        var bits = 0
        for index in 0..<bytes.count { bits &+= Int(unsafe codes[Int(bytes[index])] & 0xff) }
        return (bits &+ 7) >> 3
    }

    /// Appends the Huffman form of `bytes`.
    func encode(_ bytes: UnsafeRawBufferPointer, into output: inout ByteBuffer) {
        var window: UInt64 = 0
        var bits: UInt64 = 0
        for index in 0..<bytes.count {
            let entry = unsafe codes[Int(bytes[index])]
            let length = entry & 0xff
            window = window << length | entry >> 8
            bits &+= length
            while bits >= 8 {
                bits &-= 8
                output.append(UInt8(truncatingIfNeeded: window >> bits))
            }
        }
        if bits > 0 {
            output.append(UInt8(truncatingIfNeeded: window << (8 &- bits) | (0xff >> bits)))
        }
    }
}

/// Proof: the tables are written in `init` and read only after it.
extension HPACKHuffman: @unchecked Sendable {}
