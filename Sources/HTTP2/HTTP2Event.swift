import Memory

/// What `HTTP2Session.next` found in the input. Trivial: offsets and numbers only.
///
/// `stream` names the stream to the session and reads as gone after its end; `context` is what the user of the session set for
/// it. A stream with a context ends exactly once: both sides have ended it, `.reset` tells of it, or `.failed` leaves it for
/// the user to find with `forEachContext`.
public enum HTTP2Event {
    /// Everything whole has been handled. What is behind the position is the beginning of a frame.
    case needsMore
    /// A request (server) or a final response (client) begins. Its fields are in `session.headers` until the next event.
    case headers(stream: HTTP2StreamHandle, endStream: Bool)
    /// The trailers; the peer has ended its side.
    case trailers(stream: HTTP2StreamHandle)
    /// `count` bytes of the body at `offset` of the input. Tell the session when they are taken: `consumed`.
    case data(stream: HTTP2StreamHandle, offset: Int, count: Int, endStream: Bool)
    /// The stream has ended early: the peer reset it, or did something wrong on it (then RST_STREAM is in the output).
    case reset(context: UInt64, code: HTTP2ErrorCode, byPeer: Bool)
    /// The peer will not process streams above `lastStreamID` and takes no new ones.
    case goAway(lastStreamID: UInt32, code: HTTP2ErrorCode)
    /// The peer's settings have come (again).
    case settings
    /// The peer sent PING; the answer is in the output.
    case ping
    /// The answer to our PING.
    case pong(UInt64)
    /// The connection is lost to an error: GOAWAY is in the output, write it and close.
    case failed(HTTP2Failure)
}

/// Why a connection ended with an error: the code that went out and what was wrong, one name for each cause.
public struct HTTP2Failure: Error, Hashable, Sendable, CustomStringConvertible {
    public let code: HTTP2ErrorCode
    public let reason: Reason

    public enum Reason: String, Sendable {
        case badPreface = "the connection preface is not HTTP/2's (§3.4)"
        case http1Preface = "an HTTP/1 client on a port that speaks HTTP/2 with prior knowledge only"
        case settingsExpected = "the first frame is not SETTINGS (§3.4)"
        case frameTooLarge = "a frame is longer than SETTINGS_MAX_FRAME_SIZE (§4.2)"
        case badFrameSize = "a frame's length does not fit its type (§6)"
        case badPadding = "the padding is longer than the frame (§6.1)"
        case continuationExpected = "a header block was interrupted (§6.10)"
        case unexpectedContinuation = "CONTINUATION without an open header block (§6.10)"
        case headerBlock = "a header block could not be decoded (§4.3)"
        case headerBlockTooLarge = "a header block is too long (§10.5.1)"
        case streamExpected = "a frame of a stream on the connection (§6)"
        case connectionExpected = "a frame of the connection on a stream (§6)"
        case idleStream = "a frame on an idle stream (§5.1)"
        case closedStream = "a frame on a closed stream (§5.1)"
        case badStreamID = "a stream identifier that the peer may not use (§5.1.1)"
        case pushNotAllowed = "PUSH_PROMISE was not allowed (§6.6)"
        case tooManySettings = "too many values in one SETTINGS frame"
        case badSetting = "a setting with a value that is not allowed (§6.5.2)"
        case windowOverflow = "a flow-control window above 2^31-1 (§6.9.1)"
        case windowExceeded = "DATA beyond the flow-control window (§6.9)"
        case zeroIncrement = "WINDOW_UPDATE by 0 (§6.9)"
        case tooManyResets = "too many streams were reset (rapid reset)"
        case tooManyIdleFrames = "too many frames that carry nothing"
        case answersNotRead = "the peer does not read the answers to its frames"
    }

    public var description: String { "\(code): \(reason.rawValue)" }
}

/// What the peer must send before anything else can be done with the connection, so that the owner, who has a clock, can set
/// a deadline for it.
public enum HTTP2Debt: UInt8, Sendable {
    case nothing
    /// The acknowledgement of our SETTINGS (§6.5.3: SETTINGS_TIMEOUT).
    case settingsAck
    /// The rest of a frame that has begun.
    case frame
    /// CONTINUATION: the rest of a header block that has begun.
    case headerBlock
    /// Its first SETTINGS.
    case settings
    /// The client's connection preface.
    case preface
}
