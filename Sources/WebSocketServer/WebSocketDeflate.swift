import Bytes
import HTTP1
import Memory
import Reactor
import WebSockets

/// What a WebSocket that has agreed upon permessage-deflate has beside its `Socket`.
///
/// Histories are made when they are first needed. One that the peer's next message may refer to stays until the connection
/// ends; one of ours goes when nothing was sent for a while, as we may always begin anew. Without takeover there is none between
/// two messages.
struct DeflateContext: BitwiseCopyable {
    var agreed = DeflateParameters()
    var inflater = Handle<Inflater>.none
    var deflater = Handle<Deflater>.none
    /// Nothing was compressed since the last Ping.
    var isIdle = false
    /// The open message counts as unfinished.
    var isUnfinished = false
}

/// permessage-deflate (RFC 7692).
extension WebSocketServer {
    // MARK: Agreement

    /// Checks a request's head. Nil: it is a handshake, `response` has got the whole 101, and `adopt` has to follow for this
    /// connection; nothing is written otherwise.
    ///
    /// - Parameters:
    ///   - isForeign: a page that may not open a WebSocket has sent it (RFC 6455 §10.2; see `OriginPolicy`).
    ///   - protocols: the subprotocols that are spoken here (RFC 6455 §1.9): the client's first among them is agreed upon.
    public func shakeHands(
        _ head: HTTP1Head, _ id: WebSocketID, isForeign: Bool, protocols: [StaticString] = [],
        response: inout ByteBuffer
    ) -> WebSocketHandshake.Refusal? {
        // An earlier handshake of the connection may have got no further than this.
        contexts.remove(id)
        var agreed: DeflateParameters?
        let refusal = WebSocketHandshake.check(
            head, isForeign: isForeign, protocols: protocols, deflate: deflate, agreed: &agreed, response: &response)
        if let agreed { agree(id, agreed) }
        return refusal
    }

    /// Remembers what was agreed upon for `adopt`.
    func agree(_ id: WebSocketID, _ agreed: DeflateParameters) {
        let context = contexts.make(id)
        context.value = DeflateContext()
        context.value.agreed = agreed
    }

    /// The WebSocket is adopted, and what was agreed upon holds.
    func beginDeflate(_ socket: Place<Socket>) {
        socket.value.parser = FrameParser(role: role, deflates: true)
        if deflate?.minimumMessageSize != nil { socket.value.flags.insert(.deflates) }
    }

    /// Lets go of everything that the connection has.
    func endDeflate(_ id: WebSocketID) {
        guard let context = contexts.find(id) else { return }
        finishMessage(context)
        dropInflater(context)
        dropDeflater(context)
        contexts.remove(id)
    }

    // MARK: Receiving

    /// Decompresses a piece, and gives the message to the endpoint with its last one. Returns the bytes that it became.
    @inline(never)
    func takeDeflated(
        _ id: WebSocketID, _ socket: Place<Socket>, _ piece: MessagePiece, _ payload: UnsafeRawBufferPointer
    ) -> Int {
        guard socket.value.state == .open, let context = contexts.find(id) else { return 0 }
        if piece.isFirst { socket.value.assembly = assemblies.insert(ByteBuffer()) ?? .none }
        guard let assembly = assemblies.find(socket.value.assembly), let inflater = inflaters.find(inflater(context))
        else {
            closeForLackOfMemory(id)
            return 0
        }
        let (before, capacity) = (assembly.value.count, assembly.value.capacity)
        let outcome = unsafe inflater.value.inflate(
            Span(_unsafeBytes: payload), isLast: piece.isLast, limit: limits.maximumMessageSize, into: &assembly.value)
        let count = assembly.value.count - before
        metrics.held(assembly.value.capacity - capacity)
        // Looking at tables of codes costs more than what comes of it may tell.
        loop.charge(32 + count >> 6)
        switch outcome {
        case .taken: break
        case .tooBig: fail(id, socket, .messageTooBig)
        case .corrupt: fail(id, socket, .invalidDeflate)
        case .noMemory: closeForLackOfMemory(id)
        }
        guard outcome == .taken else { return count }
        if piece.isText {
            let isText = socket.value.parser.acceptText(assembly.value.span.extracting(before...), isLast: piece.isLast)
            guard isText else {
                fail(id, socket, .invalidUTF8)
                return count
            }
        }
        guard piece.isLast else { return count }
        finishMessage(context)
        if context.value.agreed.receiving(as: role).noContextTakeover { dropInflater(context) }
        socket.value.flags.remove(.longMessage)
        metrics.inflated(assembly.value.count)
        // Proof: the assembly is this message's alone, and its memory stays until the end of the turn.
        unsafe assembly.value.withUnsafeBytes { whole in
            unsafe deliver(id, socket, isText: piece.isText, Span(_unsafeBytes: whole))
        }
        dropAssembly(socket)
        return count
    }

    /// This message can't be had, nor those that refer to it (RFC 6455 §7.4.1, 1011).
    private func closeForLackOfMemory(_ id: WebSocketID) {
        close(id, .internalError, reason: "no memory to decompress a message")
    }

    /// All that has come is read. A compressed message that has begun stays as it is until another turn: what it holds meanwhile has
    /// little to do with what its sender has spent on it, so there may be so many at once. What has come behind its last piece is of no
    /// account: a Ping, or half a head, does not end it.
    @inline(__always)
    func waitForRest(_ id: WebSocketID, _ socket: Place<Socket>) {
        if socket.value.parser.isInsideDeflatedMessage { countUnfinished(id) }
    }

    @inline(never)
    private func countUnfinished(_ id: WebSocketID) {
        guard let context = contexts.find(id), !context.value.isUnfinished else { return }
        guard unfinished < deflate?.maximumUnfinished ?? 0 else {
            return close(id, .tryAgainLater, reason: "too many compressed messages are unfinished")
        }
        context.value.isUnfinished = true
        unfinished += 1
    }

    private func finishMessage(_ context: Place<DeflateContext>) {
        guard context.value.isUnfinished else { return }
        context.value.isUnfinished = false
        unfinished -= 1
    }

    private func inflater(_ context: Place<DeflateContext>) -> Handle<Inflater> {
        if inflaters.contains(context.value.inflater) { return context.value.inflater }
        let bits = context.value.agreed.receiving(as: role).windowBits
        if inflaters.contains(spareInflater), bits == 15 {
            context.value.inflater = spareInflater
            spareInflater = .none
        } else {
            context.value.inflater = inflaters.insert(Inflater(windowBits: bits)) ?? .none
        }
        if let made = inflaters.find(context.value.inflater) { metrics.held(made.value.memory) }
        return context.value.inflater
    }

    private func dropInflater(_ context: Place<DeflateContext>) {
        guard let inflater = inflaters.find(context.value.inflater) else { return }
        metrics.held(-inflater.value.memory)
        if !inflaters.contains(spareInflater), context.value.agreed.receiving(as: role).windowBits == 15 {
            inflater.value.reset()
            spareInflater = context.value.inflater
        } else {
            if !inflaters.hasRetired { loop.atEndOfTurn(self) }
            inflaters.remove(context.value.inflater)
        }
        context.value.inflater = .none
    }

    // MARK: Sending

    /// Appends a frame that is masked, as a client's is, or whose payload is compressed, if it is a message that is worth it.
    @inline(never)
    func appendSpecially(_ id: WebSocketID, _ opcode: Opcode, _ payload: Span<UInt8>, to output: inout ByteBuffer) {
        guard let options = deflate, let context = contexts.find(id), opcode == .text || opcode == .binary,
            payload.count >= options.minimumMessageSize ?? .max,
            let deflater = deflaters.find(deflater(context, options))
        else { return FrameWriter.append(opcode, payload, mask: nextMask(), to: &output) }
        // About thirty bytes a microsecond with a middling level.
        loop.charge(payload.count >> 5)
        var compressed = ByteBuffer()
        guard deflater.value.deflate(payload, into: &compressed) else {
            return FrameWriter.append(opcode, payload, mask: nextMask(), to: &output)
        }
        context.value.isIdle = false
        if context.value.agreed.sending(as: role).noContextTakeover { dropDeflater(context) }
        metrics.deflated(from: payload.count, to: compressed.count)
        FrameWriter.append(opcode, compressed.span, isDeflated: true, mask: nextMask(), to: &output)
    }

    private func deflater(_ context: Place<DeflateContext>, _ options: DeflateOptions) -> Handle<Deflater> {
        if deflaters.contains(context.value.deflater) { return context.value.deflater }
        let bits = context.value.agreed.sending(as: role).windowBits
        if let spare = deflaters.find(spareDeflater), spare.value.windowBits == bits {
            context.value.deflater = spareDeflater
            spareDeflater = .none
        } else {
            context.value.deflater =
                deflaters.insert(Deflater(windowBits: bits, level: options.level)) ?? .none
        }
        if let made = deflaters.find(context.value.deflater) { metrics.held(made.value.memory) }
        return context.value.deflater
    }

    private func dropDeflater(_ context: Place<DeflateContext>) {
        guard let deflater = deflaters.find(context.value.deflater) else { return }
        metrics.held(-deflater.value.memory)
        if deflaters.contains(spareDeflater) {
            if !deflaters.hasRetired { loop.atEndOfTurn(self) }
            deflaters.remove(context.value.deflater)
        } else {
            deflater.value.reset()
            spareDeflater = context.value.deflater
        }
        context.value.deflater = .none
    }

    /// Another Ping is due: a history of ours that was not used since the last one is given back. The next message begins anew.
    func shedContext(_ id: WebSocketID) {
        guard let context = contexts.find(id) else { return }
        if context.value.isIdle { dropDeflater(context) }
        context.value.isIdle = true
    }

    // MARK: What goes to many

    /// The window in which a subscriber can be sent what was compressed for many, in bits; 0: none.
    func sharedWindowBits(_ id: WebSocketID) -> UInt8 {
        guard let context = contexts.find(id) else { return 0 }
        return context.value.agreed.sending(as: role).windowBits
    }

    /// The frame compressed, for everybody whose window is the largest or holds all of it. Nil: it does not get shorter, or is not
    /// one message in one frame.
    func deflateForMany(_ frame: SharedBytes) -> SharedBytes? {
        guard let options = deflate else { return nil }
        if deflaters.find(spareDeflater)?.value.windowBits != 15 {
            dropSpareDeflater()
            spareDeflater = deflaters.insert(Deflater(windowBits: 15, level: options.level)) ?? .none
        }
        guard let deflater = deflaters.find(spareDeflater) else { return nil }
        var output = ByteBuffer()
        let isShorter = frame.withSpan { deflater.value.deflate(frame: $0, into: &output) }
        deflater.value.reset()
        guard isShorter else { return nil }
        metrics.deflated(from: frame.count, to: output.count)
        return SharedBytes(output)
    }

    private func dropSpareDeflater() {
        guard deflaters.contains(spareDeflater) else { return }
        if !deflaters.hasRetired { loop.atEndOfTurn(self) }
        deflaters.remove(spareDeflater)
        spareDeflater = .none
    }

    /// A message that was compressed for many goes to this one: its peer's history has something that ours does not have, so ours
    /// begins anew.
    func forgetHistory(_ id: WebSocketID) {
        if let context = contexts.find(id) { dropDeflater(context) }
    }
}
