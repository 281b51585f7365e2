import Bytes

/// What the parser found at the front of its input. Offsets count from the input's first byte.
public enum HTTP1Event: Equatable, Sendable {
    /// More bytes are needed. The first `consumed` are done with and must not be shown again.
    case needMore(consumed: Int)
    /// A head of `bytes` bytes; the table describes it. When `parser.expectsBody`, body events follow, else the next head.
    case head(bytes: Int)
    /// Body data: `count` bytes behind `skip` bytes of framing. `skip + count` are done with.
    case body(skip: Int, count: Int)
    /// The body is complete. The first `consumed` bytes (framing and trailer) are done with.
    case end(consumed: Int)
    /// The request is refused; nothing can be read from this connection any more.
    case failed(HTTP1Error)
}

/// Reads requests (RFC 9112) from bytes that are handed in, one event a call: no I/O, no clock, no allocation.
///
///     head ──(no body)──────────────────────────────▶ head
///       ├──(Content-Length)──▶ fixed ──(all there)──▶ head
///       └──(chunked)──▶ size ─▶ extension ─▶ data ─▶ … ─▶ trailer ─▶ head
///
/// The bytes of an unfinished head must be shown again, with more behind them. A byte is judged once, and at once: what
/// comes of a request does not depend on how its bytes were split, and a slow sender costs no more than a fast one.
public struct HTTP1Parser: Sendable, BitwiseCopyable {
    @usableFromInline
    enum Phase: UInt8, Sendable, BitwiseCopyable {
        case head, fixed
        case chunkSizeStart, chunkSize, chunkSpace, chunkExtension, chunkSizeLF, chunkData, chunkDataCR, chunkDataLF
        case trailerLine, trailerName, trailerValue, trailerLineLF, lastLF
        case bodyEnd, failed
    }

    @usableFromInline var phase = Phase.head
    /// In a chunk size: hexadecimal digits read.
    @usableFromInline var digits: UInt8 = 0
    /// In an unfinished head: what the judge expects next.
    @usableFromInline var step = HeadStep.start
    /// In an unfinished head: where the method, the target or the version begins that the judge is in.
    @usableFromInline var partStart: UInt16 = 0
    /// In an unfinished head: field lines so far.
    @usableFromInline var judgedFields: UInt16 = 0
    /// In an unfinished head: bytes that were judged. In a chunked body: bytes of extensions.
    @usableFromInline var searched: Int32 = 0
    /// In a trailer section: its bytes.
    @usableFromInline var trailerBytes: Int32 = 0
    /// Bytes of the body or of the chunk that are still to come.
    @usableFromInline var remaining: UInt64 = 0

    /// A parser at the beginning of a connection.
    public init() {}

    /// Whether body events come before the next head.
    @inlinable @inline(__always) public var expectsBody: Bool { phase != .head && phase != .failed }

    /// Whether the bytes of a head have begun to arrive and it is not complete: the header deadline runs.
    @inlinable @inline(__always) public var isInsideHead: Bool { phase == .head && searched > 0 }

    /// Whether a request has begun to arrive and is not complete.
    @inlinable @inline(__always) public var isInsideRequest: Bool { isInsideHead || expectsBody }

    /// Looks at `input`, which begins with the first byte that was not consumed.
    ///
    /// After `.head`, `table` describes that head until the next call. The table brings the limits.
    public mutating func next(_ input: Span<UInt8>, into table: borrowing HTTP1HeadTable) -> HTTP1Event {
        // Proof: the pointer is used inside the closure only, and never beyond `count`.
        unsafe input.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress, buffer.count > 0 || phase == .bodyEnd else {
                return finishBodyIfDue()
            }
            switch phase {
            case .head: return unsafe nextHead(base, buffer.count, table.storage)
            case .fixed: return nextFixed(buffer.count)
            case .failed: return .needMore(consumed: buffer.count)
            default: return unsafe nextChunked(base, buffer.count, table.storage.pointee.limits)
            }
        }
    }

    mutating func finishBodyIfDue() -> HTTP1Event {
        guard phase == .bodyEnd else { return .needMore(consumed: 0) }
        phase = .head
        return .end(consumed: 0)
    }

    mutating func fail(_ error: HTTP1Error) -> HTTP1Event {
        phase = .failed
        return .failed(error)
    }

    private mutating func nextFixed(_ count: Int) -> HTTP1Event {
        let taken = Int(min(UInt64(count), remaining))
        remaining -= UInt64(taken)
        if remaining == 0 { phase = .bodyEnd }
        return .body(skip: 0, count: taken)
    }
}
