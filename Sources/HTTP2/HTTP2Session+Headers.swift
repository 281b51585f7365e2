import Bytes

// HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10): from frames to header blocks, from blocks to streams.
extension HTTP2Session {
    mutating func receiveHeaders(
        _ header: HTTP2FrameHeader, _ payload: UnsafeRawBufferPointer, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard header.streamID != 0 else { return fail(.protocolError, .streamExpected, &output) }
        var first = 0
        var last = payload.count
        if header.has(HTTP2Flag.padded) {
            guard last > 0 else { return fail(.frameSizeError, .badFrameSize, &output) }
            let padding = Int(unsafe payload[0])
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
            let parent = unsafe UInt32(bigEndian: payload.loadUnaligned(fromByteOffset: first, as: UInt32.self))
            blockDependsOnItself = parent & 0x7fff_ffff == header.streamID
            first += 5
        }
        let fragment = unsafe UnsafeRawBufferPointer(rebasing: payload[first..<last])
        if header.has(HTTP2Flag.endHeaders) {
            return unsafe receiveBlock(fragment, header.streamID, header.flags, now, &output)
        }
        blockStream = header.streamID
        blockFlags = header.flags
        blockContinuations = 0
        block.removeAll()
        unsafe block.append(fragment)
        return nil
    }

    mutating func receiveContinuation(
        _ header: HTTP2FrameHeader, _ payload: UnsafeRawBufferPointer, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard blockStream != 0 else { return fail(.protocolError, .unexpectedContinuation, &output) }
        guard header.streamID == blockStream else { return fail(.protocolError, .continuationExpected, &output) }
        blockContinuations += 1
        guard blockContinuations <= limits.maximumContinuations,
            block.count + payload.count <= limits.maximumHeaderBlockSize
        else { return fail(.enhanceYourCalm, .headerBlockTooLarge, &output) }
        unsafe block.append(payload)
        guard header.has(HTTP2Flag.endHeaders) else { return nil }
        let id = blockStream
        blockStream = 0
        // The block's memory stays as it is until the next block begins, fields may point into it.
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
            return fail(.compressionError, .headerBlock, &output)
        }
        idleFrames.giveBack()
        let endStream = flags & HTTP2Flag.endStream != 0
        if let slot = streams.find(id) {
            return receiveBlock(onStream: slot, endStream, now, &output)
        }
        if role == .client {
            if isIdle(id) { return fail(.protocolError, .idleStream, &output) }
            return wasResetHere(id) ? nil : fail(.streamClosed, .closedStream, &output)
        }
        guard id & 1 == 1 else { return fail(.protocolError, .badStreamID, &output) }
        if id <= lastPeerStream {
            return wasResetHere(id) ? nil : fail(.streamClosed, .closedStream, &output)
        }
        lastPeerStream = id
        // After the final GOAWAY new streams are not ours any more; the peer knows, or will (§6.8).
        if finalGoAway != nil { return nil }
        if blockDependsOnItself { return rejectStream(id, .protocolError, now, &output) }
        if openStreams + heldStreams >= limits.maximumConcurrentStreams {
            return rejectStream(id, .refusedStream, now, &output)
        }
        if headers.isTooLarge { return rejectStream(id, .enhanceYourCalm, now, &output) }
        guard let length = HeaderBlock.checkRequest(headers) else {
            return rejectStream(id, .protocolError, now, &output)
        }
        if endStream && length > 0 { return rejectStream(id, .protocolError, now, &output) }
        var stream = HTTP2Stream(
            id: id, sendWindow: peerInitialWindow, receiveWindow: newStreamWindow)
        stream.hasHeaders = true
        stream.contentLeft = length
        let slot = streams.add(stream)
        openStreams += 1
        if endStream { remoteEnded(slot) }
        return .headers(stream: slot, endStream: endStream)
    }

    private mutating func receiveBlock(
        onStream slot: UInt32, _ endStream: Bool, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        let stream = unsafe streams[slot]
        guard unsafe stream.pointee.state == .open || stream.pointee.state == .halfClosedLocal else {
            return failStream(slot, .streamClosed, now, &output)
        }
        if blockDependsOnItself { return failStream(slot, .protocolError, now, &output) }
        if headers.isTooLarge { return failStream(slot, .enhanceYourCalm, now, &output) }
        if unsafe stream.pointee.hasHeaders {
            // Trailers end the stream and have no pseudo-headers (§8.1). The body must be as long as was promised.
            guard endStream, HeaderBlock.checkTrailers(headers), unsafe stream.pointee.contentLeft <= 0 else {
                return failStream(slot, .protocolError, now, &output)
            }
            remoteEnded(slot)
            return .trailers(stream: slot)
        }
        guard let response = HeaderBlock.checkResponse(headers) else {
            return failStream(slot, .protocolError, now, &output)
        }
        if response.isInformational {
            // 1xx: the final response follows (§8.1). 101 does not exist in HTTP/2.
            return endStream ? failStream(slot, .protocolError, now, &output) : nil
        }
        unsafe stream.pointee.hasHeaders = true
        unsafe stream.pointee.contentLeft = response.contentLength
        if endStream { remoteEnded(slot) }
        return .headers(stream: slot, endStream: endStream)
    }
}
