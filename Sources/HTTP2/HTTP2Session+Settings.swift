import Bytes

/// The settings (RFC 9113 §6.5.2).
enum HTTP2Setting {
    static let headerTableSize: UInt16 = 1
    static let enablePush: UInt16 = 2
    static let maxConcurrentStreams: UInt16 = 3
    static let initialWindowSize: UInt16 = 4
    static let maxFrameSize: UInt16 = 5
    static let maxHeaderListSize: UInt16 = 6
}

// SETTINGS (§6.5).
extension HTTP2Session {
    mutating func receiveSettings(
        _ header: HTTP2FrameHeader, _ payload: Span<UInt8>, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID == 0 else { return fail(.protocolError, .connectionExpected, &output) }
        if header.has(HTTP2Flag.ack) {
            guard payload.count == 0 else { return fail(.frameSizeError, .badFrameSize, &output) }
            guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
            isAcknowledged = true
            return nil
        }
        guard payload.count % 6 == 0 else { return fail(.frameSizeError, .badFrameSize, &output) }
        guard payload.count <= 6 * HTTP2Limits.maximumSettings else {
            return fail(.enhanceYourCalm, .tooManySettings, &output)
        }
        guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
        guard output.count <= limits.maximumOutputForAnswers else {
            return fail(.enhanceYourCalm, .answersNotRead, &output)
        }
        var initialWindow = peerInitialWindow
        var offset = 0
        while offset < payload.count {
            let identifier = payload.bigEndian(offset, as: UInt16.self)
            let value = payload.bigEndian(offset + 2, as: UInt32.self)
            if identifier == HTTP2Setting.initialWindowSize {
                guard let value = Int32(exactly: value) else { return fail(.flowControlError, .badSetting, &output) }
                initialWindow = value
            } else if !apply(identifier, value) {
                return fail(.protocolError, .badSetting, &output)
            }
            offset += 6
        }
        // Once for the whole frame, with the value that holds after it.
        if let failure = changeInitialWindow(initialWindow, now, &output) { return failure }
        HTTP2FrameHeader.append(length: 0, type: .settings, flags: HTTP2Flag.ack, streamID: 0, into: &output)
        if !hasPeerSettings { settledAt = now }
        hasPeerSettings = true
        pump(output: &output)
        return .settings
    }

    /// False: the value is not allowed.
    private mutating func apply(_ identifier: UInt16, _ value: UInt32) -> Bool {
        switch identifier {
        case HTTP2Setting.headerTableSize:
            encoder.setAllowedTableSize(Int(value))
        case HTTP2Setting.enablePush:
            // Only a client may allow pushes, and it may only say 0 or 1.
            return value == 0 || (value == 1 && role == .server)
        case HTTP2Setting.maxConcurrentStreams:
            peerMaximumStreams = Int(value)
        case HTTP2Setting.maxFrameSize:
            guard value >= 16_384 && value <= 16_777_215 else { return false }
            peerMaximumFrame = Int(value)
        default:
            break
        }
        return true
    }

    /// The windows of all streams move by the difference, also below zero (§6.9.2). The walk is paid for like frames that carry
    /// nothing, by the streams that it visits.
    private mutating func changeInitialWindow(
        _ value: Int32, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        let difference = Int64(value) - Int64(peerInitialWindow)
        guard difference != 0 else { return nil }
        peerInitialWindow = value
        let places = streams.places
        guard idleFrames.take(now: now, count: places.count / HTTP2Limits.streamsPerIdleFrame) else {
            return fail(.enhanceYourCalm, .tooManyIdleFrames, &output)
        }
        windowWork &+= places.count
        for place in places {
            guard let handle = streams.stream(at: place), let stream = streams.find(handle) else { continue }
            let window = Int64(stream.value.sendWindow) + difference
            guard window <= Int64(Int32.max) else { return fail(.flowControlError, .windowOverflow, &output) }
            stream.value.sendWindow = Int32(clamping: window)
            updateReady(handle, stream)
        }
        return nil
    }
}
