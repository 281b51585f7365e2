/// Immutable bytes with many readers: a frame that goes to ten thousand subscribers is one of these.
///
/// Sendable, because nothing can change after `init`. The memory is the buffer it was made from: no copy.
public final class SharedBytes: Sendable {
    @usableFromInline let buffer: ByteBuffer

    /// Takes over `buffer`.
    public init(_ buffer: consuming ByteBuffer) {
        self.buffer = buffer
    }

    /// Copies `bytes`.
    public convenience init(_ bytes: [UInt8]) {
        var buffer = ByteBuffer(capacity: bytes.count)
        buffer.append(bytes)
        self.init(buffer)
    }

    /// How many bytes there are.
    @inlinable
    public var count: Int { buffer.count }

    /// Calls `body` with the bytes.
    @inlinable
    public func withSpan<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
        unsafe buffer.withUnsafeBytes { unsafe body(Span(_unsafeBytes: $0)) }
    }

    /// Calls `body` with the bytes, which live as long as this object.
    @inlinable
    public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        unsafe buffer.withUnsafeBytes(body)
    }
}
