import Bytes
import Memory

// What becomes of streams, and how a connection ends with an error.
extension HTTP2Session {
    // The session is large: Swift 6.3 copies all of it to the stack for each call of a function that only reads it, and nothing
    // for one that may change it. So what is asked for each call is `mutating`, although it changes nothing.

    /// What the user keeps for a stream; 0 until it is set, and once the stream has ended.
    public mutating func context(_ stream: HTTP2StreamHandle) -> UInt64 { streams.find(stream)?.value.context ?? 0 }

    /// Keeps a number of the user's for a stream, such as a handle's token. 0 is none: the user does not know the stream.
    public mutating func setContext(_ stream: HTTP2StreamHandle, _ context: UInt64) {
        streams.find(stream)?.value.context = context
    }

    /// Whether a stream has not ended.
    public func isOpen(_ stream: HTTP2StreamHandle) -> Bool { streams.find(stream) != nil }

    /// The identifier of a stream; 0 once it has ended.
    public mutating func streamID(_ stream: HTTP2StreamHandle) -> UInt32 { streams.find(stream)?.value.id ?? 0 }

    /// Calls `body` with the context of each stream that has an identifier above `streamID` and a context. A stream that an
    /// event has closed is not among them: its end was told.
    public func forEachContext(above streamID: UInt32 = 0, _ body: (UInt64) -> Void) {
        for place in streams.places {
            guard let handle = streams.stream(at: place), let stream = streams.find(handle) else { continue }
            let context = stream.value.context
            if context != 0, stream.value.id > streamID, !stream.value.isClosed { body(context) }
        }
    }

    /// Streams of the peer (server) or of this side (client) that count against MAX_CONCURRENT_STREAMS.
    public var openStreams: Int { streams.count &- (closedByEvent == .none ? 0 : 1) }

    /// The user's work for a stream that was reset has not ended: it keeps counting as open until `unhold`.
    public mutating func hold() { heldStreams += 1 }
    public mutating func unhold() { heldStreams -= 1 }

    /// Whether an identifier was never used.
    func isIdle(_ id: UInt32) -> Bool {
        let isOurs = (id & 1 == 1) == (role == .client)
        return isOurs ? id >= nextLocalStream : id > lastPeerStream || role == .client
    }

    /// The peer has ended its side of a stream. When this side has ended too, the stream goes with the next event.
    @inline(__always)
    mutating func remoteEnded(_ handle: HTTP2StreamHandle, _ stream: Place<HTTP2Stream>) {
        stream.value.remote = .ended
        if stream.value.local == .ended {
            closedByEvent = handle
            needsTidying = true
        }
    }

    /// This side has ended its side of a stream.
    @inline(__always)
    mutating func localEnded(_ handle: HTTP2StreamHandle, _ stream: Place<HTTP2Stream>) {
        stream.value.local = .ended
        answers &+= 1
        if stream.value.remote == .ended { end(handle, stream) }
    }

    /// Ends a stream; `stream` is its place. False: it had ended before.
    @inline(never)
    @discardableResult
    mutating func end(_ handle: HTTP2StreamHandle, _ stream: Place<HTTP2Stream>) -> Bool {
        guard streams.remove(handle, stream) else { return false }
        if stream.value.isReady { removeReady(handle, stream) }
        pendingBytes &-= stream.value.accounted
        if closedByEvent == handle { closedByEvent = .none }
        return true
    }

    /// What waited for the user to have read an event: a stream that it has closed, the memory of a large header block.
    mutating func tidy() {
        needsTidying = false
        let closed = closedByEvent
        if let stream = streams.find(closed) { end(closed, stream) }
        headers.release()
        if blockStream == 0 { block.release() }
    }

    // MARK: Errors

    /// Whether the connection was lost to an error: `.failed` was reported. From then on nothing is read, and whatever the
    /// user still sends is dropped. Streams stay as they are, so that `forEachContext` names those whose work must end.
    public var hasFailed: Bool { phase == .failed }

    /// Ends the connection: GOAWAY, and nothing is read or sent any more (§5.4.1).
    mutating func fail(
        _ code: HTTP2ErrorCode, _ reason: HTTP2Failure.Reason, _ output: inout ByteBuffer
    ) -> HTTP2Event {
        if reason != .http1Preface { appendGoAway(finalGoAway ?? lastPeerStream, code, debug: "", &output) }
        phase = .failed
        blockStream = 0
        needsTidying = true
        return .failed(HTTP2Failure(code: code, reason: reason))
    }

    /// Ends one stream because of what the peer sent on it (§5.4.2). Such resets count like the peer's own: a peer that
    /// makes us reset is as costly as one that resets. When it may make us reset no more, the connection ends instead, and
    /// the stream stays: a stream never goes without `.reset` for its context, or `.failed` for them all.
    mutating func failStream(
        _ handle: HTTP2StreamHandle, _ code: HTTP2ErrorCode, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard let stream = streams.find(handle) else { return nil }
        guard resets.take(now: now) else { return fail(.enhanceYourCalm, .tooManyResets, &output) }
        let context = stream.value.context
        appendReset(stream.value.id, code, &output)
        end(handle, stream)
        return context == 0 ? nil : .reset(context: context, code: code, byPeer: false)
    }

    /// A frame that changes nothing, such as one on a stream that this side may have reset when so many were that nobody knows.
    /// It costs what such frames do.
    mutating func uselessFrame(_ now: UInt64, _ output: inout ByteBuffer) -> HTTP2Event? {
        idleFrames.take(now: now) ? nil : fail(.enhanceYourCalm, .tooManyIdleFrames, &output)
    }

    /// Refuses a stream that has no entry.
    mutating func rejectStream(
        _ id: UInt32, _ code: HTTP2ErrorCode, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard resets.take(now: now) else { return fail(.enhanceYourCalm, .tooManyResets, &output) }
        appendReset(id, code, &output)
        return nil
    }

    /// Takes what the reset of a stream costs whose work was done. False: the peer may cause no more of them.
    mutating func chargeAnswered(_ now: UInt64) -> Bool {
        role == .client || resets.take(now: now, parts: HTTP2Limits.answeredResetParts)
    }

    /// Takes what the reset of a stream costs that has ended: nothing, if the peer has waited for enough others.
    mutating func chargeCrossing(_ now: UInt64) -> Bool {
        // Its own answer pays for nothing: a peer that resets everything is charged for everything.
        if answers > 0 { answers &-= 1 }
        guard answers >= HTTP2Limits.answersPerCrossing else { return chargeAnswered(now) }
        answers &-= HTTP2Limits.answersPerCrossing
        return true
    }

    func isYoung(_ openedAt: UInt64, _ now: UInt64) -> Bool { now < openedAt &+ HTTP2Limits.youngStream }
}
