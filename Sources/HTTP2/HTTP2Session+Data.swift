import Bytes

// DATA (RFC 9113 §6.1) and the receiving side of flow control (§5.2, §6.9).
extension HTTP2Session {
    mutating func receiveData(
        _ header: HTTP2FrameHeader, _ payload: Span<UInt8>, _ start: Int, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID != 0 else { return fail(.protocolError, .streamExpected, &output) }
        var offset = 0
        var count = payload.count
        if header.has(HTTP2Flag.padded) {
            guard count > 0 else { return fail(.frameSizeError, .badFrameSize, &output) }
            let padding = Int(payload[0])
            guard padding < count else { return fail(.protocolError, .badPadding, &output) }
            offset = 1
            count -= padding + 1
        }
        let isLast = header.has(HTTP2Flag.endStream)
        if count == 0 && !isLast {
            guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
        }

        // The connection's window counts every byte of payload, whatever becomes of the stream.
        guard header.length <= receiveWindow else { return fail(.flowControlError, .windowExceeded, &output) }
        receiveWindow &-= header.length
        unreturned &+= header.length
        if unreturned &* 2 >= limits.connectionWindow {
            appendWindowUpdate(0, unreturned, &output)
            receiveWindow &+= unreturned
            unreturned = 0
        }

        guard let handle = streams.find(id: header.streamID), let stream = streams.find(handle) else {
            if isIdle(header.streamID) { return fail(.protocolError, .idleStream, &output) }
            if wereReset.contains(header.streamID) || header.streamID > (finalGoAway ?? .max) { return nil }
            if wereReset.hasForgotten { return uselessFrame(now, &output) }
            return rejectStream(header.streamID, .streamClosed, now, &output)
        }
        if stream.value.remote != .headers {
            let code: HTTP2ErrorCode = stream.value.remote == .ended ? .streamClosed : .protocolError
            return failStream(handle, code, now, &output)
        }
        guard header.length <= Int(stream.value.receiveWindow) else {
            return failStream(handle, .flowControlError, now, &output)
        }
        stream.value.receiveWindow &-= Int32(truncatingIfNeeded: header.length)
        if stream.value.contentLeft >= 0 {
            stream.value.contentLeft &-= Int64(count)
            let left = stream.value.contentLeft
            // §8.1.1: the sum of DATA must equal content-length.
            if left < 0 || (isLast && left != 0) { return failStream(handle, .protocolError, now, &output) }
        }
        let padding = header.length &- count
        if padding > 0 && !isLast { consumed(handle, padding, output: &output) }
        if isLast { remoteEnded(handle, stream) }
        if count == 0 && !isLast { return nil }
        idleFrames.giveBack()
        return .data(stream: handle, offset: start &+ offset, count: count, endStream: isLast)
    }

    /// The user has taken `count` bytes of a stream's body: the peer's window is refilled at half.
    public mutating func consumed(_ stream: HTTP2StreamHandle, _ count: Int, output: inout ByteBuffer) {
        guard let stream = streams.find(stream), stream.value.remote != .ended else { return }
        stream.value.consumed &+= Int32(truncatingIfNeeded: count)
        let taken = stream.value.consumed
        if Int(taken) &* 2 >= limits.initialStreamWindow {
            appendWindowUpdate(stream.value.id, Int(taken), &output)
            stream.value.receiveWindow &+= taken
            stream.value.consumed = 0
        }
    }
}
