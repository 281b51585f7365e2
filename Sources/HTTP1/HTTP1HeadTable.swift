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

    /// A table for heads, and a parser, within `limits`.
    public init(limits: HTTP1Limits = .init()) {
        unsafe storage = .allocate(capacity: 1)
        unsafe storage.initialize(to: HTTP1HeadStorage(limits: limits))
    }

    /// Counts the heads that were described: while it stays the same, so does all that a head view says.
    @inlinable public var generation: UInt64 { unsafe storage.pointee.generation }

    deinit {
        unsafe storage.pointee.fields.deallocate()
        unsafe storage.pointee.last.deallocate()
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
    let limits: HTTP1Limits
    /// Field lines of a head: the limit, as far as the table has room.
    var maximumFields: Int { min(limits.fields, Int(capacity)) }
    /// The `nameBit` of every field's name: most look-ups of an absent field end here.
    @usableFromInline var nameBits: UInt64 = 0
    /// Bit n is set when field n has a name that the rules of framing may care about. Bit 63 stands for all from 63 on.
    @usableFromInline var notable: UInt64 = 0
    @usableFromInline var contentLength: UInt64 = 0
    @usableFromInline var generation: UInt64 = 0
    @usableFromInline var fields: UnsafeMutablePointer<HTTP1Field>
    /// Of a response.
    @usableFromInline var status: UInt16 = 0
    /// The bytes of the head that this table describes, while it has no body and is not longer than `lastCapacity`: clients
    /// send the same head again and again, and what is equal need not be judged twice.
    var last: UnsafeMutablePointer<UInt8>
    /// 0: there is none.
    var lastCount = 0
    static let lastCapacity = 1024

    /// One bit for names of that length and first letter.
    @inlinable @inline(__always)
    static func nameBit(_ first: UInt8, _ count: Int) -> UInt64 {
        1 &<< (UInt64(truncatingIfNeeded: count) &* 5 ^ UInt64(first | 0x20))
    }

    init(limits: HTTP1Limits) {
        var limits = limits
        // Offsets have 16 bits.
        limits.headBytes = min(limits.headBytes, Int(UInt16.max))
        self.limits = limits
        let capacity = limits.fields
        self.capacity = UInt16(clamping: capacity)
        unsafe fields = .allocate(capacity: max(1, capacity))
        unsafe last = .allocate(capacity: Self.lastCapacity)
    }

    mutating func reset() {
        generation &+= 1
        lastCount = 0
        flags = []
        fieldCount = 0
        nameBits = 0
        notable = 0
        contentLength = 0
        queryCount = 0
        authorityCount = 0
    }

    /// The length of the described head, if `base` begins with the very same bytes.
    @inline(__always)
    func countIfRepeated(_ base: UnsafePointer<UInt8>, _ count: Int) -> Int? {
        guard lastCount > 0, count >= lastCount, unsafe memcmp(base, last, lastCount) == 0 else { return nil }
        return lastCount
    }

    /// Keeps the bytes of the head that was just described.
    mutating func remember(_ base: UnsafePointer<UInt8>, _ count: Int) {
        guard count <= Self.lastCapacity else { return }
        unsafe memcpy(last, base, count)
        lastCount = count
    }
}
