import Bytes
import HTTP2
import Memory
import Reactor

/// A call on the client, the types erased:
///
///        start            a connection has room          END_STREAM of the server, RST_STREAM,
///     ─────────▶ waiting ──────────────────────▶ open ──────────────────────────────────────────▶ ended
///                   ▲   │                         │       deadline, cancel, connection lost         ▲
///                   │   └─────────────────────────┼───────────────────────────────────────────────┘
///                   └─────────────────────────────┘  deadline, cancel, no connection
///                     refused, or behind a GOAWAY: the server has certainly not seen it
///
/// Request messages are encoded into `request` and stay there until the server has begun to answer, so that a refused call
/// can be sent again; a stream that has sent more than `replayLimit` gives that up.
@safe @usableFromInline
final class ClientCall {
    enum Phase { case waiting, open, ended }

    /// Why messages of the answer are kept instead of delivered.
    struct Hold: OptionSet {
        let rawValue: UInt8
        /// The caller has paused.
        static let paused = Hold(rawValue: 1)
        /// A message is on its way out of gzip.
        static let inflating = Hold(rawValue: 2)
    }

    /// The custom metadata of an answer.
    final class ReceivedMetadata {
        var initial = Metadata()
        var trailing = Metadata()
    }

    /// Bytes of request that are kept to send a refused call again.
    private static let replayLimit = 256 << 10

    @usableFromInline let channel: GRPCChannel
    let path: StaticString
    let options: CallOptions
    /// Decodes a message and hands it on; an error ends the call. Nil: one message is expected, and kept until the end.
    var onMessage: ((UnsafeRawBufferPointer) -> RPCError?)?
    /// Called once: with nil and the bytes of the one message (none for a stream), or with why the call failed.
    private var onEnd: ((RPCError?, UnsafeRawBufferPointer) -> Void)?
    private(set) var phase = Phase.waiting
    @usableFromInline var isEnded: Bool { phase == .ended }

    /// When the call ends with DEADLINE_EXCEEDED, in the loop's nanoseconds; 0: never.
    let deadline: UInt64
    private var timer = TimerID.none
    private var retries = 0
    /// Stands in the channel's queue.
    var isQueued = false
    /// Bytes that are counted in the channel's queue for it.
    var queuedSize = 0
    /// Bytes of request messages that are kept.
    var requestBytes: Int { request.cell.value.count }

    // MARK: Request

    /// Framed messages: those before `handedOver` are with the session. Callers encode into it.
    @usableFromInline let request: PooledBuffer
    private var handedOver = 0
    var keepsRequest = true
    /// What it has agreed on with the server about compression.
    var compression: CallCompression
    /// Messages up to this size go as they are; -1: none does.
    private let plainLimit: Int
    private var wantsHalfClose = false
    private(set) var isHalfClosed = false
    private var wantsWritable = false
    private var whenWritable: (() -> Void)?
    @usableFromInline var onWritable: (() -> Void)? {
        get { whenWritable }
        set { whenWritable = newValue }
    }

    // MARK: Response

    /// Its connection while the session has a stream for the call, from `attach` to `detach`; else none.
    var connection = Handle<ClientConnection>.none
    var hasStream: Bool { connection != .none }
    /// The stream in the connection's session, while `hasStream`.
    var stream = HTTP2StreamHandle.none
    /// Neighbours in the list of the connection's calls.
    var next = Handle<ClientCall>.none
    var previous = Handle<ClientCall>.none
    /// Names the call while it has not ended: its stream's context, its timer's payload. None: it was not started.
    private(set) var name = Handle<ClientCall>.none
    /// Bytes of its answer that are counted in the connection's account.
    var held = 0
    /// How the server takes what waits for a window.
    var reading = ProgressMark()
    /// When the message began that is half there.
    var messageSince: UInt64 = 0
    var hasHeaders = false
    var httpStatus = 0
    /// Nil: neither headers nor trailers had any.
    var received: ReceivedMetadata?
    /// What has come and was not delivered, at least one byte, in a buffer of the channel's; nil: nothing.
    var rest: PooledBuffer?
    /// The one message that is expected, in a buffer of the channel's.
    var answer: PooledBuffer?
    var remoteEnded = false
    var hold: Hold = []
    var isDelivering = false
    var unconsumed = 0
    /// The end that came while messages were held back.
    var heldEnd: RPCError??
    var holdsEnd: Bool { heldEnd != nil }

    @usableFromInline
    init(
        channel: GRPCChannel, path: StaticString, options: CallOptions,
        onMessage: ((UnsafeRawBufferPointer) -> RPCError?)?,
        onEnd: @escaping (RPCError?, UnsafeRawBufferPointer) -> Void
    ) {
        self.channel = channel
        self.path = path
        var options = options
        var refusal: RPCError?
        if !channel.options.interceptors.isEmpty { refusal = Self.intercept(path, &options, channel) }
        self.options = options
        compression = CallCompression(options, channel.options)
        plainLimit = compression.contains(.outgoing) ? -1 : channel.options.maximumMessageSize
        unsafe self.onMessage = onMessage
        unsafe self.onEnd = onEnd
        deadline = options.timeoutNanoseconds.map { channel.loop.now.after(min($0, GRPCTimeout.longest)) } ?? 0
        request = channel.transport.buffers.take()
        if let refusal { finish(refusal) }
    }

    @inline(never)
    private static func intercept(
        _ path: StaticString, _ options: inout CallOptions, _ channel: GRPCChannel
    ) -> RPCError? {
        for interceptor in channel.options.interceptors {
            do throws(RPCError) { try interceptor.intercept(path, &options) } catch { return error }
        }
        return nil
    }

    deinit {
        let buffers = channel.transport.buffers
        buffers.giveBack(request)
        if let answer { buffers.giveBack(answer) }
        if let rest { buffers.giveBack(rest) }
    }

    // MARK: The caller's side

    @usableFromInline
    func start() {
        // A message that was too large has ended the call already.
        guard phase == .waiting else { return }
        guard let name = channel.transport.calls.insert(self) else {
            return finish(RPCError(code: .resourceExhausted, message: "too many calls"))
        }
        self.name = name
        if deadline != 0 {
            let now = channel.loop.now
            timer = channel.transport.schedule(after: deadline > now ? deadline - now : 0, name)
        }
        channel.submit(self)
    }

    func deadlinePassed() {
        timer = .none
        abort(RPCError(code: .deadlineExceeded, message: "no answer within the deadline"), .cancel)
    }

    /// A message of `size` bytes is to be encoded into `request`; `endMessage` must follow.
    @usableFromInline
    func beginMessage(size: Int) {
        request.cell.value.reserve(size + GRPCMessage.prefixSize)
        request.cell.value.append(0)
        // A larger one ends the call in `endMessage`.
        request.cell.value.append(bigEndian: UInt32(clamping: size))
        messageSize = size
    }

    private var messageSize = 0

    @usableFromInline
    func endMessage() {
        guard phase != .ended else { return request.cell.value.removeAll() }
        if messageSize > plainLimit {
            guard messageSize <= channel.options.maximumMessageSize else {
                return abort(.tooLarge(messageSize, channel.options.maximumMessageSize), .cancel)
            }
            compressMessage()
        }
        guard queuedBytes <= channel.options.maximumQueuedBytes,
            !isQueued || channel.queueGrew(by: messageSize + GRPCMessage.prefixSize, for: self)
        else {
            return abort(
                RPCError(code: .resourceExhausted, message: "the server takes messages too slowly: the queue is full"),
                .cancel)
        }
        handOver()
    }

    /// The message that was encoded last goes in gzip, if that makes it smaller.
    private func compressMessage() {
        if compression.contains(.skipsNext) {
            compression.remove(.skipsNext)
            return
        }
        let start = request.cell.value.count - messageSize
        var packed = ByteBuffer()
        let isSmaller = unsafe request.cell.value.withUnsafeBytes {
            unsafe channel.transport.compressor.deflate(UnsafeRawBufferPointer(rebasing: $0[start...]), into: &packed)
        }
        guard isSmaller else { return }
        messageSize = packed.count
        request.cell.value.truncate(to: start - GRPCMessage.prefixSize)
        request.cell.value.append(1)
        request.cell.value.append(bigEndian: UInt32(clamping: packed.count))
        request.cell.value.append(packed.span)
    }

    /// The next message goes as it is.
    @usableFromInline
    func skipCompression() { compression.insert(.skipsNext) }

    @usableFromInline
    func halfClose() {
        guard phase != .ended, !wantsHalfClose else { return }
        wantsHalfClose = true
        reading.clear()
        handOver()
    }

    /// Bytes that have not left this process, as far as the session and this call know.
    private var queuedBytes: Int {
        let mine = request.cell.value.count - handedOver
        return hasStream ? mine + channel.transport.pendingCount(self) : mine
    }

    @usableFromInline
    var isWritable: Bool {
        guard phase != .ended else { return false }
        if queuedBytes < channel.options.writableBelow { return true }
        wantsWritable = true
        if hasStream { channel.transport.notifyWhenDrained(self) }
        return false
    }

    @usableFromInline
    func cancel() {
        abort(RPCError(code: .cancelled, message: "the caller has cancelled the call"), .cancel)
    }

    /// Ends the call from this side: the server is told, the caller hears of it later in this turn.
    func abort(_ error: RPCError, _ code: HTTP2ErrorCode) {
        guard phase != .ended else { return }
        let hadStream = hasStream
        if hadStream { channel.transport.reset(self, code) }
        finish(error)
        if hadStream { channel.streamWasGivenUp() }
    }

    // MARK: The channel's side

    /// A stream is there: the headers have been written. What was encoded so far follows.
    func opened() {
        phase = .open
        handOver()
        if wantsWritable && phase == .open && isWritable { becameWritable() }
    }

    /// The server has certainly not processed the call: send it again, if that is still possible.
    func refused(_ reason: RPCError) {
        guard phase == .open else { return }
        guard keepsRequest && !hasHeaders && retries < channel.options.maximumTransparentRetries else {
            return finish(reason)
        }
        retries += 1
        channel.metrics.callRetried()
        phase = .waiting
        handedOver = 0
        isHalfClosed = false
        reading.clear()
        channel.submit(self)
    }

    /// Gives what was encoded to the session.
    private func handOver() {
        guard hasStream, !isHalfClosed else { return }
        let end = wantsHalfClose
        let count = request.cell.value.count - handedOver
        guard count > 0 || end else { return }
        isHalfClosed = end
        let fits = unsafe request.cell.value.withUnsafeBytes { bytes in
            unsafe channel.transport.send(
                self, UnsafeRawBufferPointer(rebasing: bytes[handedOver...]), endStream: end)
        }
        guard fits else {
            channel.transport.detach(self)
            let message = "all that waits for the server is more than a connection may hold"
            return finish(RPCError(code: .resourceExhausted, message: message))
        }
        handedOver = request.cell.value.count
        if keepsRequest && handedOver > Self.replayLimit { keepsRequest = false }
        if !keepsRequest { dropRequest() }
    }

    func dropRequest() {
        request.cell.value.consume(handedOver)
        handedOver = 0
    }

    func becameWritable() {
        guard wantsWritable, phase == .open else { return }
        wantsWritable = false
        whenWritable?()
    }

    // MARK: The end

    /// The end, once. Unless it comes from the network the caller hears of it later in this turn, never inside a call of
    /// its own.
    func finish(_ error: RPCError?, isDeferred: Bool = true) {
        guard phase != .ended else { return }
        phase = .ended
        if timer != .none { channel.loop.cancel(timer) }
        timer = .none
        if hasStream { channel.transport.detach(self) }
        if name != .none {
            if compression.contains(.inflating) { channel.transport.compressor.forget(name.token) }
            channel.transport.askForTurnEnd()
            channel.transport.calls.remove(name)
        }
        request.cell.value.removeAll()
        handedOver = 0
        whenWritable = nil
        channel.metrics.callEnded(error?.code ?? .ok)
        channel.ended(self)
        if isDeferred {
            channel.loop.execute { [self] in tellEnd(error) }
        } else {
            tellEnd(error)
        }
    }

    private func tellEnd(_ error: RPCError?) {
        let onEnd = unsafe self.onEnd
        unsafe self.onEnd = nil
        unsafe onMessage = nil
        if error == nil, let answer {
            unsafe answer.cell.value.withUnsafeBytes { unsafe onEnd?(nil, $0) }
        } else {
            unsafe onEnd?(error, UnsafeRawBufferPointer(start: nil, count: 0))
        }
    }
}
