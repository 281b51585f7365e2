import Bytes

// PING (§6.7), GOAWAY (§6.8), WINDOW_UPDATE (§6.9), RST_STREAM (§6.4), PRIORITY (§6.3).
extension HTTP2Session {
    mutating func receivePing(
        _ header: HTTP2FrameHeader, _ payload: Span<UInt8>, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID == 0 else { return fail(.protocolError, .connectionExpected, &output) }
        guard payload.count == 8 else { return fail(.frameSizeError, .badFrameSize, &output) }
        guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
        let value = payload.bigEndian(0, as: UInt64.self)
        if header.has(HTTP2Flag.ack) { return .pong(value) }
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
        _ header: HTTP2FrameHeader, _ payload: Span<UInt8>, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID == 0 else { return fail(.protocolError, .connectionExpected, &output) }
        guard payload.count >= 8 else { return fail(.frameSizeError, .badFrameSize, &output) }
        guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
        // A later GOAWAY may only promise less (§6.8).
        let last = min(payload.bits31(0), peerGoAway ?? .max)
        peerGoAway = last
        return .goAway(lastStreamID: last, code: HTTP2ErrorCode(rawValue: payload.bigEndian(4, as: UInt32.self)))
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
        let last = finalGoAway ?? lastPeerStream
        finalGoAway = last
        appendGoAway(last, code, debug: debug, &output)
    }

    mutating func receiveWindowUpdate(
        _ header: HTTP2FrameHeader, _ payload: Span<UInt8>, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard payload.count == 4 else { return fail(.frameSizeError, .badFrameSize, &output) }
        guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
        let increment = Int(payload.bits31(0))
        if header.streamID == 0 {
            guard increment > 0 else { return fail(.protocolError, .zeroIncrement, &output) }
            guard sendWindow + increment <= Int(Int32.max) else {
                return fail(.flowControlError, .windowOverflow, &output)
            }
            sendWindow += increment
            pump(output: &output)
            return nil
        }
        guard let handle = streams.find(id: header.streamID), let stream = streams.find(handle) else {
            return isIdle(header.streamID) ? fail(.protocolError, .idleStream, &output) : nil
        }
        guard increment > 0 else { return failStream(handle, .protocolError, now, &output) }
        guard let window = Int32(exactly: Int(stream.value.sendWindow) + increment) else {
            return failStream(handle, .flowControlError, now, &output)
        }
        stream.value.sendWindow = window
        updateReady(handle, stream)
        pump(output: &output)
        return nil
    }

    mutating func receiveReset(
        _ header: HTTP2FrameHeader, _ payload: Span<UInt8>, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID != 0 else { return fail(.protocolError, .streamExpected, &output) }
        guard payload.count == 4 else { return fail(.frameSizeError, .badFrameSize, &output) }
        if isIdle(header.streamID) { return fail(.protocolError, .idleStream, &output) }
        let handle = streams.find(id: header.streamID)
        guard let handle, let stream = streams.find(handle) else {
            // Both sides have reset it.
            if wereReset.remove(header.streamID) { return nil }
            // It has ended. Asking for it was work, and the reset spares the peer the answer.
            return chargeCrossing(now) ? nil : fail(.enhanceYourCalm, .tooManyResets, &output)
        }
        let isCharged =
            !isYoung(stream.value.openedAt, now)
            || (stream.value.local == .nothing
                ? role == .client || resets.take(now: now)
                : chargeAnswered(now))
        guard isCharged else { return fail(.enhanceYourCalm, .tooManyResets, &output) }
        let code = HTTP2ErrorCode(rawValue: payload.bigEndian(0, as: UInt32.self))
        let context = stream.value.context
        end(handle, stream)
        return .reset(context: context, code: code, byPeer: true)
    }

    /// PRIORITY means nothing any more (§5.3.2), but must be well-formed.
    mutating func receivePriority(
        _ header: HTTP2FrameHeader, _ payload: Span<UInt8>, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID != 0 else { return fail(.protocolError, .streamExpected, &output) }
        guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
        let isWhole = payload.count == 5
        if isWhole && payload.bits31(0) != header.streamID { return nil }
        let code: HTTP2ErrorCode = isWhole ? .protocolError : .frameSizeError
        if let handle = streams.find(id: header.streamID) { return failStream(handle, code, now, &output) }
        // RST_STREAM would be illegal on an idle stream: the connection's error then.
        if isIdle(header.streamID) { return fail(code, isWhole ? .badStreamID : .badFrameSize, &output) }
        return rejectStream(header.streamID, code, now, &output)
    }
}
