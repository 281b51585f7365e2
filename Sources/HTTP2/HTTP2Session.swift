import Basics
import Bytes
import Memory

/// One HTTP/2 connection without I/O and without a clock (RFC 9113): received bytes go in, events and bytes to send come out.
///
///     var position = 0
///     while true {
///         switch session.next(bytes, &position, now: loop.now, output: &output) {
///         case .needsMore: return position
///         case .headers(let stream, let endStream): …
///
/// The session enforces the rules of frames, streams, header fields, flow control and abuse limits for both roles. The user
/// decides what requests and responses mean. Streams are named by handles, which read as gone after a stream's end; the user
/// keeps a `context` number in each.
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
    /// Streams that the peer reset while their work still runs here: they count as open (rapid reset).
    public internal(set) var heldStreams = 0
    /// Bytes that we may send on the connection.
    var sendWindow = 65_535
    /// Bytes that the peer may send on the connection.
    var receiveWindow = 65_535
    /// Bytes that came on the connection and were not yet given back.
    var unreturned = 0
    /// First and last of the streams that have something to send and a window for it.
    var readyHead = HTTP2StreamHandle.none
    var readyTail = HTTP2StreamHandle.none
    /// Streams whose pending bytes have left, for `popDrained`.
    var drained = Vector<HTTP2StreamHandle>()
    /// A stream that the last event has closed; it goes when the next event is asked for.
    var closedByEvent = HTTP2StreamHandle.none
    /// Streams that this side reset lately.
    var wereReset = ResetMemory()
    /// Bytes of bodies that wait for windows, of all streams.
    public internal(set) var pendingBytes = 0
    /// Streams visited because the peer's initial window changed: what tests count.
    var windowWork = 0

    /// The peer has acknowledged our SETTINGS. Until then it may use the window of 65,535 that it knew before.
    var isAcknowledged = false
    /// Bytes that the peer may send on a new stream.
    var newStreamWindow: Int32 {
        Int32(clamping: isAcknowledged ? limits.initialStreamWindow : max(limits.initialStreamWindow, 65_535))
    }

    // MARK: Reading

    enum Phase {
        case preface, settings, frames
        /// The user's resets have used up what the peer may cause: the next event is `.failed`.
        case exhausted
        case failed
    }
    var phase: Phase
    /// What the peer must send next, and since when, as of the last `.needsMore`.
    public private(set) var owed: HTTP2Debt
    /// When that began, in the nanoseconds of `next`; 0 before its first call. For a frame or a header block: when its first byte
    /// was seen, however slowly the rest comes.
    public private(set) var owedSince: UInt64 = 0
    /// When the peer's first SETTINGS came, in the nanoseconds of `next`: it has ours, too, and owes their acknowledgement.
    var settledAt: UInt64 = 0
    /// Something is to be freed before the next event.
    var needsTidying = false
    /// The header block that waits for CONTINUATION.
    var block = ByteBuffer()
    var blockStream: UInt32 = 0
    var blockFlags: UInt8 = 0
    var blockContinuations = 0
    var blockDependsOnItself = false
    /// When its HEADERS came.
    var blockSince: UInt64 = 0

    // MARK: Going away

    /// The last stream that our final GOAWAY promised to process; later ones are ignored.
    var finalGoAway: UInt32?

    var resets: RateLimit
    /// Answers that went out whole and have not paid for a reset.
    var answers: UInt64 = 0
    var idleFrames: RateLimit

    /// A session that has sent and received nothing: call `start`.
    public init(role: Role, limits: HTTP2Limits = HTTP2Limits()) {
        self.role = role
        self.limits = limits
        headers = HPACKDecoder(
            tableSize: limits.headerTableSize, maximumListSize: limits.maximumHeaderListSize,
            maximumWork: limits.maximumHeaderBlockWork)
        nextLocalStream = role == .client ? 1 : 2
        phase = role == .server ? .preface : .settings
        owed = role == .server ? .preface : .settings
        resets = RateLimit(burst: limits.maximumResets, nanoseconds: limits.$resetsInterval)
        idleFrames = RateLimit(burst: limits.maximumIdleFrames, nanoseconds: limits.$idleFramesInterval)
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
            output.append(bigEndian: UInt32(clamping: value))
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
        if needsTidying { tidy() }
        if phase != .frames {
            if let event = unsafe begin(input, &position, now, &output) { return event }
        }
        while input.count &- position >= HTTP2FrameHeader.size {
            let header = unsafe HTTP2FrameHeader(input, at: position)
            if header.length > HTTP2Limits.maximumFrameSize { return fail(.frameSizeError, .frameTooLarge, &output) }
            let start = position &+ HTTP2FrameHeader.size
            guard input.count &- start >= header.length else { break }
            if blockStream != 0 && header.type != .continuation {
                return fail(.protocolError, .continuationExpected, &output)
            }
            position = start &+ header.length
            let payload = unsafe Span<UInt8>(_unsafeBytes: UnsafeRawBufferPointer(rebasing: input[start..<position]))
            let event: HTTP2Event?
            switch header.type {
            case .data: event = receiveData(header, payload, start, now, &output)
            case .headers: event = receiveHeaders(header, payload, now, &output)
            case .continuation: event = receiveContinuation(header, payload, now, &output)
            case .windowUpdate: event = receiveWindowUpdate(header, payload, now, &output)
            case .rstStream: event = receiveReset(header, payload, now, &output)
            case .settings: event = receiveSettings(header, payload, now, &output)
            case .ping: event = receivePing(header, payload, now, &output)
            case .goAway: event = receiveGoAway(header, payload, now, &output)
            case .priority: event = receivePriority(header, payload, now, &output)
            case .pushPromise: event = fail(.protocolError, .pushNotAllowed, &output)
            default: event = idleFrames.take(now: now) ? nil : fail(.enhanceYourCalm, .tooManyIdleFrames, &output)
            }
            if let event { return event }
        }
        // The usual case: everything is whole, and nothing was owed before.
        if position == input.count, owed == .nothing, blockStream == 0 { return .needsMore }
        return needsMore(input.count &- position, position, now)
    }

    /// Notes what the peer owes, with `rest` bytes left that are the beginning of something at `position` of the input.
    private mutating func needsMore(_ rest: Int, _ position: Int, _ now: UInt64) -> HTTP2Event {
        let debt: HTTP2Debt
        var since = now
        switch phase {
        case .preface: debt = .preface
        case .settings: debt = .settings
        default:
            if blockStream != 0 {
                debt = .headerBlock
                since = blockSince
            } else if rest > 0 {
                debt = .frame
            } else if isAcknowledged {
                debt = .nothing
            } else {
                debt = .settingsAck
                since = settledAt
            }
        }
        // What begins behind the beginning of the input is new; else it is what was there before. A header block, or an
        // acknowledgement, is owed for as long as it is, whatever comes in between.
        let isNew =
            debt != owed || owedSince == 0 || debt == .headerBlock || debt == .settingsAck
            || (debt == .frame && position > 0)
        if isNew {
            owed = debt
            owedSince = since
        }
        return .needsMore
    }

    /// The preface, byte by byte (§3.4), and the SETTINGS that must follow it. Nil: go on with frames.
    private mutating func begin(
        _ input: UnsafeRawBufferPointer, _ position: inout Int, _ now: UInt64, _ output: inout ByteBuffer
    ) -> HTTP2Event? {
        if phase == .failed {
            position = input.count
            return .needsMore
        }
        if phase == .exhausted { return fail(.enhanceYourCalm, .tooManyResets, &output) }
        if phase == .preface {
            let preface = unsafe Self.preface.utf8Start
            let count = Self.preface.utf8CodeUnitCount
            let present = min(input.count - position, count)
            for index in 0..<present where unsafe input[position + index] != preface[index] {
                return fail(
                    .protocolError, unsafe looksLikeHTTP1(input, position) ? .http1Preface : .badPreface, &output)
            }
            guard present == count else { return needsMore(present, position, now) }
            position += count
            phase = .settings
        }
        guard input.count - position >= HTTP2FrameHeader.size else {
            return needsMore(input.count - position, position, now)
        }
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

    // MARK: Time

    /// What the peer should have sent by now; nil when it is in time. The preface and the first SETTINGS are not among it: until
    /// `hasPeerSettings` the owner has a deadline for all of them together.
    ///
    /// - Parameters:
    ///   - now: nanoseconds of the clock that `next` is told.
    ///   - patience: nanoseconds that a frame, a header block or the acknowledgement of our SETTINGS may take.
    ///   - readingSince: when the owner began to read, or went on with it: what lies in front of a closed door is not late.
    public func overdue(now: UInt64, patience: UInt64, readingSince: UInt64) -> HTTP2Debt? {
        let isHalf = owed == .frame || owed == .headerBlock
        if isHalf && isOver(max(owedSince, readingSince), patience, now) { return owed }
        // Frames that are half there must not hide it.
        return hasPeerSettings && !isAcknowledged && isOver(settledAt, patience, now) ? .settingsAck : nil
    }

    private func isOver(_ since: UInt64, _ patience: UInt64, _ now: UInt64) -> Bool {
        now >= since && now - since >= patience
    }

    // MARK: Account

    /// Bytes that the session holds because of its peer: bodies that wait for windows, a header block that is being put
    /// together, the tables of both directions, the streams. Cheap: to be asked at any time. What the owner keeps (input that was
    /// not consumed, output that was not written) is the owner's account.
    public var heldBytes: Int {
        pendingBytes &+ block.capacity &+ headers.heldBytes &+ encoder.heldBytes &+ streams.heldBytes
            &+ wereReset.heldBytes &+ drained.count &* MemoryLayout<HTTP2StreamHandle>.stride
    }

    /// The part of `heldBytes` that is not bodies of this side.
    public var stateBytes: Int { heldBytes &- pendingBytes }

    /// Steps that were not done in constant time, so far: bytes of header blocks, strings and streams that were visited. What
    /// tests compare with the bytes that came in.
    package var work: Int { headers.work &+ streams.work &+ windowWork }
}
