/// Immutable bytes with many readers: a frame that goes to ten thousand subscribers is one of these.
///
/// Sendable, because nothing can change after `init`. The memory is the buffer it was made from: no copy.
@safe public final class SharedBytes: Sendable {
    /// Owns the memory; empty in a slice.
    private let buffer: ByteBuffer
    /// Of a slice: what it is a part of, which owns the memory.
    private let whole: SharedBytes?
    /// Proof: it lives as long as this object, whose owners, `buffer` or `whole`, never change it; a buffer's memory does not move with it.
    @usableFromInline nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    /// Takes over `buffer`.
    public init(_ buffer: consuming ByteBuffer) {
        unsafe bytes = buffer.withUnsafeBytes { unsafe $0 }
        self.buffer = buffer
        whole = nil
    }

    /// Copies `bytes`.
    public convenience init(_ bytes: [UInt8]) {
        var buffer = ByteBuffer(capacity: bytes.count)
        buffer.append(bytes)
        self.init(buffer)
    }

    private init(_ range: Range<Int>, of whole: SharedBytes) {
        unsafe bytes = UnsafeRawBufferPointer(rebasing: whole.bytes[range])
        buffer = ByteBuffer()
        self.whole = whole.whole ?? whole
    }

    /// A part of them without a copy, which keeps all of them.
    public func slice(_ range: Range<Int>) -> SharedBytes {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "there are not so many bytes")
        return SharedBytes(range, of: self)
    }

    /// How many bytes there are.
    @inlinable
    public var count: Int { unsafe bytes.count }

    /// Calls `body` with the bytes.
    @inlinable
    public func withSpan<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
        unsafe withUnsafeBytes { unsafe body(Span(_unsafeBytes: $0)) }
    }

    /// Calls `body` with the bytes, which live as long as this object.
    @inlinable
    public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withExtendedLifetime(self) { unsafe body(bytes) }
    }
}
