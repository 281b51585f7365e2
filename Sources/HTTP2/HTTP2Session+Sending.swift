import Bytes

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
    public mutating func open(context: UInt32) -> Result<UInt32, OpenFailure> {
        guard peerGoAway == nil, phase != .failed, nextLocalStream <= 0x7fff_ffff else { return .failure(.exhausted) }
        guard openStreams < peerMaximumStreams else { return .failure(.tooManyStreams) }
        var stream = HTTP2Stream(
            id: nextLocalStream, sendWindow: peerInitialWindow, receiveWindow: newStreamWindow)
        stream.context = context
        let slot = streams.add(stream)
        nextLocalStream += 2
        openStreams += 1
        return .success(slot)
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
    /// `endStream` this side of the stream has ended, and a stream that both have ended is freed.
    public mutating func endHeaders(_ start: Int, stream: UInt32, endStream: Bool, output: inout ByteBuffer) {
        guard !hasFailed else { return output.truncate(to: start) }
        let id = unsafe streams[stream].pointee.id
        let length = output.count &- start &- HTTP2FrameHeader.size
        if length <= peerMaximumFrame {
            let flags = HTTP2Flag.endHeaders | (endStream ? HTTP2Flag.endStream : 0)
            Self.patch(&output, start, length, flags, id)
        } else {
            splitBlock(start, id, endStream, &output)
        }
        unsafe streams[stream].pointee.isAnswered = true
        if endStream { localEnded(stream) }
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
    /// written, and exactly `count` bytes must be appended to `output` next.
    @inline(__always)
    public mutating func beginData(
        _ stream: UInt32, count: Int, endStream: Bool, output: inout ByteBuffer
    ) -> Bool {
        let entry = unsafe streams[stream]
        guard count <= HTTP2Limits.maximumFrameSize, count <= sendWindow, unsafe count <= Int(entry.pointee.sendWindow),
            unsafe entry.pointee.pending.isEmpty, output.count < limits.outputHighWater, !hasFailed
        else { return false }
        sendWindow &-= count
        unsafe entry.pointee.sendWindow &-= Int32(truncatingIfNeeded: count)
        unsafe HTTP2FrameHeader.append(
            length: count, type: .data, flags: endStream ? HTTP2Flag.endStream : 0, streamID: entry.pointee.id,
            into: &output)
        if endStream { localEnded(stream) }
        return true
    }

    /// The general path: the buffer of bytes that wait for a window. Append to it, then call `pendingAppended`. The pointer
    /// is valid until the session is used again.
    public mutating func pendingBuffer(_ stream: UInt32) -> UnsafeMutablePointer<ByteBuffer> {
        unsafe withUnsafeMutablePointer(to: &streams[stream].pointee.pending) { unsafe $0 }
    }

    /// What was appended to `pendingBuffer` goes out as the windows allow; with `endStream` this side ends behind it.
    public mutating func pendingAppended(_ stream: UInt32, endStream: Bool, output: inout ByteBuffer) {
        let entry = unsafe streams[stream]
        guard !hasFailed else { return unsafe entry.pointee.pending.release() }
        if endStream { unsafe entry.pointee.endsAfterPending = true }
        if unsafe entry.pointee.pending.isEmpty && endStream {
            unsafe HTTP2FrameHeader.append(
                length: 0, type: .data, flags: HTTP2Flag.endStream, streamID: entry.pointee.id, into: &output)
            return localEnded(stream)
        }
        updateReady(stream)
        pump(output: &output)
    }

    /// Bytes of a stream that wait for a window.
    public func pendingCount(_ stream: UInt32) -> Int { unsafe streams[stream].pointee.pending.count }

    /// Asks to be told by `popDrained` when the stream's pending bytes have left.
    public mutating func notifyWhenDrained(_ stream: UInt32) { unsafe streams[stream].pointee.wasBlocked = true }

    /// The context of a stream that asked by `notifyWhenDrained` and has nothing pending any more. Ask until nil after `next`
    /// has needed more, and after `pump`.
    public mutating func popDrained() -> UInt32? {
        while let slot = drained.popLast() {
            let stream = unsafe streams[slot]
            if unsafe stream.pointee.state != .free && stream.pointee.wasBlocked && stream.pointee.pending.isEmpty {
                unsafe stream.pointee.wasBlocked = false
                return unsafe stream.pointee.context
            }
        }
        return nil
    }

    /// Whether the peer's side of a stream has ended.
    public func isRemoteEnded(_ stream: UInt32) -> Bool {
        let state = unsafe streams[stream].pointee.state
        return state == .halfClosedRemote || state == .closed
    }

    /// Ends a stream at once (§6.4). What waits is dropped; what still arrives on it is ignored.
    public mutating func reset(_ stream: UInt32, _ code: HTTP2ErrorCode, output: inout ByteBuffer) {
        guard !hasFailed else { return }
        let entry = unsafe streams[stream]
        if unsafe entry.pointee.state != .closed {
            unsafe appendReset(entry.pointee.id, code, &output)
        }
        close(stream)
    }

    // MARK: Sending in turn

    /// Whether a stream has something to send that the windows would allow: the output was too full.
    public var wantsPump: Bool { readyHead != HTTP2Stream.none && sendWindow > 0 && !hasFailed }

    /// Sends what waits as far as the windows and `outputHighWater` allow: one frame per stream and round. To be called
    /// when the kernel has taken the output; the session itself calls it when a window grows.
    public mutating func pump(output: inout ByteBuffer) {
        guard !hasFailed else { return }
        while readyHead != HTTP2Stream.none && sendWindow > 0 && output.count < limits.outputHighWater {
            let slot = readyHead
            let stream = unsafe streams[slot]
            removeReady(slot)
            let count = unsafe min(
                stream.pointee.pending.count, Int(stream.pointee.sendWindow), sendWindow, HTTP2Limits.maximumFrameSize)
            let isLast = unsafe stream.pointee.endsAfterPending && count == stream.pointee.pending.count
            unsafe HTTP2FrameHeader.append(
                length: count, type: .data, flags: isLast ? HTTP2Flag.endStream : 0, streamID: stream.pointee.id,
                into: &output)
            unsafe stream.pointee.pending.withUnsafeBytes {
                unsafe output.append(UnsafeRawBufferPointer(rebasing: $0[..<count]))
            }
            unsafe stream.pointee.pending.consume(count)
            sendWindow -= count
            unsafe stream.pointee.sendWindow -= Int32(count)
            if unsafe stream.pointee.pending.isEmpty {
                unsafe stream.pointee.pending.release()
                if unsafe stream.pointee.wasBlocked { drained.append(slot) }
                if isLast { localEnded(slot) }
            } else {
                updateReady(slot)
            }
        }
    }

    /// Puts a stream behind the others that can send, if it can, or takes it out.
    mutating func updateReady(_ slot: UInt32) {
        let stream = unsafe streams[slot]
        let canSend = unsafe !stream.pointee.pending.isEmpty && stream.pointee.sendWindow > 0
        guard unsafe canSend != stream.pointee.isReady else { return }
        guard canSend else { return removeReady(slot) }
        unsafe stream.pointee.isReady = true
        unsafe stream.pointee.next = HTTP2Stream.none
        unsafe stream.pointee.previous = readyTail
        if readyTail == HTTP2Stream.none {
            readyHead = slot
        } else {
            unsafe streams[readyTail].pointee.next = slot
        }
        readyTail = slot
    }

    mutating func removeReady(_ slot: UInt32) {
        let stream = unsafe streams[slot]
        let next = unsafe stream.pointee.next
        let previous = unsafe stream.pointee.previous
        if previous == HTTP2Stream.none { readyHead = next } else { unsafe streams[previous].pointee.next = next }
        if next == HTTP2Stream.none { readyTail = previous } else { unsafe streams[next].pointee.previous = previous }
        unsafe stream.pointee.isReady = false
        unsafe stream.pointee.next = HTTP2Stream.none
        unsafe stream.pointee.previous = HTTP2Stream.none
    }

    // MARK: Frames

    func appendWindowUpdate(_ id: UInt32, _ increment: Int, _ output: inout ByteBuffer) {
        guard !hasFailed else { return }
        HTTP2FrameHeader.append(length: 4, type: .windowUpdate, streamID: id, into: &output)
        output.append(bigEndian: UInt32(increment))
    }

    mutating func appendReset(_ id: UInt32, _ code: HTTP2ErrorCode, _ output: inout ByteBuffer) {
        HTTP2FrameHeader.append(length: 4, type: .rstStream, streamID: id, into: &output)
        output.append(bigEndian: code.rawValue)
        rememberReset(id)
    }

    func appendGoAway(_ last: UInt32, _ code: HTTP2ErrorCode, debug: StaticString, _ output: inout ByteBuffer) {
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
