import Bytes

/// One HTTP/2 connection without I/O and without a clock (RFC 9113): received bytes go in, events and bytes to send come out.
///
///     var position = 0
///     while true {
///         switch session.next(bytes, &position, now: loop.now, output: &output) {
///         case .needsMore: return position
///         case .headers(let stream, let endStream): …
///
/// The session enforces the rules of frames, streams, header fields, flow control and abuse limits for both roles. The user
/// decides what requests and responses mean. Streams are named by their slot; the user keeps a `context` number in each.
///
/// Not thread-safe: it belongs to one connection of one loop.
@safe public struct HTTP2Session: ~Copyable {
    public enum Role: Sendable { case client, server }

    public let role: Role
    public let limits: HTTP2Limits

    /// The fields of the last `.headers` or `.trailers` event, valid until the next event.
    public internal(set) var headers: HPACKDecoder
    /// For the fields of blocks that are being written (`beginHeaders` … `endHeaders`).
    public var encoder = HPACKEncoder()

    var streams = HTTP2StreamTable()

    // MARK: What the peer has said

    /// SETTINGS_INITIAL_WINDOW_SIZE of the peer.
    var peerInitialWindow: Int32 = 65_535
    /// SETTINGS_MAX_FRAME_SIZE of the peer.
    var peerMaximumFrame = 16_384
    /// SETTINGS_MAX_CONCURRENT_STREAMS of the peer; no limit until it has said one.
    public internal(set) var peerMaximumStreams = Int.max
    /// Whether the peer's first SETTINGS have come.
    public internal(set) var hasPeerSettings = false
    /// The last stream that the peer's GOAWAY promised to process, nil before it.
    public internal(set) var peerGoAway: UInt32?

    // MARK: Streams and windows

    /// The highest stream identifier that the peer has used.
    var lastPeerStream: UInt32 = 0
    /// The next identifier that this side uses; above 2³¹−1 they have run out.
    var nextLocalStream: UInt32
    /// Streams of the peer (server) or of this side (client) that count against MAX_CONCURRENT_STREAMS.
    public internal(set) var openStreams = 0
    /// Streams that the peer reset while their work still runs here: they count as open (rapid reset).
    public internal(set) var heldStreams = 0
    /// Bytes that we may send on the connection.
    var sendWindow = 65_535
    /// Bytes that the peer may send on the connection.
    var receiveWindow = 65_535
    /// Bytes that came on the connection and were not yet given back.
    var unreturned = 0
    /// First and last of the streams that have something to send and a window for it.
    var readyHead = HTTP2Stream.none
    var readyTail = HTTP2Stream.none
    /// Streams whose pending bytes have left, for `popDrained`.
    var drained: [UInt32] = []
    /// A stream that the last event has closed; freed when the next event is asked for.
    var closedByEvent = HTTP2Stream.none
    /// Identifiers of streams that this side reset lately, a ring.
    var resetIDs: [UInt32] = []
    var resetPlace = 0

    /// The peer has acknowledged our SETTINGS. Until then it may use the window of 65,535 that it knew before.
    var isAcknowledged = false
    /// Bytes that the peer may send on a new stream.
    var newStreamWindow: Int32 {
        Int32(isAcknowledged ? limits.initialStreamWindow : max(limits.initialStreamWindow, 65_535))
    }

    // MARK: Reading

    enum Phase { case preface, settings, frames, failed }
    var phase: Phase
    /// The header block that waits for CONTINUATION.
    var block = ByteBuffer()
    var blockStream: UInt32 = 0
    var blockFlags: UInt8 = 0
    var blockContinuations = 0
    var blockDependsOnItself = false

    // MARK: Going away

    /// The last stream that our final GOAWAY promised to process; later ones are ignored.
    var finalGoAway: UInt32?

    var resets: RateLimit
    var idleFrames: RateLimit

    /// A session that has sent and received nothing: call `start`.
    public init(role: Role, limits: HTTP2Limits = HTTP2Limits()) {
        self.role = role
        self.limits = limits
        headers = HPACKDecoder(tableSize: limits.headerTableSize, maximumListSize: limits.maximumHeaderListSize)
        nextLocalStream = role == .client ? 1 : 2
        phase = role == .server ? .preface : .settings
        resets = RateLimit(burst: limits.maximumResets, interval: limits.resetsInterval)
        idleFrames = RateLimit(burst: limits.maximumIdleFrames, interval: limits.idleFramesInterval)
    }

    static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    /// Appends what this side sends first: the preface (client), SETTINGS, the larger connection window.
    public mutating func start(output: inout ByteBuffer) {
        if role == .client { output.append(Self.preface) }
        var settings: [(UInt16, Int)] = []
        if role == .client {
            settings.append((HTTP2Setting.enablePush, 0))
        } else {
            settings.append((HTTP2Setting.maxConcurrentStreams, limits.maximumConcurrentStreams))
        }
        settings.append((HTTP2Setting.initialWindowSize, limits.initialStreamWindow))
        settings.append((HTTP2Setting.maxHeaderListSize, limits.maximumHeaderListSize))
        if limits.headerTableSize != 4096 { settings.append((HTTP2Setting.headerTableSize, limits.headerTableSize)) }
        HTTP2FrameHeader.append(length: settings.count * 6, type: .settings, streamID: 0, into: &output)
        for (identifier, value) in settings {
            output.append(bigEndian: identifier)
            output.append(bigEndian: UInt32(value))
        }
        if limits.connectionWindow > receiveWindow {
            appendWindowUpdate(0, limits.connectionWindow - receiveWindow, &output)
            receiveWindow = limits.connectionWindow
        }
    }

    /// Handles input from `position` on until something happens that the user must know, and moves `position` behind it.
    ///
    /// - Parameters:
    ///   - input: the bytes received; those behind `position` must be presented again when more have come.
    ///   - now: nanoseconds of any monotonic clock.
    ///   - output: gets the frames that the rules ask for.
    public mutating func next(
        _ input: UnsafeRawBufferPointer, _ position: inout Int, now: UInt64, output: inout ByteBuffer
    ) -> HTTP2Event {
        if closedByEvent != HTTP2Stream.none { freeClosedStream() }
        if phase != .frames {
            if let event = unsafe begin(input, &position, &output) { return event }
        }
        while input.count &- position >= HTTP2FrameHeader.size {
            let header = unsafe HTTP2FrameHeader(input, at: position)
            if header.length > HTTP2Limits.maximumFrameSize { return fail(.frameSizeError, .frameTooLarge, &output) }
            let start = position &+ HTTP2FrameHeader.size
            guard input.count &- start >= header.length else { return .needsMore }
            if blockStream != 0 && header.type != .continuation {
                return fail(.protocolError, .continuationExpected, &output)
            }
            position = start &+ header.length
            let payload = unsafe UnsafeRawBufferPointer(rebasing: input[start..<position])
            let event: HTTP2Event?
            switch header.type {
            case .data: event = unsafe receiveData(header, payload, start, now, &output)
            case .headers: event = unsafe receiveHeaders(header, payload, now, &output)
            case .continuation: event = unsafe receiveContinuation(header, payload, now, &output)
            case .windowUpdate: event = unsafe receiveWindowUpdate(header, payload, now, &output)
            case .rstStream: event = unsafe receiveReset(header, payload, now, &output)
            case .settings: event = unsafe receiveSettings(header, payload, now, &output)
            case .ping: event = unsafe receivePing(header, payload, now, &output)
            case .goAway: event = unsafe receiveGoAway(header, payload, &output)
            case .priority: event = unsafe receivePriority(header, payload, now, &output)
            case .pushPromise: event = fail(.protocolError, .pushNotAllowed, &output)
            default: event = idleFrames.take(now: now) ? nil : fail(.enhanceYourCalm, .tooManyIdleFrames, &output)
            }
            if let event { return event }
        }
        return .needsMore
    }

    /// The preface, byte by byte (§3.4), and the SETTINGS that must follow it. Nil: go on with frames.
    private mutating func begin(
        _ input: UnsafeRawBufferPointer, _ position: inout Int, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        if phase == .failed {
            position = input.count
            return .needsMore
        }
        if phase == .preface {
            let preface = unsafe Self.preface.utf8Start
            let count = Self.preface.utf8CodeUnitCount
            let present = min(input.count - position, count)
            for index in 0..<present where unsafe input[position + index] != preface[index] {
                return fail(
                    .protocolError, unsafe looksLikeHTTP1(input, position) ? .http1Preface : .badPreface, &output)
            }
            guard present == count else { return .needsMore }
            position += count
            phase = .settings
        }
        guard input.count - position >= HTTP2FrameHeader.size else { return .needsMore }
        let header = unsafe HTTP2FrameHeader(input, at: position)
        guard header.type == .settings, !header.has(HTTP2Flag.ack) else {
            return fail(.protocolError, .settingsExpected, &output)
        }
        phase = .frames
        return nil
    }

    /// Whether the input begins like an HTTP/1 request: capital letters, then a blank.
    private func looksLikeHTTP1(_ input: UnsafeRawBufferPointer, _ position: Int) -> Bool {
        var index = position
        while unsafe index < input.count && index - position < 8 && input[index] &- 65 < 26 { index += 1 }
        return unsafe index > position && (index == input.count || input[index] == 0x20)
    }

    // MARK: Streams

    /// The number that the user keeps for a stream; `UInt32.max` until it is set.
    @inline(__always)
    public func context(_ stream: UInt32) -> UInt32 { unsafe streams[stream].pointee.context }

    public func setContext(_ stream: UInt32, _ context: UInt32) { unsafe streams[stream].pointee.context = context }

    public func streamID(_ stream: UInt32) -> UInt32 { unsafe streams[stream].pointee.id }

    /// Calls `body` with the context of each stream that has an identifier above `streamID`.
    public func forEachContext(above streamID: UInt32 = 0, _ body: (UInt32) -> Void) {
        for slot in streams.slots {
            let stream = unsafe streams[slot]
            if unsafe stream.pointee.state != .free && stream.pointee.state != .closed && stream.pointee.id > streamID {
                unsafe body(stream.pointee.context)
            }
        }
    }

    /// The user's work for a stream that was reset has not ended: it keeps counting as open until `unhold`.
    public mutating func hold() { heldStreams += 1 }
    public mutating func unhold() { heldStreams -= 1 }

    /// Whether an identifier was never used.
    func isIdle(_ id: UInt32) -> Bool {
        let isOurs = (id & 1 == 1) == (role == .client)
        return isOurs ? id >= nextLocalStream : id > lastPeerStream || role == .client
    }

    /// The peer has ended its side of a stream. Closes it when this side has ended too.
    mutating func remoteEnded(_ slot: UInt32) {
        let stream = unsafe streams[slot]
        if unsafe stream.pointee.state == .halfClosedLocal {
            unsafe stream.pointee.state = .closed
            openStreams -= 1
            closedByEvent = slot
        } else {
            unsafe stream.pointee.state = .halfClosedRemote
        }
    }

    /// This side has ended its side of a stream.
    mutating func localEnded(_ slot: UInt32) {
        let stream = unsafe streams[slot]
        if unsafe stream.pointee.state == .halfClosedRemote {
            close(slot)
        } else {
            unsafe stream.pointee.state = .halfClosedLocal
        }
    }

    /// Frees a stream that is in no event.
    mutating func close(_ slot: UInt32) {
        if unsafe streams[slot].pointee.isReady { removeReady(slot) }
        if closedByEvent == slot {
            closedByEvent = HTTP2Stream.none
        } else {
            openStreams -= 1
        }
        streams.remove(slot)
    }

    private mutating func freeClosedStream() {
        let slot = closedByEvent
        closedByEvent = HTTP2Stream.none
        if unsafe streams[slot].pointee.isReady { removeReady(slot) }
        streams.remove(slot)
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
        return .failed(HTTP2Failure(code: code, reason: reason))
    }

    /// Ends one stream because of what the peer sent on it (§5.4.2). Such resets count like the peer's own: a peer that
    /// makes us reset is as costly as one that resets. When it may make us reset no more, the connection ends instead, and
    /// the stream stays: a stream never goes without `.reset` for its context, or `.failed` for them all.
    mutating func failStream(
        _ slot: UInt32, _ code: HTTP2ErrorCode, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard resets.take(now: now) else { return fail(.enhanceYourCalm, .tooManyResets, &output) }
        let context = unsafe streams[slot].pointee.context
        reset(slot, code, output: &output)
        return context == HTTP2Stream.noContext ? nil : .reset(context: context, code: code, byPeer: false)
    }

    /// Refuses a stream that has no entry.
    mutating func rejectStream(
        _ id: UInt32, _ code: HTTP2ErrorCode, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        guard resets.take(now: now) else { return fail(.enhanceYourCalm, .tooManyResets, &output) }
        appendReset(id, code, &output)
        return nil
    }

    /// Whether this side reset the stream a short while ago: what still arrives on it was sent before the peer knew.
    func wasResetHere(_ id: UInt32) -> Bool { resetIDs.contains(id) }

    mutating func rememberReset(_ id: UInt32) {
        if resetIDs.count < HTTP2Limits.rememberedResets {
            resetIDs.append(id)
        } else {
            resetIDs[resetPlace] = id
            resetPlace = (resetPlace + 1) % HTTP2Limits.rememberedResets
        }
    }
}
