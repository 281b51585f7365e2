import Bytes

// PING (§6.7), GOAWAY (§6.8), WINDOW_UPDATE (§6.9), RST_STREAM (§6.4), PRIORITY (§6.3).
extension HTTP2Session {
    mutating func receivePing(
        _ header: HTTP2FrameHeader, _ payload: UnsafeRawBufferPointer, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID == 0 else { return fail(.protocolError, .connectionExpected, &output) }
        guard payload.count == 8 else { return fail(.frameSizeError, .badFrameSize, &output) }
        let value = unsafe UInt64(bigEndian: payload.loadUnaligned(as: UInt64.self))
        if header.has(HTTP2Flag.ack) {
            guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
            return .pong(value)
        }
        guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
        guard output.count <= limits.maximumOutputForAnswers else {
            return fail(.enhanceYourCalm, .answersNotRead, &output)
        }
        HTTP2FrameHeader.append(length: 8, type: .ping, flags: HTTP2Flag.ack, streamID: 0, into: &output)
        output.append(bigEndian: value)
        return .ping
    }

    /// Sends PING; the answer is `.pong` with the same value.
    public mutating func sendPing(_ value: UInt64, output: inout ByteBuffer) {
        guard !hasFailed else { return }
        HTTP2FrameHeader.append(length: 8, type: .ping, streamID: 0, into: &output)
        output.append(bigEndian: value)
    }

    mutating func receiveGoAway(
        _ header: HTTP2FrameHeader, _ payload: UnsafeRawBufferPointer, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID == 0 else { return fail(.protocolError, .connectionExpected, &output) }
        guard payload.count >= 8 else { return fail(.frameSizeError, .badFrameSize, &output) }
        let last = unsafe UInt32(bigEndian: payload.loadUnaligned(as: UInt32.self)) & 0x7fff_ffff
        let code = unsafe UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        // A later GOAWAY may only promise less (§6.8).
        peerGoAway = min(last, peerGoAway ?? last)
        return .goAway(lastStreamID: peerGoAway ?? last, code: HTTP2ErrorCode(rawValue: code))
    }

    /// The first step of a graceful end (§6.8): no stream is refused yet, but the peer should open no more.
    public mutating func announceGoAway(output: inout ByteBuffer) {
        appendGoAway(0x7fff_ffff, .noError, debug: "", &output)
    }

    /// The second step: streams that the peer opens from now on are not processed. Also the only step, with a `code` that
    /// is an error.
    public mutating func sendGoAway(
        _ code: HTTP2ErrorCode = .noError, debug: StaticString = "", output: inout ByteBuffer
    ) {
        finalGoAway = finalGoAway ?? lastPeerStream
        appendGoAway(finalGoAway ?? lastPeerStream, code, debug: debug, &output)
    }

    mutating func receiveWindowUpdate(
        _ header: HTTP2FrameHeader, _ payload: UnsafeRawBufferPointer, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard payload.count == 4 else { return fail(.frameSizeError, .badFrameSize, &output) }
        let increment = unsafe Int(UInt32(bigEndian: payload.loadUnaligned(as: UInt32.self)) & 0x7fff_ffff)
        if header.streamID == 0 {
            guard increment > 0 else { return fail(.protocolError, .zeroIncrement, &output) }
            guard sendWindow + increment <= Int(Int32.max) else {
                return fail(.flowControlError, .windowOverflow, &output)
            }
            sendWindow += increment
            pump(output: &output)
            return nil
        }
        guard let slot = streams.find(header.streamID) else {
            return isIdle(header.streamID) ? fail(.protocolError, .idleStream, &output) : nil
        }
        guard increment > 0 else { return failStream(slot, .protocolError, now, &output) }
        let stream = unsafe streams[slot]
        guard unsafe Int(stream.pointee.sendWindow) + increment <= Int(Int32.max) else {
            return failStream(slot, .flowControlError, now, &output)
        }
        unsafe stream.pointee.sendWindow += Int32(increment)
        updateReady(slot)
        pump(output: &output)
        return nil
    }

    mutating func receiveReset(
        _ header: HTTP2FrameHeader, _ payload: UnsafeRawBufferPointer, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID != 0 else { return fail(.protocolError, .streamExpected, &output) }
        guard payload.count == 4 else { return fail(.frameSizeError, .badFrameSize, &output) }
        if isIdle(header.streamID) { return fail(.protocolError, .idleStream, &output) }
        let slot = streams.find(header.streamID)
        // Rapid is a reset before the answer has begun: who cancels a stream that he has listened to paid a round trip.
        let isRapid = slot.map { unsafe !streams[$0].pointee.isAnswered } ?? true
        if role == .server && isRapid {
            guard resets.take(now: now) else { return fail(.enhanceYourCalm, .tooManyResets, &output) }
        }
        guard let slot else { return nil }
        let code = unsafe HTTP2ErrorCode(rawValue: UInt32(bigEndian: payload.loadUnaligned(as: UInt32.self)))
        let context = unsafe streams[slot].pointee.context
        close(slot)
        return .reset(context: context, code: code, byPeer: true)
    }

    /// PRIORITY means nothing any more (§5.3.2), but must be well-formed.
    mutating func receivePriority(
        _ header: HTTP2FrameHeader, _ payload: UnsafeRawBufferPointer, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID != 0 else { return fail(.protocolError, .streamExpected, &output) }
        guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
        if payload.count == 5 {
            let parent = unsafe UInt32(bigEndian: payload.loadUnaligned(as: UInt32.self)) & 0x7fff_ffff
            if parent != header.streamID { return nil }
        }
        let code: HTTP2ErrorCode = payload.count == 5 ? .protocolError : .frameSizeError
        if let slot = streams.find(header.streamID) { return failStream(slot, code, now, &output) }
        // RST_STREAM would be illegal on an idle stream: the connection's error then.
        if isIdle(header.streamID) {
            return fail(code, payload.count == 5 ? .badStreamID : .badFrameSize, &output)
        }
        return rejectStream(header.streamID, code, now, &output)
    }
}
