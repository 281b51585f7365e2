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
    /// CONTINUATION frames of one header block, empty ones too.
    public var maximumContinuations = 16
    /// Streams reset by the peer, or by us because of what it sent (rapid reset, CVE-2023-44487; MadeYouReset,
    /// CVE-2025-8671): this many at once, refilled in `resetsInterval`.
    public var maximumResets = 200
    /// Nanoseconds in which `maximumResets` are refilled.
    public var resetsInterval: UInt64 = 30_000_000_000
    /// Frames that cost work and carry nothing: SETTINGS, PING, PRIORITY, empty DATA, unknown types. Each useful frame
    /// (HEADERS, DATA with bytes) gives one back, so a peer that works may ping as often as it works.
    public var maximumIdleFrames = 1000
    /// Nanoseconds in which `maximumIdleFrames` are refilled.
    public var idleFramesInterval: UInt64 = 30_000_000_000
    /// A peer that sends PING or SETTINGS and does not read the answers: bytes that may wait to be written when one more
    /// answer is due (CVE-2019-9512, CVE-2019-9515).
    public var maximumOutputForAnswers = 1 << 20

    // MARK: Output

    /// Once so many bytes wait to be taken by the kernel, streams keep theirs: the backlog of one connection is this and
    /// what is pending per stream. Bytes.
    public var outputHighWater = 256 << 10
    /// Streams that were reset, whose late frames are ignored: the last so many.
    public static let rememberedResets = 128

    public init() {}
}

/// A rate limit without a clock: a bucket of tokens that fills with the time that the caller tells.
struct RateLimit {
    private let interval: UInt64
    /// Nanoseconds' worth of tokens that are there.
    private var credit: UInt64
    private var last: UInt64 = 0
    private let cost: UInt64

    /// - Parameters:
    ///   - burst: how many are allowed at once.
    ///   - interval: nanoseconds in which `burst` tokens are refilled.
    init(burst: Int, interval: UInt64) {
        cost = interval / UInt64(max(burst, 1))
        self.interval = interval
        credit = interval
    }

    /// Takes a token. False: there is none, the limit is passed.
    mutating func take(now: UInt64) -> Bool {
        if now > last {
            credit = min(interval, credit &+ (now &- last))
            last = now
        }
        guard credit >= cost else { return false }
        credit -= cost
        return true
    }

    /// Gives a token back.
    @inline(__always)
    mutating func giveBack() {
        credit = min(interval, credit &+ cost)
    }
}
