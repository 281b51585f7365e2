import Bytes
import Memory

// What the user sends: header blocks, bodies, resets; and the sending side of flow control (RFC 9113 §5.2, §6.9).
extension HTTP2Session {
    // MARK: Streams of this side

    public enum OpenFailure: Error, Sendable {
        /// The peer's MAX_CONCURRENT_STREAMS is reached: try again when a stream has ended.
        case tooManyStreams
        /// The peer goes away, or identifiers have run out (§5.1.1): a new connection is needed.
        case exhausted
    }

    /// Opens a stream (client). Its headers must be written next: identifiers go out in order.
    public mutating func open(context: UInt64) -> Result<HTTP2StreamHandle, OpenFailure> {
        guard peerGoAway == nil, phase != .failed, nextLocalStream <= 0x7fff_ffff else { return .failure(.exhausted) }
        guard openStreams < peerMaximumStreams else { return .failure(.tooManyStreams) }
        var stream = HTTP2Stream(
            id: nextLocalStream, remote: .nothing, sendWindow: peerInitialWindow, receiveWindow: newStreamWindow)
        stream.context = context
        guard let handle = streams.add(stream) else { return .failure(.tooManyStreams) }
        nextLocalStream += 2
        return .success(handle)
    }

    // MARK: Header blocks

    /// Begins a HEADERS frame. Encode the fields with `encoder` into `output`, then call `endHeaders` with what this returned;
    /// nothing else may be written in between.
    @inline(__always)
    public mutating func beginHeaders(output: inout ByteBuffer) -> Int {
        let start = output.count
        HTTP2FrameHeader.append(length: 0, type: .headers, streamID: 0, into: &output)
        encoder.beginBlock(into: &output)
        return start
    }

    /// Ends the HEADERS frame that `beginHeaders` began at `start`, splitting off CONTINUATION frames as needed. With
    /// `endStream` this side of the stream has ended, and a stream that both have ended is freed. For a stream that has ended
    /// the frame is taken back.
    public mutating func endHeaders(
        _ start: Int, stream handle: HTTP2StreamHandle, endStream: Bool, output: inout ByteBuffer
    ) {
        guard !hasFailed, let stream = streams.find(handle), stream.value.local < .ending else {
            output.truncate(to: start)
            return encoder.blockWasDropped()
        }
        let id = stream.value.id
        let length = output.count &- start &- HTTP2FrameHeader.size
        if length <= peerMaximumFrame {
            let flags = HTTP2Flag.endHeaders | (endStream ? HTTP2Flag.endStream : 0)
            Self.patch(&output, start, length, flags, id)
        } else {
            splitBlock(start, id, endStream, &output)
        }
        stream.value.local = .headers
        if endStream { localEnded(handle, stream) }
    }

    private static func patch(_ output: inout ByteBuffer, _ start: Int, _ length: Int, _ flags: UInt8, _ id: UInt32) {
        unsafe output.withUnsafeMutableBytes { bytes in
            let first =
                UInt64(truncatingIfNeeded: length) << 40 | UInt64(HTTP2FrameType.headers.rawValue) << 32
                | UInt64(flags) << 24 | UInt64(id >> 8)
            unsafe bytes.storeBytes(of: first.bigEndian, toByteOffset: start, as: UInt64.self)
            unsafe bytes.storeBytes(of: UInt8(truncatingIfNeeded: id), toByteOffset: start &+ 8, as: UInt8.self)
        }
    }

    private func splitBlock(_ start: Int, _ id: UInt32, _ endStream: Bool, _ output: inout ByteBuffer) {
        var block = ByteBuffer()
        unsafe output.withUnsafeBytes {
            unsafe block.append(UnsafeRawBufferPointer(rebasing: $0[(start + HTTP2FrameHeader.size)...]))
        }
        output.truncate(to: start)
        var type = HTTP2FrameType.headers
        while !block.isEmpty {
            let length = min(block.count, peerMaximumFrame)
            var flags: UInt8 = length == block.count ? HTTP2Flag.endHeaders : 0
            if type == .headers && endStream { flags |= HTTP2Flag.endStream }
            HTTP2FrameHeader.append(length: length, type: type, flags: flags, streamID: id, into: &output)
            unsafe block.withUnsafeBytes { unsafe output.append(UnsafeRawBufferPointer(rebasing: $0[..<length])) }
            block.consume(length)
            type = .continuation
        }
    }

    // MARK: Bodies

    /// The fast path of a small body: whether `count` bytes can go out now in one frame. If so the frame's header has been
    /// written, and exactly `count` bytes must be appended to `output` next. False for a stream that has ended, too.
    @inline(__always)
    public mutating func beginData(
        _ handle: HTTP2StreamHandle, count: Int, endStream: Bool, output: inout ByteBuffer
    ) -> Bool {
        guard let stream = streams.find(handle), stream.value.local < .ending,
            count <= HTTP2Limits.maximumFrameSize, count <= sendWindow, count <= Int(stream.value.sendWindow),
            stream.value.pending.isEmpty, output.count < limits.outputHighWater, !hasFailed
        else { return false }
        sendWindow &-= count
        stream.value.sendWindow &-= Int32(truncatingIfNeeded: count)
        HTTP2FrameHeader.append(
            length: count, type: .data, flags: endStream ? HTTP2Flag.endStream : 0, streamID: stream.value.id,
            into: &output)
        idleFrames.giveBack(2)
        if endStream { localEnded(handle, stream) }
        return true
    }

    /// The general path: the buffer of bytes that wait for a window. Append to it, then call `pendingAppended`. The pointer
    /// is valid until the session is used again. Nil: the stream has ended, or this side of it.
    public mutating func pendingBuffer(_ handle: HTTP2StreamHandle) -> UnsafeMutablePointer<ByteBuffer>? {
        guard !hasFailed, let stream = streams.find(handle), stream.value.local < .ending else { return nil }
        return unsafe withUnsafeMutablePointer(to: &stream.value.pending) { unsafe $0 }
    }

    /// What was appended to `pendingBuffer` goes out as the windows allow; with `endStream` this side ends behind it.
    ///
    /// - Parameter now: nanoseconds of the clock that `next` is told.
    /// - Returns: false when the stream has come to its end by this: it, or all streams together, held more than they may, and
    ///   it was reset (ENHANCE_YOUR_CALM). No event tells of it again.
    @discardableResult
    public mutating func pendingAppended(
        _ handle: HTTP2StreamHandle, endStream: Bool, now: UInt64, output: inout ByteBuffer
    ) -> Bool {
        guard !hasFailed, let stream = streams.find(handle), stream.value.local < .ending else { return true }
        if endStream { stream.value.local = .ending }
        let count = stream.value.pending.count
        if count == 0 && endStream {
            HTTP2FrameHeader.append(
                length: 0, type: .data, flags: HTTP2Flag.endStream, streamID: stream.value.id, into: &output)
            localEnded(handle, stream)
            return true
        }
        pendingBytes &+= count &- stream.value.accounted
        stream.value.accounted = count
        updateReady(handle, stream)
        pump(output: &output)
        guard let stream = streams.find(handle) else { return true }
        guard stream.value.accounted > limits.maximumPendingPerStream || pendingBytes > limits.maximumPendingOutput
        else { return true }
        reset(handle, .enhanceYourCalm, now: now, output: &output)
        return false
    }

    /// Bytes of a stream that wait for a window.
    public mutating func pendingCount(_ stream: HTTP2StreamHandle) -> Int {
        streams.find(stream)?.value.pending.count ?? 0
    }

    /// Bytes that waited for a window and have got one, so far: how the peer takes them, however much comes behind.
    public func takenCount(_ stream: HTTP2StreamHandle) -> Int { streams.find(stream)?.value.taken ?? 0 }

    /// Asks to be told by `popDrained` when the stream's pending bytes have left.
    public mutating func notifyWhenDrained(_ stream: HTTP2StreamHandle) {
        streams.find(stream)?.value.wasBlocked = true
    }

    /// The context of a stream that asked by `notifyWhenDrained` and has nothing pending any more. Ask until nil after `next`
    /// has needed more, and after `pump`.
    public mutating func popDrained() -> UInt64? {
        while let handle = drained.popLast() {
            guard let stream = streams.find(handle), stream.value.wasBlocked, stream.value.pending.isEmpty else {
                continue
            }
            stream.value.wasBlocked = false
            return stream.value.context
        }
        return nil
    }

    /// Whether the peer's side of a stream has ended; true once the whole stream has.
    public mutating func isRemoteEnded(_ stream: HTTP2StreamHandle) -> Bool {
        guard let stream = streams.find(stream) else { return true }
        return stream.value.remote == .ended
    }

    /// Ends a stream at once (§6.4). What waits is dropped; what still arrives on it is ignored. A server counts the reset of a
    /// young stream: its client has caused it, by a body that nobody wanted or a deadline that could not be met.
    ///
    /// - Parameter now: nanoseconds of the clock that `next` is told.
    /// - Returns: false when the stream had ended before, or the connection has failed.
    @discardableResult
    public mutating func reset(
        _ handle: HTTP2StreamHandle, _ code: HTTP2ErrorCode, now: UInt64, output: inout ByteBuffer
    ) -> Bool {
        guard !hasFailed, let stream = streams.find(handle) else { return false }
        if !stream.value.isClosed {
            appendReset(stream.value.id, code, &output)
            // The next event says that it was one too many.
            if isYoung(stream.value.openedAt, now) && !chargeAnswered(now) { phase = .exhausted }
        }
        return end(handle, stream)
    }

    // MARK: Sending in turn

    /// Whether a stream has something to send that the windows would allow: the output was too full.
    public var wantsPump: Bool {
        mutating get { readyHead != .none && sendWindow > 0 && !hasFailed }
    }

    /// Sends what waits as far as the windows and `outputHighWater` allow: one frame per stream and round. To be called
    /// when the kernel has taken the output; the session itself calls it when a window grows.
    public mutating func pump(output: inout ByteBuffer) {
        guard !hasFailed else { return }
        while sendWindow > 0 && output.count < limits.outputHighWater, let stream = streams.find(readyHead) {
            let handle = readyHead
            removeReady(handle, stream)
            let pending = stream.value.pending.count
            let count = min(pending, Int(stream.value.sendWindow), sendWindow, HTTP2Limits.maximumFrameSize)
            let isLast = stream.value.local == .ending && count == pending
            HTTP2FrameHeader.append(
                length: count, type: .data, flags: isLast ? HTTP2Flag.endStream : 0, streamID: stream.value.id,
                into: &output)
            unsafe stream.value.pending.withUnsafeBytes {
                unsafe output.append(UnsafeRawBufferPointer(rebasing: $0[..<count]))
            }
            stream.value.pending.consume(count)
            stream.value.accounted &-= count
            stream.value.taken &+= count
            pendingBytes &-= count
            sendWindow &-= count
            stream.value.sendWindow &-= Int32(truncatingIfNeeded: count)
            // The peer may update two windows for it.
            idleFrames.giveBack(2)
            if count == pending {
                stream.value.pending.release()
                if stream.value.wasBlocked { drained.append(handle) }
                if isLast { localEnded(handle, stream) }
            } else {
                updateReady(handle, stream)
            }
        }
    }

    /// Puts a stream behind the others that can send, if it can, or takes it out.
    mutating func updateReady(_ handle: HTTP2StreamHandle, _ stream: Place<HTTP2Stream>) {
        let window = stream.value.sendWindow
        let canSend = !stream.value.pending.isEmpty && window > 0
        guard canSend != stream.value.isReady else { return }
        guard canSend else { return removeReady(handle, stream) }
        stream.value.isReady = true
        stream.value.next = .none
        stream.value.previous = readyTail
        if let tail = streams.find(readyTail) { tail.value.next = handle } else { readyHead = handle }
        readyTail = handle
    }

    mutating func removeReady(_ handle: HTTP2StreamHandle, _ stream: Place<HTTP2Stream>) {
        let next = stream.value.next
        let previous = stream.value.previous
        if let before = streams.find(previous) { before.value.next = next } else { readyHead = next }
        if let behind = streams.find(next) { behind.value.previous = previous } else { readyTail = previous }
        stream.value.isReady = false
        stream.value.next = .none
        stream.value.previous = .none
    }

    // MARK: Frames

    mutating func appendWindowUpdate(_ id: UInt32, _ increment: Int, _ output: inout ByteBuffer) {
        guard !hasFailed else { return }
        HTTP2FrameHeader.append(length: 4, type: .windowUpdate, streamID: id, into: &output)
        output.append(bigEndian: UInt32(clamping: increment))
    }

    mutating func appendReset(_ id: UInt32, _ code: HTTP2ErrorCode, _ output: inout ByteBuffer) {
        HTTP2FrameHeader.append(length: 4, type: .rstStream, streamID: id, into: &output)
        output.append(bigEndian: code.rawValue)
        wereReset.insert(id)
    }

    mutating func appendGoAway(_ last: UInt32, _ code: HTTP2ErrorCode, debug: StaticString, _ output: inout ByteBuffer)
    {
        guard !hasFailed else { return }
        HTTP2FrameHeader.append(length: 8 + debug.utf8CodeUnitCount, type: .goAway, streamID: 0, into: &output)
        output.append(bigEndian: last)
        output.append(bigEndian: code.rawValue)
        output.append(debug)
    }
}

extension HTTP2Session {
    /// The next stream of this side will have at least this identifier: for tests of what happens when they run out.
    package mutating func skipStreamIDs(to id: UInt32) {
        nextLocalStream = max(nextLocalStream, id)
    }
}
