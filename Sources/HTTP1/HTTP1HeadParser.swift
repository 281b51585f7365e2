import Bytes

/// Reads a head that is all there and good, in one go and at the speed of memory. Whatever is not is left to the judge
/// (`HTTP1HeadJudge`), which alone says what is wrong.
extension HTTP1Parser {
    /// Parses a head whose first byte is `base[0]`.
    mutating func nextHead(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> HTTP1Event {
        // The same head as the last one: the table says everything about it already.
        if searched == 0, let bytes = unsafe table.pointee.countIfRepeated(base, count) { return .head(bytes: bytes) }
        return unsafe nextNewHead(base, count, table)
    }

    @inline(never)
    private mutating func nextNewHead(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> HTTP1Event {
        if searched == 0, let end = unsafe readHead(base, count, table) { return unsafe take(base, end, table) }
        switch unsafe judgeHead(base, count, table) {
        case .unfinished: return .needMore(consumed: 0)
        case .bad(let error): return fail(error)
        case .good(let end):
            // Reader and judge know the same grammar. Should they ever differ, the stricter one is right.
            guard let read = unsafe readHead(base, end, table) else { return fail(.badRequestLine) }
            return unsafe take(base, read, table)
        }
    }

    /// A head that ends before `base[end]` is good line by line: applies the rules for the whole.
    private mutating func take(
        _ base: UnsafePointer<UInt8>, _ end: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> HTTP1Event {
        if let error = unsafe finishHead(base, table) { return fail(error) }
        if phase == .head { unsafe table.pointee.remember(base, end) }
        return .head(bytes: end)
    }

    /// Notes the head at `base[0]` in the table.
    ///
    /// - Returns: where it ends; nil: it is not all there, or not good.
    private func readHead(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> Int? {
        let limits = unsafe table.pointee.limits
        let count = min(count, limits.headBytes)
        unsafe table.pointee.reset()
        guard let start = unsafe skipEmptyLines(base, count, limits),
            let fields = unsafe readRequestLine(base, start, count, table, limits)
        else { return nil }
        return unsafe readFields(base, fields, count, table)
    }

    /// Where the request line begins.
    func skipEmptyLines(_ base: UnsafePointer<UInt8>, _ count: Int, _ limits: HTTP1Limits) -> Int? {
        var offset = 0
        while offset < count {
            let byte = unsafe base[offset]
            if byte > 13 { return offset }
            guard byte == 13, offset + 1 < count, unsafe base[offset + 1] == 10 else { return nil }
            offset += 2
            if offset > 2 * limits.leadingEmptyLines { return nil }
        }
        return nil
    }

    // MARK: Request line

    /// Notes the request line (RFC 9112 §3) at `start` in the table.
    ///
    /// - Returns: where the fields begin; nil: it is not all there, or not good.
    func readRequestLine(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>,
        _ limits: HTTP1Limits
    ) -> Int? {
        let methodEnd = unsafe endOfMethod(base, start, min(count, start + limits.methodBytes + 1))
        guard methodEnd > start, methodEnd < count, methodEnd - start <= limits.methodBytes,
            unsafe base[methodEnd] == 32
        else { return nil }

        let targetStart = methodEnd + 1
        var offset = targetStart
        let limit = min(count, targetStart + limits.targetBytes + 1)
        var queryMark = 0
        while true {
            if offset == limit { return nil }
            let byte = unsafe base[offset]
            if byte <= 63 {
                if byte <= 32 { break }
                if byte == UInt8(ascii: "?") && queryMark == 0 { queryMark = offset }
                if byte == UInt8(ascii: "#") { return nil }
            } else if byte >= 127 {
                return nil
            }
            offset += 1
        }
        let targetEnd = offset
        // Behind the target: SP "HTTP/1.1" CR LF.
        guard targetEnd > targetStart, unsafe base[targetEnd] == 32, count - targetEnd >= 11 else { return nil }
        offset += 1
        let version = unsafe UnsafeRawPointer(base + offset).loadUnaligned(as: UInt64.self)
        let minor: UInt8
        if version == UInt64(littleEndian: 0x312E_312F_5054_5448) {
            minor = 1
        } else {
            guard UInt64(littleEndian: version) & 0x00FF_FFFF_FFFF_FFFF == 0x002E_312F_5054_5448,
                case let digit = unsafe base[offset + 7] &- 48, digit < 10
            else { return nil }
            minor = digit == 0 ? 0 : 1
        }
        guard unsafe base[offset + 8] == 13 && base[offset + 9] == 10 else { return nil }

        unsafe table.pointee.minorVersion = minor
        unsafe table.pointee.methodStart = UInt16(truncatingIfNeeded: start)
        unsafe table.pointee.methodCount = UInt16(truncatingIfNeeded: methodEnd - start)
        unsafe table.pointee.method = HTTP1Method.named(
            UnsafeBufferPointer(start: base + start, count: methodEnd - start))
        unsafe table.pointee.targetStart = UInt16(truncatingIfNeeded: targetStart)
        unsafe table.pointee.targetCount = UInt16(truncatingIfNeeded: targetEnd - targetStart)
        guard unsafe splitTarget(base, targetStart, targetEnd, queryMark, table) else { return nil }
        return offset + 10
    }

    /// The end of the method's name. Most are "GET" or "POST", which one load tells.
    @inline(__always)
    private func endOfMethod(_ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int) -> Int {
        if count - start >= 5 {
            let word = UInt32(littleEndian: unsafe UnsafeRawPointer(base + start).loadUnaligned(as: UInt32.self))
            if word == 0x2054_4547 { return start + 3 }
            if unsafe word == 0x5453_4F50 && base[start + 4] == 32 { return start + 4 }
        }
        return unsafe endOfToken(base, start, count)
    }

    /// Finds path, query and authority in the target (RFC 9112 §3.2). False: it has none of the four forms.
    private func splitTarget(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ queryMark: Int,
        _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> Bool {
        var pathEnd = queryMark > 0 ? queryMark : end
        var pathStart = start
        if unsafe base[start] != UInt8(ascii: "/") {
            if unsafe table.pointee.method == .connect {
                // authority-form: no path. The server refuses the method.
                pathStart = pathEnd
            } else if unsafe end == start + 1 && base[start] == UInt8(ascii: "*") {
                if unsafe table.pointee.method != .options { return false }
            } else {
                guard let authority = unsafe authorityOfAbsoluteForm(base, start, pathEnd) else { return false }
                pathStart = authority.upperBound
                unsafe table.pointee.authorityStart = UInt16(truncatingIfNeeded: authority.lowerBound)
                unsafe table.pointee.authorityCount = UInt16(truncatingIfNeeded: authority.count)
                unsafe table.pointee.flags.insert(.absoluteForm)
                // No path is "/" (RFC 9110 §4.2.3), which lies in front of the authority, too; for OPTIONS it is the server
                // itself (RFC 9112 §3.2.4).
                if unsafe pathStart == end && table.pointee.method != .options || pathStart == queryMark {
                    pathStart = authority.lowerBound - 1
                    pathEnd = authority.lowerBound
                }
            }
        }
        unsafe table.pointee.pathStart = UInt16(truncatingIfNeeded: pathStart)
        unsafe table.pointee.pathCount = UInt16(truncatingIfNeeded: pathEnd - pathStart)
        if queryMark > 0 {
            unsafe table.pointee.queryStart = UInt16(truncatingIfNeeded: queryMark + 1)
            unsafe table.pointee.queryCount = UInt16(truncatingIfNeeded: end - queryMark - 1)
            unsafe table.pointee.flags.insert(.hasQuery)
        }
        return true
    }

    /// The authority of `http://authority/path` or `https://…`; nil if it is neither, or the authority is not a host.
    private func authorityOfAbsoluteForm(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int
    ) -> Range<Int>? {
        let bytes = unsafe Span(_unsafeElements: UnsafeBufferPointer(start: base + start, count: end - start))
        var length = 0
        if bytes.count > 7 && ASCII.equalsIgnoringCase(bytes.extracting(0..<7), "http://") {
            length = 7
        } else if bytes.count > 8 && ASCII.equalsIgnoringCase(bytes.extracting(0..<8), "https://") {
            length = 8
        } else {
            return nil
        }
        var authorityEnd = start + length
        while unsafe authorityEnd < end && base[authorityEnd] != UInt8(ascii: "/") { authorityEnd += 1 }
        let range = (start + length)..<authorityEnd
        return unsafe isHost(base + range.lowerBound, range.count) ? range : nil
    }

    // MARK: Tokens

    /// The first offset at or behind `start` whose byte is not allowed in a token (RFC 9110 §5.6.2), or `count`.
    @inline(__always)
    func endOfToken(_ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int) -> Int {
        let table = unsafe HTTP1Parser.tokenBytes.utf8Start
        var offset = start
        while offset < count {
            let byte = unsafe base[offset]
            if unsafe byte >= 128 || table[Int(byte)] != UInt8(ascii: "1") { break }
            offset += 1
        }
        return offset
    }

    /// "1" for each of the first 128 bytes that may be in a token. A literal, because it lies ready in the program.
    static var tokenBytes: StaticString {
        """
        0000000000000000000000000000000001011111001101101111111111000000\
        0111111111111111111111111110001111111111111111111111111111101010
        """
    }
}
