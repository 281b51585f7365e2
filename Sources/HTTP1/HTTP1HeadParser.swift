import Bytes

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The outcome of one line of a head.
enum HTTP1Line {
    /// The line is fine; the next one begins at this offset.
    case next(Int)
    /// The empty line: the head ends before this offset.
    case end(Int)
    case needMore
    case failed(HTTP1Error)
}

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
        let limits = unsafe table.pointee.limits
        if searched > 0 {
            // A head that drips in. Without a new line's end there is nothing new to judge.
            let start = Int(searched)
            if count <= start { return .needMore(consumed: 0) }
            if unsafe memchr(base + start, 10, count - start) == nil {
                return unsafe waitForMore(base, count, table, limits)
            }
        }
        unsafe table.pointee.reset()
        let resumed = judgedBytes > 0
        var offset = Int(judgedBytes)
        if resumed {
            unsafe table.pointee.fieldCount = judgedFields
        } else {
            switch unsafe skipEmptyLines(base, count, limits) {
            case .next(let start): offset = start
            case .failed(let error): return fail(error)
            case .needMore, .end: return unsafe waitForMore(base, count, table, limits)
            }
            switch unsafe parseRequestLine(base, offset, count, table, limits) {
            case .next(let next): offset = next
            case .failed(let error): return fail(error)
            case .needMore, .end: return unsafe waitForMore(base, count, table, limits)
            }
            if offset > limits.headBytes { return fail(.headTooLarge) }
            judgedBytes = Int32(offset)
        }
        let fields = unsafe parseFields(base, offset, count, table, limits)
        if let error = fields.error { return fail(error) }
        guard fields.isEnd else {
            judgedBytes = Int32(fields.offset)
            unsafe judgedFields = table.pointee.fieldCount
            return unsafe waitForMore(base, count, table, limits)
        }
        judgedBytes = 0
        judgedFields = 0
        searched = 0
        // The table has only what came last: fill it again, from lines that are known to be good.
        if resumed { return unsafe nextNewHead(base, count, table) }
        if let error = unsafe finishHead(base, table) { return fail(error) }
        if phase == .head { unsafe table.pointee.remember(base, fields.offset) }
        return .head(bytes: fields.offset)
    }

    /// Notes that all of `count` bytes were searched; refuses a line that is too long already.
    private mutating func waitForMore(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>,
        _ limits: HTTP1Limits
    ) -> HTTP1Event {
        searched = Int32(clamping: count)
        if judgedBytes == 0 && count > limits.targetBytes {
            // An unfinished request line: it is the target that is too long, or something else is wrong with it.
            if case .next(let start) = unsafe skipEmptyLines(base, count, limits),
                case .failed(let error) = unsafe parseRequestLine(base, start, count, table, limits)
            {
                return fail(error)
            }
        }
        return count > limits.headBytes ? fail(.headTooLarge) : .needMore(consumed: 0)
    }

    private func skipEmptyLines(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ limits: HTTP1Limits
    ) -> HTTP1Line {
        var offset = 0
        while offset < count {
            let byte = unsafe base[offset]
            if byte > 13 { return .next(offset) }
            if byte == 10 { return .failed(.bareLineFeed) }
            guard byte == 13 else { return .failed(.badRequestLine) }
            if offset + 1 == count { return .needMore }
            if unsafe base[offset + 1] != 10 { return .failed(.bareCarriageReturn) }
            offset += 2
            if offset > 2 * limits.leadingEmptyLines { return .failed(.badRequestLine) }
        }
        return .needMore
    }

    // MARK: Request line

    private func parseRequestLine(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>,
        _ limits: HTTP1Limits
    ) -> HTTP1Line {
        var offset = start
        let methodEnd = unsafe endOfMethod(base, offset, min(count, start + limits.methodBytes + 1))
        if methodEnd == count { return count - start > limits.methodBytes ? .failed(.badRequestLine) : .needMore }
        guard methodEnd > start, methodEnd - start <= limits.methodBytes, unsafe base[methodEnd] == 32 else {
            return unsafe .failed(base[methodEnd] == 10 ? .bareLineFeed : .badRequestLine)
        }
        offset = methodEnd + 1

        let targetStart = offset
        let limit = min(count, targetStart + limits.targetBytes + 1)
        var queryMark = 0
        while true {
            if offset == limit {
                return limit == count && limit - targetStart <= limits.targetBytes ? .needMore : .failed(.targetTooLong)
            }
            let byte = unsafe base[offset]
            if byte <= 63 {
                if byte <= 32 { break }
                if byte == UInt8(ascii: "?") && queryMark == 0 { queryMark = offset }
                if byte == UInt8(ascii: "#") { return .failed(.badTarget) }
            } else if byte >= 127 {
                return .failed(.badTarget)
            }
            offset += 1
        }
        guard unsafe base[offset] == 32 else {
            return unsafe .failed(base[offset] == 10 ? .bareLineFeed : .badRequestLine)
        }
        let targetEnd = offset
        guard targetEnd > targetStart else { return .failed(.badRequestLine) }
        offset += 1

        // "HTTP/1.1" CR LF
        if count - offset < 8 {
            // A short line may be wrong already, and then its end never comes.
            if unsafe memchr(base + offset, 10, count - offset) != nil { return .failed(.badVersion) }
            return .needMore
        }
        let version = unsafe UnsafeRawPointer(base + offset).loadUnaligned(as: UInt64.self)
        let minor: UInt8
        if version == UInt64(littleEndian: 0x312E_312F_5054_5448) {
            minor = 1
        } else {
            guard UInt64(littleEndian: version) & 0x00FF_00FF_FFFF_FFFF == 0x002E_002F_5054_5448,
                case let major = unsafe base[offset + 5] &- 48, major < 10,
                case let digit = unsafe base[offset + 7] &- 48, digit < 10
            else { return .failed(.badVersion) }
            if major != 1 { return .failed(.unsupportedVersion) }
            minor = digit == 0 ? 0 : 1
        }
        offset += 8
        if offset == count { return .needMore }
        if unsafe base[offset] != 13 { return unsafe .failed(base[offset] == 10 ? .bareLineFeed : .badVersion) }
        if offset + 1 == count { return .needMore }
        if unsafe base[offset + 1] != 10 { return .failed(.bareCarriageReturn) }

        unsafe table.pointee.minorVersion = minor
        unsafe table.pointee.methodStart = UInt16(truncatingIfNeeded: start)
        unsafe table.pointee.methodCount = UInt16(truncatingIfNeeded: methodEnd - start)
        unsafe table.pointee.method = HTTP1Method.named(
            UnsafeBufferPointer(start: base + start, count: methodEnd - start))
        unsafe table.pointee.targetStart = UInt16(truncatingIfNeeded: targetStart)
        unsafe table.pointee.targetCount = UInt16(truncatingIfNeeded: targetEnd - targetStart)
        if let error = unsafe splitTarget(base, targetStart, targetEnd, queryMark, table) { return .failed(error) }
        return .next(offset + 2)
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

    /// Finds path, query and authority in the target (RFC 9112 §3.2).
    private func splitTarget(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ queryMark: Int,
        _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> HTTP1Error? {
        let pathEnd = queryMark > 0 ? queryMark : end
        var pathStart = start
        if unsafe base[start] != UInt8(ascii: "/") {
            if unsafe table.pointee.method == .connect {
                // authority-form: no path. The server refuses the method.
                pathStart = pathEnd
            } else if unsafe end == start + 1 && base[start] == UInt8(ascii: "*") {
                if unsafe table.pointee.method != .options { return .badTarget }
            } else {
                guard let authority = unsafe authorityOfAbsoluteForm(base, start, pathEnd) else { return .badTarget }
                pathStart = authority.upperBound
                unsafe table.pointee.authorityStart = UInt16(truncatingIfNeeded: authority.lowerBound)
                unsafe table.pointee.authorityCount = UInt16(truncatingIfNeeded: authority.count)
                unsafe table.pointee.flags.insert(.absoluteForm)
            }
        }
        unsafe table.pointee.pathStart = UInt16(truncatingIfNeeded: pathStart)
        unsafe table.pointee.pathCount = UInt16(truncatingIfNeeded: pathEnd - pathStart)
        if queryMark > 0 {
            unsafe table.pointee.queryStart = UInt16(truncatingIfNeeded: queryMark + 1)
            unsafe table.pointee.queryCount = UInt16(truncatingIfNeeded: end - queryMark - 1)
            unsafe table.pointee.flags.insert(.hasQuery)
        }
        return nil
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
