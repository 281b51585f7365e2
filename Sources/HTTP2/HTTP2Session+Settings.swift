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
        _ header: HTTP2FrameHeader, _ payload: UnsafeRawBufferPointer, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID == 0 else { return fail(.protocolError, .connectionExpected, &output) }
        if header.has(HTTP2Flag.ack) {
            guard payload.count == 0 else { return fail(.frameSizeError, .badFrameSize, &output) }
            guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
            isAcknowledged = true
            return nil
        }
        guard payload.count % 6 == 0 else { return fail(.frameSizeError, .badFrameSize, &output) }
        guard idleFrames.take(now: now) else { return fail(.enhanceYourCalm, .tooManyIdleFrames, &output) }
        guard output.count <= limits.maximumOutputForAnswers else {
            return fail(.enhanceYourCalm, .answersNotRead, &output)
        }
        var offset = 0
        while offset < payload.count {
            let identifier = unsafe UInt16(bigEndian: payload.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            let value = unsafe UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: offset + 2, as: UInt32.self))
            if let failure = apply(identifier, value, &output) { return failure }
            offset += 6
        }
        HTTP2FrameHeader.append(length: 0, type: .settings, flags: HTTP2Flag.ack, streamID: 0, into: &output)
        hasPeerSettings = true
        pump(output: &output)
        return .settings
    }

    private mutating func apply(_ identifier: UInt16, _ value: UInt32, _ output: inout ByteBuffer) -> HTTP2Event? {
        switch identifier {
        case HTTP2Setting.headerTableSize:
            encoder.setAllowedTableSize(Int(value))
        case HTTP2Setting.enablePush:
            // Only a client may allow pushes, and it may only say 0 or 1.
            guard value == 0 || (value == 1 && role == .server) else {
                return fail(.protocolError, .badSetting, &output)
            }
        case HTTP2Setting.maxConcurrentStreams:
            peerMaximumStreams = Int(value)
        case HTTP2Setting.initialWindowSize:
            guard value <= UInt32(Int32.max) else { return fail(.flowControlError, .badSetting, &output) }
            return changeInitialWindow(Int32(value), &output)
        case HTTP2Setting.maxFrameSize:
            guard value >= 16_384 && value <= 16_777_215 else { return fail(.protocolError, .badSetting, &output) }
            peerMaximumFrame = Int(value)
        default:
            break
        }
        return nil
    }

    /// The windows of all streams move by the difference, also below zero (§6.9.2).
    private mutating func changeInitialWindow(_ value: Int32, _ output: inout ByteBuffer) -> HTTP2Event? {
        let difference = Int64(value) - Int64(peerInitialWindow)
        peerInitialWindow = value
        guard difference != 0 else { return nil }
        for slot in streams.slots {
            let stream = unsafe streams[slot]
            guard unsafe stream.pointee.state != .free else { continue }
            let window = unsafe Int64(stream.pointee.sendWindow) + difference
            guard window <= Int64(Int32.max) else { return fail(.flowControlError, .windowOverflow, &output) }
            unsafe stream.pointee.sendWindow = Int32(clamping: window)
            updateReady(slot)
        }
        return nil
    }
}
