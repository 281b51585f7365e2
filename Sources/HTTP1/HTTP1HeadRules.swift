import Bytes

extension HTTP1Parser {
    /// Applies the rules that concern the head as a whole (RFC 9112 §3.2, §6.3, §9.3; RFC 9110 §10.1.1) and chooses how the
    /// body is framed.
    mutating func finishHead(
        _ base: UnsafePointer<UInt8>, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> HTTP1Error? {
        var codings = HTTP1CodingList()
        var notable = unsafe table.pointee.notable
        while notable != 0 {
            let index = notable.trailingZeroBitCount
            notable &= notable &- 1
            let last = unsafe index < 63 ? index : Int(table.pointee.fieldCount) - 1
            for index in index...last {
                let field = unsafe table.pointee.fields[index]
                // The last bit stands for many: not all of them are notable.
                if unsafe index >= 63 && !isNotable(base + Int(field.nameStart), Int(field.nameCount)) { continue }
                if let error = unsafe noteField(field, base, table, &codings) { return error }
            }
        }
        let flags = unsafe table.pointee.flags
        if unsafe !flags.contains(.hasHost) && table.pointee.minorVersion == 1 { return .missingHost }
        if flags.contains(.hasTransferEncoding) {
            if unsafe table.pointee.minorVersion == 0 { return .transferEncodingOnHTTP10 }
            if flags.contains(.hasContentLength) { return .lengthAndTransferEncoding }
            if let error = codings.verdict { return error }
            unsafe table.pointee.flags.insert(.chunked)
            beginChunks()
        } else if unsafe table.pointee.contentLength > 0 {
            unsafe begin(fixed: table.pointee.contentLength)
        }
        return nil
    }

    /// A chunked body follows.
    @inline(__always)
    mutating func beginChunks() {
        phase = .chunkSizeStart
        searched = 0
        trailerBytes = 0
    }

    /// A body of so many bytes, one at least, follows.
    @inline(__always)
    mutating func begin(fixed length: UInt64) {
        remaining = length
        phase = .fixed
    }

    /// Notes what a field says that concerns the head as a whole.
    func noteField(
        _ field: HTTP1Field, _ base: UnsafePointer<UInt8>, _ table: UnsafeMutablePointer<HTTP1HeadStorage>,
        _ codings: inout HTTP1CodingList
    ) -> HTTP1Error? {
        let name = unsafe Span(
            _unsafeElements: UnsafeBufferPointer(start: base + Int(field.nameStart), count: Int(field.nameCount)))
        let value = unsafe Span(
            _unsafeElements: UnsafeBufferPointer(start: base + Int(field.valueStart), count: Int(field.valueCount)))
        switch field.nameCount {
        case 4:  // Host: the only notable name of four letters, and all four were compared
            if unsafe table.pointee.flags.contains(.hasHost) { return .repeatedHost }
            guard unsafe isHost(base + Int(field.valueStart), value.count) else { return .invalidHost }
            unsafe table.pointee.flags.insert(.hasHost)
            if unsafe !table.pointee.flags.contains(.absoluteForm) {
                unsafe table.pointee.authorityStart = field.valueStart
                unsafe table.pointee.authorityCount = field.valueCount
            }
        case 6 where ASCII.equalsIgnoringCase(name, "expect"):
            let known = ASCII.equalsIgnoringCase(value, "100-continue")
            unsafe table.pointee.flags.insert(known ? .expectContinue : .expectOther)
        case 7 where ASCII.equalsIgnoringCase(name, "upgrade"):
            unsafe table.pointee.flags.insert(.hasUpgrade)
        case 10 where ASCII.equalsIgnoringCase(name, "connection"):
            var list = HTTP1List(count: value.count)
            while let range = list.next(in: value) {
                let token = value.extracting(range)
                if ASCII.equalsIgnoringCase(token, "close") {
                    unsafe table.pointee.flags.insert(.connectionClose)
                } else if ASCII.equalsIgnoringCase(token, "keep-alive") {
                    unsafe table.pointee.flags.insert(.connectionKeepAlive)
                } else if ASCII.equalsIgnoringCase(token, "upgrade") {
                    unsafe table.pointee.flags.insert(.connectionUpgrade)
                }
            }
        case 14 where ASCII.equalsIgnoringCase(name, "content-length"):
            guard let length = ASCII.decimal(value), length <= UInt64(Int64.max) else { return .badContentLength }
            if unsafe table.pointee.flags.contains(.hasContentLength) && table.pointee.contentLength != length {
                return .unequalContentLengths
            }
            unsafe table.pointee.contentLength = length
            unsafe table.pointee.flags.insert(.hasContentLength)
        case 17 where ASCII.equalsIgnoringCase(name, "transfer-encoding"):
            unsafe table.pointee.flags.insert(.hasTransferEncoding)
            var list = HTTP1List(count: value.count)
            while let range = list.next(in: value) {
                codings.add(isChunked: ASCII.equalsIgnoringCase(value.extracting(range), "chunked"))
            }
        default: break
        }
        return nil
    }

    /// Whether `count` bytes at `base` are `uri-host [":" port]` (RFC 3986 §3.2), not empty, without user information.
    func isHost(_ base: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var offset = 0
        if unsafe count > 0 && base[0] == UInt8(ascii: "[") {
            offset = 1
            while unsafe offset < count && base[offset] != UInt8(ascii: "]") {
                let byte = unsafe base[offset]
                guard ASCII.hexValue(byte) != nil || byte == UInt8(ascii: ":") || byte == UInt8(ascii: ".") else {
                    return false
                }
                offset += 1
            }
            guard offset < count && offset > 2 else { return false }
            offset += 1
        } else {
            while count &- offset >= 8 {
                let word = unsafe UnsafeRawPointer(base + offset).loadUnaligned(as: UInt64.self)
                if HTTP1Parser.notNameOrAddress(UInt64(littleEndian: word)) != 0 { break }
                offset &+= 8
            }
            let table = unsafe HTTP1Parser.hostBytes.utf8Start
            while unsafe offset < count && base[offset] < 128 && table[Int(base[offset])] == UInt8(ascii: "1") {
                offset += 1
            }
            guard offset > 0 else { return false }
        }
        if offset == count { return true }
        guard unsafe base[offset] == UInt8(ascii: ":"), count - offset <= 6 else { return false }
        offset += 1
        var port = 0
        while offset < count {
            let digit = unsafe base[offset] &- 48
            guard digit < 10 else { return false }
            port = port &* 10 &+ Int(digit)
            offset += 1
        }
        return port <= 65_535
    }

    /// A mask with the high bit set in each byte of `word` that is no letter, no digit, no "-" and no ".".
    @inline(__always)
    private static func notNameOrAddress(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        // Seven bits a byte and sums below 256: no carry reaches the next byte.
        let low = word & ~highs
        let folded = low | ones &* 0x20
        let letters = (folded &+ ones &* 0x1F) & ~(folded &+ ones &* 0x05)
        let digits = (low &+ ones &* 0x50) & ~(low &+ ones &* 0x46)
        let dashOrDot = (low &+ ones &* 0x53) & ~(low &+ ones &* 0x51)
        return (~(letters | digits | dashOrDot) | word) & highs
    }

    /// "1" for each of the first 128 bytes that may be in a registered name or an IPv4 address: unreserved, sub-delims, "%".
    private static var hostBytes: StaticString {
        """
        0000000000000000000000000000000001001111111111101111111111010100\
        0111111111111111111111111110000101111111111111111111111111100010
        """
    }
}

/// The transfer codings of a head, over all its lines.
struct HTTP1CodingList {
    var count = 0
    var chunkedCount = 0
    var lastIsChunked = false

    mutating func add(isChunked: Bool) {
        count += 1
        if isChunked { chunkedCount += 1 }
        lastIsChunked = isChunked
    }

    /// nil when the list is `chunked` alone.
    var verdict: HTTP1Error? {
        if !lastIsChunked || chunkedCount > 1 { return .chunkedNotLast }
        return count > 1 ? .unknownTransferCoding : nil
    }
}
