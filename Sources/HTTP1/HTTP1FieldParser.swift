import Bytes

extension HTTP1Parser {
    /// Notes the field lines (RFC 9112 §5) from `start` up to the empty line in the table.
    ///
    /// The hot loop of the engine: eight bytes a step, and everything that changes is held in registers.
    ///
    /// - Returns: where the head ends; nil: it is not all there, or not good.
    @inline(__always)
    func readFields(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> Int? {
        let fields = unsafe table.pointee.fields
        let maximum = unsafe table.pointee.maximumFields
        var index = 0
        var bits: UInt64 = 0
        var notable: UInt64 = 0
        var line = start
        defer {
            unsafe table.pointee.fieldCount = UInt16(truncatingIfNeeded: index)
            unsafe table.pointee.nameBits = bits
            unsafe table.pointee.notable = notable
        }
        while true {
            let nameEnd = unsafe endOfName(base, line, count)
            if nameEnd == count { return nil }
            guard nameEnd > line, unsafe base[nameEnd] == UInt8(ascii: ":") else {
                // The empty line, or a mistake.
                let isEnd = unsafe nameEnd == line && base[line] == 13 && line &+ 1 < count && base[line &+ 1] == 10
                return isEnd ? line &+ 2 : nil
            }
            var valueStart = nameEnd &+ 1
            while valueStart < count, case let byte = unsafe base[valueStart], byte == 32 || byte == 9 {
                valueStart &+= 1
            }
            let end = unsafe endOfValue(base, valueStart, count)
            if end &+ 1 >= count { return nil }
            let ending = UInt16(littleEndian: unsafe UnsafeRawPointer(base + end).loadUnaligned(as: UInt16.self))
            if ending != 0x0A0D || index == maximum { return nil }
            var valueEnd = end
            while valueEnd > valueStart, case let byte = unsafe base[valueEnd &- 1], byte == 32 || byte == 9 {
                valueEnd &-= 1
            }
            let nameCount = nameEnd &- line
            unsafe fields[index] = HTTP1Field(
                nameStart: UInt16(truncatingIfNeeded: line), nameCount: UInt16(truncatingIfNeeded: nameCount),
                valueStart: UInt16(truncatingIfNeeded: valueStart),
                valueCount: UInt16(truncatingIfNeeded: valueEnd &- valueStart))
            unsafe bits |= HTTP1HeadStorage.nameBit(base[line], nameCount)
            if unsafe isNotable(base + line, nameCount) { notable |= 1 &<< UInt64(min(index, 63)) }
            index &+= 1
            line = end &+ 2
        }
    }

    /// Whether the rules of framing may care about a field of that name: Host, Expect, Upgrade, Connection, Content-Length,
    /// Transfer-Encoding. The length and the first four letters tell; `noteField` compares the rest.
    @inline(__always)
    func isNotable(_ name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        guard count >= 4, count <= 17 else { return false }
        let word = UInt32(littleEndian: unsafe UnsafeRawPointer(name).loadUnaligned(as: UInt32.self)) | 0x2020_2020
        switch count {
        case 4: return word == 0x7473_6F68
        case 6: return word == 0x6570_7865
        case 7: return word == 0x7267_7075
        case 10: return word == 0x6E6E_6F63
        case 14: return word == 0x746E_6F63
        case 17: return word == 0x6E61_7274
        default: return false
        }
    }

    /// The first offset at or behind `start` whose byte may not be in a field's name, or `count`. Letters and "-" go eight
    /// at a time, the rest of a token's characters one by one.
    @inline(__always)
    private func endOfName(_ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int) -> Int {
        var offset = start
        while count &- offset >= 8 {
            let word = UInt64(littleEndian: unsafe UnsafeRawPointer(base + offset).loadUnaligned(as: UInt64.self))
            let mask = Self.notLetters(word)
            if mask != 0 {
                offset &+= mask.trailingZeroBitCount &>> 3
                let byte = unsafe base[offset]
                if byte == UInt8(ascii: ":") || byte == 13 { return offset }
                break
            }
            offset &+= 8
        }
        return unsafe endOfToken(base, offset, count)
    }

    /// The first offset at or behind `start` whose byte is a control character other than tab, or `count`.
    @inline(__always)
    private func endOfValue(_ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int) -> Int {
        var offset = start
        while count &- offset >= 8 {
            let word = UInt64(littleEndian: unsafe UnsafeRawPointer(base + offset).loadUnaligned(as: UInt64.self))
            let mask = Self.controls(word)
            if mask == 0 {
                offset &+= 8
                continue
            }
            offset &+= mask.trailingZeroBitCount &>> 3
            if unsafe base[offset] != 9 { return offset }
            offset &+= 1
        }
        while offset < count, case let byte = unsafe base[offset], byte >= 32 && byte != 127 || byte == 9 {
            offset &+= 1
        }
        return offset
    }

    private static var ones: UInt64 { 0x0101_0101_0101_0101 }
    private static var highs: UInt64 { 0x8080_8080_8080_8080 }

    /// A mask with the high bit set in each byte of `word` that is neither an ASCII letter nor "-".
    @inline(__always)
    private static func notLetters(_ word: UInt64) -> UInt64 {
        // Seven bits a byte and sums below 256: no carry reaches the next byte.
        let low = word & ~highs
        let folded = low | ones &* 0x20
        let letters = (folded &+ ones &* 0x1F) & ~(folded &+ ones &* 0x05)
        let notDash = (low ^ ones &* 0x2D) &+ ones &* 0x7F
        return (~letters & notDash | word) & highs
    }

    /// A mask with the high bit set in each byte of `word` that is below 32 or is 127. Exact for the lowest one.
    @inline(__always)
    private static func controls(_ word: UInt64) -> UInt64 {
        let below32 = (word &- ones &* 32) & ~word
        let deletes = word ^ (ones &* 127)
        return (below32 | ((deletes &- ones) & ~deletes)) & highs
    }
}
