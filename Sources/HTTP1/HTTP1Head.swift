import Bytes

/// A parsed head: its bytes and the table that says what lies where. A view, valid while both are: it can't be kept.
@safe public struct HTTP1Head: ~Escapable {
    @usableFromInline let base: UnsafePointer<UInt8>
    @usableFromInline let storage: UnsafePointer<HTTP1HeadStorage>

    /// The head that `table` describes and that begins at `bytes[0]`.
    @inlinable
    @_lifetime(copy bytes)
    public init(bytes: Span<UInt8>, table: borrowing HTTP1HeadTable) {
        // Proof: the parser said the head lies in these bytes, whose lifetime this view inherits; the table outlives a call.
        unsafe base = bytes.withUnsafeBufferPointer { unsafe $0.baseAddress.unsafelyUnwrapped }
        unsafe storage = UnsafePointer(table.storage)
    }

    @inlinable
    @_lifetime(copy self)
    func slice(_ start: UInt16, _ count: UInt16) -> Span<UInt8> {
        // Proof: the parser wrote only offsets inside the head.
        let span = unsafe Span(
            _unsafeElements: UnsafeBufferPointer(start: base + Int(start), count: Int(count)))
        return unsafe _overrideLifetime(span, copying: self)
    }

    // MARK: Request line

    /// The request's method.
    @inlinable public var method: HTTP1Method { unsafe storage.pointee.method }
    /// The method's name as it was sent: of interest when `method` is `.other`.
    @inlinable public var methodName: Span<UInt8> {
        @_lifetime(copy self) get { unsafe slice(storage.pointee.methodStart, storage.pointee.methodCount) }
    }
    /// The whole request target.
    @inlinable public var target: Span<UInt8> {
        @_lifetime(copy self) get { unsafe slice(storage.pointee.targetStart, storage.pointee.targetCount) }
    }
    /// The path, still percent-encoded, of an origin-form or absolute-form target, `/` where the latter has none; `*` of
    /// `OPTIONS *`; empty for CONNECT, and for OPTIONS of an absolute form without one, which means the same as `*`.
    @inlinable public var path: Span<UInt8> {
        @_lifetime(copy self) get { unsafe slice(storage.pointee.pathStart, storage.pointee.pathCount) }
    }
    /// What follows the first `?`, still percent-encoded; empty if there is none.
    @inlinable public var query: Span<UInt8> {
        @_lifetime(copy self) get { unsafe slice(storage.pointee.queryStart, storage.pointee.queryCount) }
    }
    /// Host and optional port: of an absolute-form target (RFC 9112 §3.2.2), else of the Host field; empty when HTTP/1.0
    /// has neither.
    @inlinable public var authority: Span<UInt8> {
        @_lifetime(copy self) get { unsafe slice(storage.pointee.authorityStart, storage.pointee.authorityCount) }
    }
    /// 0 for HTTP/1.0, 1 for HTTP/1.1 and every later minor version.
    @inlinable public var minorVersion: Int { unsafe Int(storage.pointee.minorVersion) }

    // MARK: Framing and connection

    @inlinable var flags: HTTP1HeadFlags { unsafe storage.pointee.flags }
    /// Whether the connection outlives this request, as far as the client is concerned (RFC 9112 §9.3).
    @inlinable public var isKeepAlive: Bool {
        if flags.contains(.connectionClose) { return false }
        return minorVersion == 1 || flags.contains(.connectionKeepAlive)
    }
    /// Whether the body is chunked.
    @inlinable public var isChunked: Bool { flags.contains(.chunked) }
    /// The body's length in bytes, if Content-Length says one.
    @inlinable public var contentLength: UInt64? {
        unsafe flags.contains(.hasContentLength) ? storage.pointee.contentLength : nil
    }
    /// Whether body bytes follow the head.
    @inlinable public var hasBody: Bool { unsafe isChunked || storage.pointee.contentLength > 0 }
    /// Whether the client waits for a `100 Continue` before it sends the body.
    @inlinable public var expectsContinue: Bool { flags.contains(.expectContinue) && minorVersion == 1 }
    /// Whether there is an expectation other than `100-continue`: the answer is 417.
    @inlinable public var hasUnknownExpectation: Bool { flags.contains(.expectOther) && minorVersion == 1 }
    /// Whether an `Upgrade` field and the token `upgrade` in `Connection` are both there.
    @inlinable public var asksForUpgrade: Bool { flags.contains([.connectionUpgrade, .hasUpgrade]) }

    // MARK: Fields

    /// Number of field lines.
    @inlinable public var fieldCount: Int { unsafe Int(storage.pointee.fieldCount) }

    /// The name of field line `index`, as it was sent.
    @inlinable
    @_lifetime(copy self)
    public func name(at index: Int) -> Span<UInt8> {
        precondition(index >= 0 && index < fieldCount, "no such field")
        let field = unsafe storage.pointee.fields[index]
        return slice(field.nameStart, field.nameCount)
    }

    /// The value of field line `index`, without the white space around it.
    @inlinable
    @_lifetime(copy self)
    public func value(at index: Int) -> Span<UInt8> {
        precondition(index >= 0 && index < fieldCount, "no such field")
        let field = unsafe storage.pointee.fields[index]
        return slice(field.valueStart, field.valueCount)
    }

    /// The first field line at or behind `start` whose name is `name` (lower-case), or -1.
    @inlinable
    public func index(of name: StaticString, from start: Int = 0) -> Int {
        let count = name.utf8CodeUnitCount
        let bit = unsafe HTTP1HeadStorage.nameBit(name.utf8Start[0], count)
        guard unsafe storage.pointee.nameBits & bit != 0 else { return -1 }
        for index in start..<max(start, fieldCount) {
            let field = unsafe storage.pointee.fields[index]
            if Int(field.nameCount) == count,
                ASCII.equalsIgnoringCase(slice(field.nameStart, field.nameCount), name)
            {
                return index
            }
        }
        return -1
    }

    /// Whether there is a field of that name (lower-case).
    @inlinable
    public func has(_ name: StaticString) -> Bool { index(of: name) >= 0 }

    /// Number of field lines of that name (lower-case).
    public func count(of name: StaticString) -> Int {
        var total = 0
        var found = index(of: name)
        while found >= 0 {
            total += 1
            found = index(of: name, from: found + 1)
        }
        return total
    }

    /// The first value of the field `name` (lower-case), nil if there is none.
    @inlinable
    @_lifetime(copy self)
    public func value(_ name: StaticString) -> Span<UInt8>? {
        let found = index(of: name)
        guard found >= 0 else { return nil }
        return value(at: found)
    }

    /// The first value of the field `name` (lower-case) as text; nil if there is none, or it is not UTF-8.
    public func text(_ name: StaticString) -> String? {
        let found = index(of: name)
        guard found >= 0 else { return nil }
        return unsafe value(at: found).withUnsafeBufferPointer { unsafe String(validating: $0, as: UTF8.self) }
    }

    /// All values of the list field `name` (lower-case) as one text, with commas between them (RFC 9110 §5.3); nil if there
    /// is none. What is not UTF-8 is left out.
    public func joinedText(_ name: StaticString) -> String? {
        guard var text = text(name) ?? (has(name) ? "" : nil) else { return nil }
        var found = index(of: name, from: index(of: name) + 1)
        while found >= 0 {
            let value = unsafe value(at: found).withUnsafeBufferPointer { unsafe String(validating: $0, as: UTF8.self) }
            text += "," + (value ?? "")
            found = index(of: name, from: found + 1)
        }
        return text
    }

    /// Whether the comma-separated list in all lines of the field `name` has `token` (both lower-case), in any case:
    /// `Connection: keep-alive, Upgrade` has `upgrade`.
    public func hasToken(_ name: StaticString, _ token: StaticString) -> Bool {
        var found = index(of: name)
        while found >= 0 {
            let value = value(at: found)
            var list = HTTP1List(count: value.count)
            while let range = list.next(in: value) {
                if ASCII.equalsIgnoringCase(value.extracting(range), token) { return true }
            }
            found = index(of: name, from: found + 1)
        }
        return false
    }
}

/// Walks the elements of a comma-separated list (RFC 9110 §5.6.1); empty elements are left out. Quoted strings are not
/// understood: it is for lists of tokens.
public struct HTTP1List {
    var offset = 0
    let count: Int

    /// A walk over a value of `count` bytes.
    public init(count: Int) { self.count = count }

    /// The range of the next element in `value`, without the white space around it, or nil.
    public mutating func next(in value: Span<UInt8>) -> Range<Int>? {
        while offset < count {
            var start = offset
            while offset < count && value[offset] != UInt8(ascii: ",") { offset += 1 }
            var end = offset
            offset += 1
            while start < end && (value[start] == 32 || value[start] == 9) { start += 1 }
            while start < end && (value[end - 1] == 32 || value[end - 1] == 9) { end -= 1 }
            if start < end { return start..<end }
        }
        return nil
    }
}
