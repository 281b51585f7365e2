#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Where the parts of the last parsed head lie in its bytes: offsets only, so that it is filled without a copy and without
/// an allocation.
///
/// One table serves a whole loop: it describes a head from the moment it was parsed to the next call of the parser. Read it
/// through `HTTP1Head`.
@safe public struct HTTP1HeadTable: ~Copyable {
    @usableFromInline let storage: UnsafeMutablePointer<HTTP1HeadStorage>

    /// A table for heads of at most `limits.fields` fields.
    public init(limits: HTTP1Limits = .init()) {
        unsafe storage = .allocate(capacity: 1)
        unsafe storage.initialize(to: HTTP1HeadStorage(capacity: limits.fields))
    }

    deinit {
        unsafe storage.pointee.fields.deallocate()
        unsafe storage.deallocate()
    }
}

/// One field line: 16-bit offsets from the head's first byte.
@usableFromInline
struct HTTP1Field {
    @usableFromInline var nameStart: UInt16
    @usableFromInline var nameCount: UInt16
    @usableFromInline var valueStart: UInt16
    @usableFromInline var valueCount: UInt16
}

/// Facts about a head that the parser notes in passing.
@usableFromInline
struct HTTP1HeadFlags: OptionSet, Sendable {
    @usableFromInline let rawValue: UInt16
    @inlinable init(rawValue: UInt16) { self.rawValue = rawValue }

    @inlinable static var connectionClose: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 1) }
    @inlinable static var connectionKeepAlive: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 2) }
    @inlinable static var connectionUpgrade: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 4) }
    @inlinable static var expectContinue: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 8) }
    @inlinable static var expectOther: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 16) }
    @inlinable static var chunked: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 32) }
    @inlinable static var hasContentLength: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 64) }
    @inlinable static var absoluteForm: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 128) }
    @inlinable static var hasQuery: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 256) }
    @inlinable static var hasHost: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 512) }
    @inlinable static var hasTransferEncoding: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 1024) }
    @inlinable static var hasUpgrade: HTTP1HeadFlags { HTTP1HeadFlags(rawValue: 2048) }
}

@usableFromInline
@safe struct HTTP1HeadStorage {
    @usableFromInline var method = HTTP1Method.other
    @usableFromInline var minorVersion: UInt8 = 1
    @usableFromInline var flags: HTTP1HeadFlags = []
    @usableFromInline var methodStart: UInt16 = 0
    @usableFromInline var methodCount: UInt16 = 0
    @usableFromInline var targetStart: UInt16 = 0
    @usableFromInline var targetCount: UInt16 = 0
    @usableFromInline var pathStart: UInt16 = 0
    @usableFromInline var pathCount: UInt16 = 0
    @usableFromInline var queryStart: UInt16 = 0
    @usableFromInline var queryCount: UInt16 = 0
    @usableFromInline var authorityStart: UInt16 = 0
    @usableFromInline var authorityCount: UInt16 = 0
    @usableFromInline var fieldCount: UInt16 = 0
    @usableFromInline var capacity: UInt16
    /// Bit n is set when there is a field whose name has n (at most 63) bytes: most look-ups of an absent field end here.
    @usableFromInline var nameLengths: UInt64 = 0
    @usableFromInline var contentLength: UInt64 = 0
    @usableFromInline var fields: UnsafeMutablePointer<HTTP1Field>
    /// The last `Host` that was found valid: most requests of a loop name the same one, and comparing is quicker than judging.
    var knownHost = InlineArray<64, UInt8>(repeating: 0)
    var knownHostCount: UInt16 = 0

    init(capacity: Int) {
        self.capacity = UInt16(clamping: capacity)
        unsafe fields = .allocate(capacity: max(1, capacity))
    }

    mutating func reset() {
        flags = []
        fieldCount = 0
        nameLengths = 0
        contentLength = 0
        queryCount = 0
        authorityCount = 0
    }
}
