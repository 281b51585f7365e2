import Bytes

/// Reads responses (RFC 9112 §4, §6.3) from bytes that are handed in, one event a call: what `HTTP1Parser` is for a server, for a
/// client. No I/O, no clock, no allocation.
///
///     idle ──expect──▶ status line ─▶ fields ──(1xx)──▶ status line
///                                       ├──(HEAD, 204, 304, length 0)──▶ idle
///                                       ├──(Content-Length, chunked)──▶ body ──▶ idle
///                                       ├──(neither)──▶ until close ──inputEnded──▶ idle
///                                       └──(101)──▶ switched
///
/// The fields, the chunks and the limits are those of the request's side, and as strict. A byte that comes while no response is
/// expected fails: it can belong to nothing that was asked, and must not be taken for the answer to what is asked next.
public struct HTTP1ResponseParser: Sendable, BitwiseCopyable {
    private enum Part: UInt8, Sendable, BitwiseCopyable {
        case idle, statusLine, statusLineLF, fields, body, untilClose, switched, failed
    }

    /// Judges the fields of a head, and reads bodies that have a length.
    private var core = HTTP1Parser()
    private var part = Part.idle
    private var isAnswerToHead = false
    /// Whether a byte of the expected response has come; of an interim one, too.
    public private(set) var hasBegun = false
    /// After a final head: whether the connection can be used again once the body is complete, as far as the server is concerned
    /// (RFC 9112 §9.3).
    public private(set) var isReusable = false

    /// A parser at the beginning of a connection: it expects nothing.
    public init() {}

    /// Whether no response is expected.
    public var isIdle: Bool { part == .idle }

    /// Whether the body that is being read ends with the connection.
    public var readsUntilClose: Bool { part == .untilClose }

    /// A request was sent: its response may come, and interim ones before it. Not for CONNECT, whose answer is no message.
    ///
    /// - Parameter method: of the request; the answer to HEAD has no body.
    public mutating func expect(_ method: HTTP1Method) {
        precondition(part == .idle, "a response is expected already")
        part = .statusLine
        core = HTTP1Parser()
        isAnswerToHead = method == .head
        hasBegun = false
        isReusable = false
    }

    /// Looks at `input`, which begins with the first byte that was not consumed.
    ///
    /// `.head` comes for each interim response (1xx), which ends with its head, and for the final one; then body events, and
    /// `.end`, unless the parser is idle at once. After 101 nothing is consumed any more.
    public mutating func next(_ input: Span<UInt8>, into table: borrowing HTTP1HeadTable) -> HTTP1Event {
        switch part {
        case .statusLine, .statusLineLF, .fields:
            if input.count > 0 { hasBegun = true }
            // Proof: the pointer is used inside the closure only, and never beyond `count`.
            return unsafe input.withUnsafeBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return .needMore(consumed: 0) }
                return unsafe nextHead(base, buffer.count, table.storage)
            }
        case .body:
            let event = core.next(input, into: table)
            switch event {
            case .end: part = .idle
            case .failed: part = .failed
            default: break
            }
            return event
        case .untilClose:
            return input.count > 0 ? .body(skip: 0, count: input.count) : .needMore(consumed: 0)
        case .switched: return .needMore(consumed: 0)
        case .idle: return input.count > 0 ? fail(.unaskedResponse) : .needMore(consumed: 0)
        case .failed: return .needMore(consumed: input.count)
        }
    }

    /// The connection has ended, and every byte was consumed.
    ///
    /// - Returns: nil if nothing is missing. A body that ends with the connection is complete then: over TLS only if the end was
    ///   one in order (RFC 9112 §9.8).
    public mutating func inputEnded() -> HTTP1Error? {
        switch part {
        case .idle, .switched: return nil
        case .untilClose:
            part = .idle
            return nil
        default:
            part = .failed
            return .truncatedResponse
        }
    }

    private mutating func fail(_ error: HTTP1Error) -> HTTP1Event {
        part = .failed
        return .failed(error)
    }

    // MARK: Heads

    private mutating func nextHead(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> HTTP1Event {
        let limit = unsafe table.pointee.limits.headBytes
        while part != .fields {
            let offset = Int(core.searched)
            guard offset < count else { return .needMore(consumed: 0) }
            if offset >= limit { return fail(.headTooLarge) }
            if let error = unsafe judgeStatusLine(base[offset], offset) { return fail(error) }
            core.searched += 1
        }
        switch unsafe core.judgeHead(base, count, table) {
        case .unfinished: return .needMore(consumed: 0)
        case .bad(let error): return fail(error)
        case .good(let end):
            if let error = unsafe take(base, end, table) { return fail(error) }
            return .head(bytes: end)
        }
    }

    /// One byte of `HTTP/1.x SP code [SP reason] CR LF` (RFC 9112 §4). The second space is a must that many leave out together
    /// with the reason, and nothing hangs on it.
    private mutating func judgeStatusLine(_ byte: UInt8, _ offset: Int) -> HTTP1Error? {
        if part == .statusLineLF {
            guard byte == 10 else { return .bareCarriageReturn }
            part = .fields
            core.step = .line
            return nil
        }
        switch offset {
        case 5, 7:
            guard byte &- 48 < 10 else { return .badStatusLine }
            if offset == 5, byte != UInt8(ascii: "1") { return .unsupportedVersion }
        case 9...11:
            // No code begins with 0; those from 600 on are nobody's, and treated as 5xx (RFC 9110 §15).
            guard byte &- 48 < 10, offset > 9 || byte != 48 else { return .badStatusLine }
        case 12...:
            if byte == 13 {
                part = .statusLineLF
            } else if offset == 12 ? byte != 32 : byte < 32 && byte != 9 || byte == 127 {
                return byte == 10 ? .bareLineFeed : .badStatusLine
            }
        default:
            let frame: StaticString = "HTTP/ .  "
            guard unsafe byte == frame.utf8Start[offset] else { return .badStatusLine }
        }
        return nil
    }

    /// A head that ends before `base[end]` is good line by line: notes it in the table and chooses how the body is framed.
    private mutating func take(
        _ base: UnsafePointer<UInt8>, _ end: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> HTTP1Error? {
        unsafe table.pointee.reset()
        var lineEnd = 12
        while unsafe base[lineEnd] != 13 { lineEnd += 1 }
        let status = unsafe Int(base[9] &- 48) * 100 + Int(base[10] &- 48) * 10 + Int(base[11] &- 48)
        unsafe table.pointee.minorVersion = base[7] == 48 ? 0 : 1
        unsafe table.pointee.status = UInt16(truncatingIfNeeded: status)
        let reason = min(13, lineEnd)
        unsafe table.pointee.targetStart = UInt16(truncatingIfNeeded: reason)
        unsafe table.pointee.targetCount = UInt16(truncatingIfNeeded: lineEnd - reason)
        // Reader and judge know the same grammar. Should they ever differ, the stricter one is right.
        guard unsafe core.readFields(base, lineEnd + 2, end, table) == end else { return .badFieldName }
        return unsafe frame(base, status, table)
    }

    /// RFC 9112 §6.3: whether there is a body, and where it ends.
    private mutating func frame(
        _ base: UnsafePointer<UInt8>, _ status: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> HTTP1Error? {
        var codings = HTTP1CodingList()
        for index in 0..<(unsafe Int(table.pointee.fieldCount)) {
            let field = unsafe table.pointee.fields[index]
            // Host and Expect, of four and six letters, say nothing in a response.
            guard unsafe core.isNotable(base + Int(field.nameStart), Int(field.nameCount)), field.nameCount > 6 else {
                continue
            }
            if let error = unsafe core.noteField(field, base, table, &codings) { return error }
        }
        let flags = unsafe table.pointee.flags
        let length = unsafe table.pointee.contentLength
        let isCoded = flags.contains(.hasTransferEncoding)
        if isCoded {
            if unsafe table.pointee.minorVersion == 0 { return .transferEncodingOnHTTP10 }
            if flags.contains(.hasContentLength) { return .lengthAndTransferEncoding }
            // We ask for no other coding (TE), so none but chunked may be used.
            if let error = codings.verdict { return error }
        }
        let persists = unsafe table.pointee.minorVersion == 1 || flags.contains(.connectionKeepAlive)
        isReusable = persists && !flags.contains(.connectionClose)
        if status < 200 {
            part = status == 101 ? .switched : .statusLine
        } else if isAnswerToHead || !HTTP1Status.allowsBody(status) {
            part = .idle
            // What says of a 204 that something follows means it, perhaps.
            if status == 204, isCoded || length > 0 { isReusable = false }
        } else if isCoded {
            unsafe table.pointee.flags.insert(.chunked)
            core.beginChunks()
            part = .body
        } else if flags.contains(.hasContentLength) {
            part = length > 0 ? .body : .idle
            if length > 0 { core.begin(fixed: length) }
        } else {
            part = .untilClose
            isReusable = false
        }
        return nil
    }
}

/// What only the head of a response has.
extension HTTP1Head {
    /// The status code, 100 to 999; of a request's head 0.
    public var status: Int { unsafe Int(storage.pointee.status) }

    /// The reason phrase (RFC 9112 §4), which means nothing.
    public var reason: Span<UInt8> {
        @_lifetime(copy self) get { target }
    }
}
