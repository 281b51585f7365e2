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

    /// Bytes of request that are kept to send a refused call again.
    private static let replayLimit = 256 << 10

    @usableFromInline let channel: GRPCChannel
    let path: StaticString
    let options: CallOptions
    /// Decodes a message and hands it on; an error ends the call. Nil: one message is expected, and kept until the end.
    private var onMessage: ((UnsafeRawBufferPointer) -> RPCError?)?
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
    private var keepsRequest = true
    private var wantsHalfClose = false
    private(set) var isHalfClosed = false
    private var wantsWritable = false
    @usableFromInline var onWritable: (() -> Void)?

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
    private var messageSince: UInt64 = 0
    private var hasHeaders = false
    private var httpStatus = 0
    @usableFromInline private(set) var initialMetadata: Metadata?
    private var body = ByteBuffer()
    /// The one message that is expected, in a buffer of the channel's.
    private var answer: PooledBuffer?
    private var remoteEnded = false
    private var isPaused = false
    private var isDelivering = false
    private var unconsumed = 0
    /// The end that came while messages were held back by `pause`.
    private var heldEnd: RPCError??

    @usableFromInline
    init(
        channel: GRPCChannel, path: StaticString, options: CallOptions,
        onMessage: ((UnsafeRawBufferPointer) -> RPCError?)?,
        onEnd: @escaping (RPCError?, UnsafeRawBufferPointer) -> Void
    ) {
        self.channel = channel
        self.path = path
        self.options = options
        unsafe self.onMessage = onMessage
        unsafe self.onEnd = onEnd
        deadline = options.timeoutNanoseconds.map { channel.loop.now.after(min($0, GRPCTimeout.longest)) } ?? 0
        request = channel.transport.buffers.take()
    }

    deinit {
        channel.transport.buffers.giveBack(request)
        if let answer { channel.transport.buffers.giveBack(answer) }
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
        if messageSize > channel.options.maximumMessageSize {
            return abort(.tooLarge(messageSize, channel.options.maximumMessageSize), .cancel)
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
        if hasStream { channel.transport.reset(self, code) }
        finish(error)
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

    private func dropRequest() {
        request.cell.value.consume(handedOver)
        handedOver = 0
    }

    func becameWritable() {
        guard wantsWritable, phase == .open else { return }
        wantsWritable = false
        onWritable?()
    }

    // MARK: Response

    /// The response's headers; with `endStream` it is Trailers-Only.
    func receiveHeaders(_ headers: borrowing HPACKDecoder, endStream: Bool) {
        hasHeaders = true
        keepsRequest = false
        dropRequest()
        let head = ResponseHead(headers)
        httpStatus = head.status
        if endStream {
            remoteEnded = true
            return complete(head.outcome(status: httpStatus))
        }
        if let problem = head.problem() { return abort(problem, .cancel) }
        initialMetadata = head.metadata
    }

    func receiveTrailers(_ headers: borrowing HPACKDecoder) {
        remoteEnded = true
        complete(ResponseHead(headers).outcome(status: httpStatus))
    }

    /// A part of the body. `bytes` lie in the receive buffer.
    func receiveData(_ bytes: UnsafeRawBufferPointer, endStream: Bool) {
        unconsumed += bytes.count
        var rest = unsafe bytes
        if body.isEmpty && !isPaused && !isDelivering {
            // The usual case: whole messages, delivered where they lie.
            isDelivering = true
            while phase == .open && !isPaused,
                let message = unsafe GRPCMessage.takeWhole(
                    &rest, limit: channel.options.maximumMessageSize)
            {
                if let problem = unsafe take(message) { abort(problem, .cancel) }
            }
            isDelivering = false
        }
        guard phase == .open else { return }
        if rest.count > 0 {
            if body.isEmpty { messageSince = channel.loop.now }
            unsafe body.append(rest)
        }
        deliver()
        guard endStream, phase == .open else { return }
        remoteEnded = true
        complete(RPCError(code: .internal, message: "the server ended the stream without grpc-status"))
    }

    /// A whole message.
    @inline(__always)
    private func take(_ message: UnsafeRawBufferPointer) -> RPCError? {
        if let onMessage = unsafe self.onMessage { return unsafe onMessage(message) }
        guard self.answer == nil else {
            return RPCError(code: .internal, message: "the server answered a unary call with more than one message")
        }
        let answer = channel.transport.buffers.take()
        unsafe answer.cell.value.append(message)
        self.answer = answer
        return nil
    }

    /// Delivers whole messages, unless the call is paused.
    private func deliver() {
        guard !isDelivering else { return }
        isDelivering = true
        defer { isDelivering = false }
        while !isPaused && phase == .open {
            if body.count >= GRPCMessage.prefixSize {
                let length = unsafe body.withUnsafeBytes { unsafe GRPCMessage.length($0) }
                if length > channel.options.maximumMessageSize {
                    return abort(.tooLarge(length, channel.options.maximumMessageSize), .cancel)
                }
            }
            let size = unsafe body.withUnsafeBytes { unsafe GRPCMessage.wholeSize($0) }
            guard size > 0 else { break }
            guard body[0] == 0 else { return abort(.compressed, .cancel) }
            // The receiver may do anything with the call, so the message leaves the buffer first.
            var message = ByteBuffer()
            if body.count == size {
                swap(&message, &body)
            } else {
                unsafe body.withUnsafeBytes {
                    unsafe message.append(UnsafeRawBufferPointer(rebasing: $0[..<size]))
                }
                body.consume(size)
                messageSince = channel.loop.now
            }
            let problem = unsafe message.withUnsafeBytes {
                unsafe take(UnsafeRawBufferPointer(rebasing: $0[GRPCMessage.prefixSize...]))
            }
            if let problem { return abort(problem, .cancel) }
        }
        guard phase == .open else { return }
        guard keep() else { return abort(.tooMuchHeld(channel.options.maximumHeldBytes), .cancel) }
        if !isPaused && unconsumed > 0 {
            if hasStream && !remoteEnded { channel.transport.consumed(self, unconsumed) }
            unconsumed = 0
        }
        if !isPaused, let end = heldEnd {
            heldEnd = nil
            complete(end)
        }
    }

    /// Counts what the call keeps of its answer. False: the connection's calls keep too much.
    private func keep() -> Bool {
        guard hasStream else { return true }
        let bytes = body.capacity + (answer?.capacity ?? 0)
        return bytes == held || channel.transport.account(self, bytes)
    }

    /// A message of the answer is half there, and nobody but the server is waited for.
    var owesMessage: Bool { phase == .open && !isPaused && !body.isEmpty }

    /// Until when it must be whole: its bytes earn time.
    func messageDeadline(_ patience: UInt64) -> UInt64 {
        let earned = UInt64(body.count) &* (1_000_000_000 / UInt64(GRPCLimits.minimumRate))
        return messageSince.after(patience).after(earned)
    }

    /// The server has ended the call.
    private func complete(_ error: RPCError?) {
        guard phase == .open else { return }
        if isPaused && !body.isEmpty {
            heldEnd = .some(error)
            channel.transport.ended(self, isHalfClosed: isHalfClosed)
            return
        }
        if error == nil && !body.isEmpty { return finishFromServer(.truncated) }
        finishFromServer(error)
    }

    private func finishFromServer(_ error: RPCError?) {
        if hasStream { channel.transport.ended(self, isHalfClosed: isHalfClosed) }
        let lacksMessage = unsafe onMessage == nil && answer == nil
        if error == nil && lacksMessage {
            return finish(RPCError(code: .internal, message: "the server answered OK without a message"))
        }
        // The server's end comes from the network, not from inside a call of the caller's: it is told at once.
        finish(error, isDeferred: isDelivering)
    }

    @usableFromInline
    func pauseReading() { isPaused = true }

    @usableFromInline
    func resumeReading() {
        guard isPaused else { return }
        isPaused = false
        messageSince = channel.loop.now
        deliver()
    }

    /// The end, once. Unless it comes from the network the caller hears of it later in this turn, never inside of what he is
    /// calling now.
    func finish(_ error: RPCError?, isDeferred: Bool = true) {
        guard phase != .ended else { return }
        phase = .ended
        if timer != .none { channel.loop.cancel(timer) }
        timer = .none
        if hasStream { channel.transport.detach(self) }
        if name != .none {
            channel.transport.askForTurnEnd()
            channel.transport.calls.remove(name)
        }
        request.cell.value.removeAll()
        handedOver = 0
        onWritable = nil
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
