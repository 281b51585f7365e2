import HTTP2
import Memory

/// Streams of requests that were refused and are not over, because the client goes on sending or gives no window for the
/// answer: no call has an eye on them. Few are remembered; a client that has more of them is not waited for.
struct RefusedStreams: ~Copyable {
    private static let maximumCount = 64

    private struct Entry: BitwiseCopyable {
        let stream: HTTP2StreamHandle
        let since: UInt64
    }

    private var entries = Vector<Entry>()

    var isEmpty: Bool { entries.isEmpty }

    /// - Parameter isOpen: whether a stream has not ended.
    /// - Returns: false when there are too many.
    mutating func add(_ stream: HTTP2StreamHandle, now: UInt64, isOpen: (HTTP2StreamHandle) -> Bool) -> Bool {
        if entries.count == Self.maximumCount { dropEnded(isOpen) }
        guard entries.count < Self.maximumCount else { return false }
        entries.append(Entry(stream: stream, since: now))
        return true
    }

    /// A stream that was refused `patience` nanoseconds ago; ended ones are among them.
    mutating func next(now: UInt64, patience: UInt64) -> HTTP2StreamHandle? {
        guard !entries.isEmpty, now >= entries[0].since.after(patience) else { return nil }
        let stream = entries[0].stream
        entries.removeFirst(1)
        return stream
    }

    private mutating func dropEnded(_ isOpen: (HTTP2StreamHandle) -> Bool) {
        var kept = 0
        for place in 0..<entries.count where isOpen(entries[place].stream) {
            entries[kept] = entries[place]
            kept &+= 1
        }
        while entries.count > kept { entries.removeLast() }
    }
}
