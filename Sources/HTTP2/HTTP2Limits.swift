import Basics

/// Every limit of one HTTP/2 connection, with the attack or the need that it answers.
public struct HTTP2Limits: Sendable {
    // MARK: What is announced in SETTINGS

    /// SETTINGS_MAX_CONCURRENT_STREAMS: one more stream is refused (REFUSED_STREAM). Streams of drivers' apps live long and
    /// share a gateway's connection, so it is generous.
    public var maximumConcurrentStreams = 4096
    /// SETTINGS_INITIAL_WINDOW_SIZE: bytes that a peer may send on a stream before we take them.
    public var initialStreamWindow = 256 << 10
    /// The connection's window, enlarged at once from 65,535. It is refilled when bytes arrive, whoever reads them, so that a
    /// stalled stream never blocks another; what a stream can hold is bounded by its own window.
    public var connectionWindow = 4 << 20
    /// SETTINGS_MAX_FRAME_SIZE: the smallest that is allowed. A frame is handled when it is whole.
    public static let maximumFrameSize = 16_384
    /// SETTINGS_HEADER_TABLE_SIZE: HPACK's dynamic table, in bytes.
    public var headerTableSize = 4096
    /// SETTINGS_MAX_HEADER_LIST_SIZE: decoded bytes of one header block (an HPACK bomb decodes to a thousand times its size).
    public var maximumHeaderListSize = 16 << 10

    // MARK: Floods

    /// Encoded bytes of one header block over all its frames (CONTINUATION flood, CVE-2024-27316): beyond, the connection
    /// ends with ENHANCE_YOUR_CALM, since the block can't be decoded to keep the table in step.
    public var maximumHeaderBlockSize = 64 << 10
    /// Decoded bytes of one header block, counted as §6.5.2 counts them and with the fields that were dropped because the list
    /// was too large: beyond, the connection ends with ENHANCE_YOUR_CALM. 64 KiB of one-byte indices name 268 MB, or copy as
    /// much into the table; with this bound a block costs less than a millisecond.
    public var maximumHeaderBlockWork = 256 << 10
    /// CONTINUATION frames of one header block, empty ones too.
    public var maximumContinuations = 16
    /// Streams reset by the peer, or by us because of what it sent (rapid reset, CVE-2023-44487; MadeYouReset,
    /// CVE-2025-8671): this many at once, refilled in `resetsInterval`.
    public var maximumResets = 200
    /// The time in which `maximumResets` are refilled.
    @Nanoseconds public var resetsInterval: Duration = .seconds(30)
    /// A stream that was answered when it was reset, or had ended, costs one part in so many of a reset: its work was done
    /// and read like any call's. It is still counted, or HEADERS and RST_STREAM of calls that are answered at once, and
    /// requests whose early end makes us send RST_STREAM(NO_ERROR), would be free.
    public static let answeredResetParts: UInt64 = 16
    /// So many other answers that went out whole pay for a reset that crosses one: where most calls are waited for, some whose
    /// deadline passes while the answer is on its way are no attack.
    public static let answersPerCrossing: UInt64 = 4
    /// A stream that has lived so long is reset for free, answered or not, in nanoseconds: apps that watch or wait for something
    /// and leave together are no attack, nor are calls whose deadlines pass together when a server is slow. What is bought by
    /// such resets is bounded by MAX_CONCURRENT_STREAMS in each of these times.
    public static let youngStream: UInt64 = 250_000_000
    /// Frames that cost work and carry nothing: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, GOAWAY, empty DATA, informational
    /// responses, headers behind our GOAWAY or behind those that a stream which we reset may still have, unknown types. Each
    /// useful frame (HEADERS, DATA with bytes) gives one back, each DATA that we send two, so a peer that works may ping and
    /// update windows as often as it works.
    public var maximumIdleFrames = 1000
    /// Values in one SETTINGS frame; there are six that mean something here, and nghttp2 takes 32.
    public static let maximumSettings = 32
    /// Streams whose windows move with SETTINGS_INITIAL_WINDOW_SIZE, per idle frame that the walk over them counts as.
    public static let streamsPerIdleFrame = 64
    /// The time in which `maximumIdleFrames` are refilled.
    @Nanoseconds public var idleFramesInterval: Duration = .seconds(30)
    /// A peer that sends PING or SETTINGS and does not read the answers: bytes that may wait to be written when one more
    /// answer is due (CVE-2019-9512, CVE-2019-9515).
    public var maximumOutputForAnswers = 1 << 20

    // MARK: Output

    /// Once so many bytes wait to be taken by the kernel, streams keep theirs: the backlog of one connection is this and
    /// what is pending per stream. Bytes.
    public var outputHighWater = 256 << 10
    /// Bytes of one stream's body that may wait for a window: a stream with more is reset (ENHANCE_YOUR_CALM). Twice the 8 MiB
    /// that gRPC lets a call queue.
    public var maximumPendingPerStream = 16 << 20
    /// The same of all streams of a connection: four streams that take nothing may keep as much as they like, a thousand may
    /// not.
    public var maximumPendingOutput = 64 << 20

    public init() {}
}
