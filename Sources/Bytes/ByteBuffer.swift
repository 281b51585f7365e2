#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A growable, contiguous run of bytes that is filled at its end and consumed from its front.
///
/// It is the one output buffer of all rooms: engines append encoded frames to it, the loop sends from its front. It
/// owns `malloc`ed memory and nothing else, so an empty one costs three words and an idle connection that holds an
/// empty buffer costs no heap at all. Not copyable: two owners of the same bytes would be a bug.
///
/// Not thread-safe: it belongs to whoever holds it.
@safe public struct ByteBuffer: ~Copyable {
    @usableFromInline var base: UnsafeMutableRawPointer?
    /// Offset of the first byte that was not consumed.
    @usableFromInline var head: Int
    /// Offset behind the last byte.
    @usableFromInline var tail: Int
    /// Bytes that `base` points to.
    public internal(set) var capacity: Int

    /// An empty buffer without memory.
    public init() {
        unsafe base = nil
        head = 0
        tail = 0
        capacity = 0
    }

    /// An empty buffer with room for `capacity` bytes.
    public init(capacity: Int) {
        self.init()
        if capacity > 0 { grow(by: capacity) }
    }

    deinit {
        unsafe free(base)
    }

    /// Bytes appended and not consumed.
    @inlinable
    public var count: Int { tail &- head }

    /// Whether there is nothing to read.
    @inlinable
    public var isEmpty: Bool { tail == head }

    /// The readable bytes.
    @inlinable
    public var span: Span<UInt8> {
        @_lifetime(borrow self)
        borrowing get {
            let start = unsafe base.map { unsafe UnsafePointer($0.assumingMemoryBound(to: UInt8.self)) + head }
            let span = unsafe Span(_unsafeElements: UnsafeBufferPointer(start: start, count: count))
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Calls `body` with the readable bytes. The pointer is valid during the call only.
    @inlinable
    public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        unsafe body(UnsafeRawBufferPointer(start: base.map { unsafe UnsafeRawPointer($0) + head }, count: count))
    }

    /// Calls `body` with the readable bytes to change them in place (masking, patching a length).
    @inlinable
    public mutating func withUnsafeMutableBytes<Result>(_ body: (UnsafeMutableRawBufferPointer) -> Result) -> Result {
        unsafe body(UnsafeMutableRawBufferPointer(start: base.map { unsafe $0 + head }, count: count))
    }

    /// The readable byte at `offset` from the front.
    @inlinable
    public subscript(offset: Int) -> UInt8 {
        get {
            precondition(offset >= 0 && offset < count, "offset outside the buffer")
            return unsafe base.unsafelyUnwrapped.load(fromByteOffset: head &+ offset, as: UInt8.self)
        }
        set {
            precondition(offset >= 0 && offset < count, "offset outside the buffer")
            unsafe base.unsafelyUnwrapped.storeBytes(of: newValue, toByteOffset: head &+ offset, as: UInt8.self)
        }
    }

    // MARK: Appending

    /// Makes room for `extra` more bytes without changing the content.
    @inlinable
    public mutating func reserve(_ extra: Int) {
        if capacity &- tail < extra { grow(by: extra) }
    }

    /// Appends one byte.
    @inlinable
    public mutating func append(_ byte: UInt8) {
        reserve(1)
        unsafe base.unsafelyUnwrapped.storeBytes(of: byte, toByteOffset: tail, as: UInt8.self)
        tail &+= 1
    }

    /// Appends a copy of `bytes`.
    @inlinable @inline(__always)
    public mutating func append(_ bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    /// Appends a copy of `bytes`, for engines.
    @inlinable @inline(__always)
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        let extra = bytes.count
        guard extra > 0 else { return }
        reserve(extra)
        unsafe memcpy(base.unsafelyUnwrapped + tail, bytes.baseAddress.unsafelyUnwrapped, extra)
        tail &+= extra
    }

    /// Appends a copy of `bytes`.
    @inlinable
    public mutating func append(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    /// Appends text whose bytes are known at compile time: one copy, no `String`. Always inlined: with a literal it becomes
    /// a bounds check and a few stores.
    @inlinable @inline(__always)
    public mutating func append(_ text: StaticString) {
        let extra = text.utf8CodeUnitCount
        guard extra > 0 else { return }
        reserve(extra)
        unsafe memcpy(base.unsafelyUnwrapped + tail, text.utf8Start, extra)
        tail &+= extra
    }

    /// Appends the UTF-8 bytes of `text`.
    @inlinable
    public mutating func append(utf8 text: String) {
        var text = text
        text.withUTF8 { unsafe append(UnsafeRawBufferPointer($0)) }
    }

    /// Appends an integer in network byte order.
    @inlinable
    public mutating func append<Value: FixedWidthInteger>(bigEndian value: Value) {
        let size = MemoryLayout<Value>.size
        reserve(size)
        unsafe base.unsafelyUnwrapped.storeBytes(of: value.bigEndian, toByteOffset: tail, as: Value.self)
        tail &+= size
    }

    /// Appends an integer in little-endian byte order.
    @inlinable
    public mutating func append<Value: FixedWidthInteger>(littleEndian value: Value) {
        let size = MemoryLayout<Value>.size
        reserve(size)
        unsafe base.unsafelyUnwrapped.storeBytes(of: value.littleEndian, toByteOffset: tail, as: Value.self)
        tail &+= size
    }

    /// Appends an integer in decimal digits, without a `String`.
    @inlinable
    public mutating func append<Value: FixedWidthInteger>(decimal value: Value) {
        var magnitude = UInt64(value.magnitude)
        if value < 0 { append(UInt8(ascii: "-")) }
        reserve(20)
        if magnitude < 100 {
            // Most numbers are small: no loop, no division.
            let tens = (magnitude &* 205) &>> 11
            let ones = magnitude &- tens &* 10
            let target = unsafe base.unsafelyUnwrapped + tail
            if tens == 0 {
                unsafe target.storeBytes(of: UInt8(truncatingIfNeeded: ones) &+ 48, as: UInt8.self)
                tail &+= 1
            } else {
                let digits = UInt16(truncatingIfNeeded: tens &+ (ones &<< 8)) &+ 0x3030
                unsafe target.storeBytes(of: digits.littleEndian, as: UInt16.self)
                tail &+= 2
            }
            return
        }
        var digits = 1
        var power: UInt64 = 10
        while digits < 20 && magnitude >= power {
            digits &+= 1
            if digits < 20 { power &*= 10 }
        }
        var offset = tail &+ digits
        tail = offset
        repeat {
            offset &-= 1
            let digit = UInt8(truncatingIfNeeded: magnitude % 10) &+ UInt8(ascii: "0")
            unsafe base.unsafelyUnwrapped.storeBytes(of: digit, toByteOffset: offset, as: UInt8.self)
            magnitude /= 10
        } while magnitude > 0
    }

    /// Lets `body` write up to `count` bytes directly behind the content; it returns how many it wrote.
    @inlinable
    public mutating func appendUninitialized(
        _ count: Int, _ body: (UnsafeMutableRawBufferPointer) -> Int
    ) {
        reserve(count)
        let written = unsafe body(
            UnsafeMutableRawBufferPointer(start: base.unsafelyUnwrapped + tail, count: count))
        precondition(written >= 0 && written <= count, "more was written than was reserved")
        tail &+= written
    }

    // MARK: Consuming

    /// Drops `count` bytes from the front. An emptied buffer starts over at its beginning.
    @inlinable
    public mutating func consume(_ count: Int) {
        precondition(count >= 0 && count <= self.count, "more was consumed than is there")
        head &+= count
        if head == tail {
            head = 0
            tail = 0
        }
    }

    /// Drops bytes from the end until `count` are left.
    @inlinable
    public mutating func truncate(to count: Int) {
        precondition(count >= 0 && count <= self.count, "a buffer cannot be truncated to more than it holds")
        tail = head &+ count
    }

    /// Drops everything and keeps the memory.
    @inlinable
    public mutating func removeAll() {
        head = 0
        tail = 0
    }

    /// Drops everything and gives the memory back.
    public mutating func release() {
        unsafe free(base)
        unsafe base = nil
        head = 0
        tail = 0
        capacity = 0
    }

    /// The readable bytes as an array: a copy.
    public func array() -> [UInt8] {
        unsafe withUnsafeBytes { unsafe [UInt8]($0) }
    }

    /// Moves the content to the front or to a larger block.
    @usableFromInline
    mutating func grow(by extra: Int) {
        let used = count
        if head > 0 && capacity &- used >= extra && head >= used {
            unsafe memcpy(base.unsafelyUnwrapped, base.unsafelyUnwrapped + head, used)
        } else {
            let wanted = max(64, used + extra, capacity &* 2)
            guard let larger = unsafe malloc(wanted) else { fatalError("out of memory: \(wanted) bytes") }
            if used > 0 { unsafe memcpy(larger, base.unsafelyUnwrapped + head, used) }
            unsafe free(base)
            unsafe base = larger
            capacity = wanted
        }
        head = 0
        tail = used
    }
}

/// Proof: it owns its memory exclusively (it cannot be copied), so handing it to another thread hands over everything.
extension ByteBuffer: @unchecked Sendable {}
