import Bytes

// HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10): from frames to header blocks, from blocks to streams.
extension HTTP2Session {
    mutating func receiveHeaders(
        _ header: HTTP2FrameHeader, _ payload: Span<UInt8>, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID != 0 else { return fail(.protocolError, .streamExpected, &output) }
        var first = 0
        var last = payload.count
        if header.has(HTTP2Flag.padded) {
            guard last > 0 else { return fail(.frameSizeError, .badFrameSize, &output) }
            let padding = Int(payload[0])
            first = 1
            guard padding <= last - first else { return fail(.protocolError, .badPadding, &output) }
            last -= padding
        }
        blockDependsOnItself = false
        if header.has(HTTP2Flag.priority) {
            guard last - first >= 5 else {
                return fail(
                    header.has(HTTP2Flag.padded) ? .protocolError : .frameSizeError,
                    header.has(HTTP2Flag.padded) ? .badPadding : .badFrameSize, &output)
            }
            blockDependsOnItself = payload.bits31(first) == header.streamID
            first += 5
        }
        let fragment = payload.extracting(first..<last)
        if header.has(HTTP2Flag.endHeaders) {
            return unsafe fragment.withUnsafeBytes {
                unsafe receiveBlock($0, header.streamID, header.flags, now, &output)
            }
        }
        blockStream = header.streamID
        blockFlags = header.flags
        blockContinuations = 0
        blockSince = now
        block.removeAll()
        block.append(fragment)
        return nil
    }

    mutating func receiveContinuation(
        _ header: HTTP2FrameHeader, _ payload: Span<UInt8>, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard blockStream != 0 else { return fail(.protocolError, .unexpectedContinuation, &output) }
        guard header.streamID == blockStream else { return fail(.protocolError, .continuationExpected, &output) }
        blockContinuations += 1
        guard blockContinuations <= limits.maximumContinuations,
            block.count + payload.count <= limits.maximumHeaderBlockSize
        else { return fail(.enhanceYourCalm, .headerBlockTooLarge, &output) }
        block.append(payload)
        guard header.has(HTTP2Flag.endHeaders) else { return nil }
        let id = blockStream
        blockStream = 0
        // The block's memory stays as it is until `tidy`, fields may point into it.
        needsTidying = true
        let bytes = unsafe block.withUnsafeBytes {
            unsafe UnsafeRawBufferPointer(start: $0.baseAddress, count: $0.count)
        }
        return unsafe receiveBlock(bytes, id, blockFlags, now, &output)
    }

    /// A whole header block. It is decoded in any case, to keep the table in step (§4.3).
    private mutating func receiveBlock(
        _ bytes: UnsafeRawBufferPointer, _ id: UInt32, _ flags: UInt8, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        do throws(HPACKError) {
            unsafe try headers.decode(bytes)
        } catch {
            return error == .tooMuchWork
                ? fail(.enhanceYourCalm, .headerBlockTooLarge, &output)
                : fail(.compressionError, .headerBlock, &output)
        }
        if headers.holdsMuch { needsTidying = true }
        let endStream = flags & HTTP2Flag.endStream != 0
        if role == .client || id <= lastPeerStream {
            if let handle = streams.find(id: id) { return receiveBlock(on: handle, endStream, now, &output) }
            if role == .client && isIdle(id) { return fail(.protocolError, .idleStream, &output) }
            // Sent before the peer knew of our reset: thousands of calls may be given up, and answered, in the same moment.
            if wereReset.takeHeaders(id, endStream: endStream) { return nil }
            if wereReset.contains(id) { return uselessFrame(now, &output) }
            if role == .server && id & 1 == 0 { return fail(.protocolError, .badStreamID, &output) }
            return wereReset.hasForgotten
                ? uselessFrame(now, &output) : fail(.streamClosed, .closedStream, &output)
        }
        guard id & 1 == 1 else { return fail(.protocolError, .badStreamID, &output) }
        lastPeerStream = id
        // After the final GOAWAY new streams are not ours any more; the peer knows, or will (§6.8).
        if finalGoAway != nil {
            return uselessFrame(now, &output)
        }
        if blockDependsOnItself { return rejectStream(id, .protocolError, now, &output) }
        if openStreams + heldStreams >= limits.maximumConcurrentStreams {
            return rejectStream(id, .refusedStream, now, &output)
        }
        if headers.isTooLarge { return rejectStream(id, .enhanceYourCalm, now, &output) }
        guard let length = HeaderBlock.checkRequest(&headers) else {
            return rejectStream(id, .protocolError, now, &output)
        }
        if endStream && length > 0 { return rejectStream(id, .protocolError, now, &output) }
        var stream = HTTP2Stream(
            id: id, remote: endStream ? .ended : .headers, sendWindow: peerInitialWindow,
            receiveWindow: newStreamWindow, openedAt: now)
        stream.contentLeft = length
        guard let handle = streams.add(stream) else { return rejectStream(id, .refusedStream, now, &output) }
        idleFrames.giveBack()
        return .headers(stream: handle, endStream: endStream)
    }

    private mutating func receiveBlock(
        on handle: HTTP2StreamHandle, _ endStream: Bool, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard let stream = streams.find(handle) else { return nil }
        guard stream.value.remote != .ended else { return failStream(handle, .streamClosed, now, &output) }
        if blockDependsOnItself { return failStream(handle, .protocolError, now, &output) }
        if headers.isTooLarge { return failStream(handle, .enhanceYourCalm, now, &output) }
        if stream.value.remote == .headers {
            // Trailers end the stream and have no pseudo-headers (§8.1). The body must be as long as was promised.
            guard endStream, HeaderBlock.checkTrailers(&headers), stream.value.contentLeft <= 0 else {
                return failStream(handle, .protocolError, now, &output)
            }
            remoteEnded(handle, stream)
            idleFrames.giveBack()
            return .trailers(stream: handle)
        }
        guard let response = HeaderBlock.checkResponse(&headers) else {
            return failStream(handle, .protocolError, now, &output)
        }
        if response.isInformational {
            // 1xx: the final response follows (§8.1). 101 does not exist in HTTP/2.
            if endStream { return failStream(handle, .protocolError, now, &output) }
            return idleFrames.take(now: now) ? nil : fail(.enhanceYourCalm, .tooManyIdleFrames, &output)
        }
        // A body was promised, and none comes (§8.1.1). No request here is a HEAD.
        if endStream && response.contentLength > 0 { return failStream(handle, .protocolError, now, &output) }
        stream.value.remote = .headers
        stream.value.contentLeft = response.contentLength
        if endStream { remoteEnded(handle, stream) }
        idleFrames.giveBack()
        return .headers(stream: handle, endStream: endStream)
    }
}
