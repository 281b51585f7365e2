/// What a header field may look like in HTTP/2 (RFC 9113 §8.2).
enum HeaderRules {
    /// A name of §8.2.1: not empty, no upper-case letter, only token characters (RFC 9110 §5.6.2). A pseudo-header that is
    /// not known is not valid either (§8.3): those that are have a token.
    static func isValidName(_ name: UnsafeRawBufferPointer) -> Bool {
        guard name.count > 0 else { return false }
        for index in 0..<name.count {
            switch unsafe name[index] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"),
                UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
                UInt8(ascii: "^"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
                continue
            default:
                return false
            }
        }
        return true
    }

    /// A value of §8.2.1: no NUL, CR or LF, no blank or tab at either end.
    static func isValidValue(_ value: UnsafeRawBufferPointer) -> Bool {
        let count = value.count
        guard count > 0 else { return true }
        let first = unsafe value[0]
        let last = unsafe value[count - 1]
        if first == 0x20 || first == 0x09 || last == 0x20 || last == 0x09 { return false }
        var index = 0
        // Eight bytes at a time: a byte is one of the three if its difference to it is zero.
        while count &- index >= 8 {
            let word = unsafe value.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            let found =
                zeroBytes(word) | zeroBytes(word ^ 0x0a0a_0a0a_0a0a_0a0a) | zeroBytes(word ^ 0x0d0d_0d0d_0d0d_0d0d)
            if found != 0 { return false }
            index &+= 8
        }
        while index < count {
            let byte = unsafe value[index]
            if byte == 0 || byte == 0x0a || byte == 0x0d { return false }
            index &+= 1
        }
        return true
    }

    /// Not zero if a byte of `word` is zero.
    @inline(__always)
    private static func zeroBytes(_ word: UInt64) -> UInt64 {
        (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080
    }
}
