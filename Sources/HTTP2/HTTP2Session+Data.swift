import Bytes

// DATA (RFC 9113 §6.1) and the receiving side of flow control (§5.2, §6.9).
extension HTTP2Session {
    mutating func receiveData(
        _ header: HTTP2FrameHeader, _ payload: UnsafeRawBufferPointer, _ start: Int, _ now: UInt64,
        _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID != 0 else { return fail(.protocolError, .streamExpected, &output) }
        var offset = 0
        var count = payload.count
        if header.has(HTTP2Flag.padded) {
            guard count > 0 else { return fail(.frameSizeError, .badFrameSize, &output) }
            let padding = Int(unsafe payload[0])
            guard padding < count else { return fail(.protocolError, .badPadding, &output) }
            offset = 1
            count -= padding + 1
        }
        let isLast = header.has(HTTP2Flag.endStream)
        if count == 0 && !isLast {
            guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
        } else {
            idleFrames.giveBack()
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

        guard let slot = streams.find(header.streamID) else {
            if isIdle(header.streamID) { return fail(.protocolError, .idleStream, &output) }
            if wasResetHere(header.streamID) || header.streamID > (finalGoAway ?? .max) { return nil }
            return rejectStream(header.streamID, .streamClosed, now, &output)
        }
        let stream = unsafe streams[slot]
        guard unsafe stream.pointee.state == .open || stream.pointee.state == .halfClosedLocal else {
            return failStream(slot, .streamClosed, now, &output)
        }
        guard unsafe stream.pointee.hasHeaders else { return failStream(slot, .protocolError, now, &output) }
        guard unsafe header.length <= Int(stream.pointee.receiveWindow) else {
            return failStream(slot, .flowControlError, now, &output)
        }
        unsafe stream.pointee.receiveWindow &-= Int32(truncatingIfNeeded: header.length)
        if unsafe stream.pointee.contentLeft >= 0 {
            unsafe stream.pointee.contentLeft &-= Int64(count)
            let left = unsafe stream.pointee.contentLeft
            // §8.1.1: the sum of DATA must equal content-length.
            if left < 0 || (isLast && left != 0) { return failStream(slot, .protocolError, now, &output) }
        }
        let padding = header.length &- count
        if padding > 0 && !isLast { consumed(slot, padding, output: &output) }
        if isLast { remoteEnded(slot) }
        if count == 0 && !isLast { return nil }
        return .data(stream: slot, offset: start &+ offset, count: count, endStream: isLast)
    }

    /// The user has taken `count` bytes of a stream's body: the peer's window is refilled at half.
    public mutating func consumed(_ stream: UInt32, _ count: Int, output: inout ByteBuffer) {
        let entry = unsafe streams[stream]
        guard unsafe entry.pointee.state == .open || entry.pointee.state == .halfClosedLocal else { return }
        unsafe entry.pointee.consumed &+= Int32(truncatingIfNeeded: count)
        if unsafe Int(entry.pointee.consumed) &* 2 >= limits.initialStreamWindow {
            unsafe appendWindowUpdate(entry.pointee.id, Int(entry.pointee.consumed), &output)
            unsafe entry.pointee.receiveWindow &+= entry.pointee.consumed
            unsafe entry.pointee.consumed = 0
        }
    }
}
