import Bytes
import HTTP1
import Memory
import Reactor

/// Where an answer goes, and how it must look.
struct ResponseTarget: ~Escapable {
    let connection: Place<HTTPConnection>
    /// The connection's output when it is this answer's turn, else where it waits.
    let output: OutputPlace
    /// Its place among those that wait, if it has one.
    let answer: Place<WaitingAnswer>?
    let inTurn: Bool
    let isCurrent: Bool
    let flags: ResponseFlags
    let route: Int
    let startedAt: UInt64

    @_lifetime(copy connection, copy output, copy answer)
    init(
        _ connection: Place<HTTPConnection>, _ output: OutputPlace, _ answer: Place<WaitingAnswer>?, inTurn: Bool,
        isCurrent: Bool, flags: ResponseFlags, route: Int, startedAt: UInt64
    ) {
        self.connection = connection
        self.output = output
        self.answer = answer
        self.inTurn = inTurn
        self.isCurrent = isCurrent
        self.flags = flags
        self.route = route
        self.startedAt = startedAt
    }
}

extension HTTPServer {
    // MARK: Verbs of the responder

    func isWaiting(_ responder: HTTPResponder) -> Bool {
        guard let connection = alive(responder) else { return false }
        if isCurrent(responder) && !context.value.isAnswered { return true }
        guard let answer = find(responder, connection) else { return false }
        return answer.value.state != .ready
    }

    func respond(
        _ responder: HTTPResponder, _ status: Int, _ type: StaticString?, _ fields: HTTPFields,
        _ body: UnsafeRawBufferPointer
    ) {
        if let type, unsafe respondAtOnce(responder, status, type, fields, body) { return }
        if mayNotBeHeld(responder) { return }
        unsafe write(responder, status, type, fields, body)
    }

    private func write(
        _ responder: HTTPResponder, _ status: Int, _ type: StaticString?, _ fields: HTTPFields,
        _ body: UnsafeRawBufferPointer
    ) {
        guard let target = claim(responder) else { return }
        writeHead(target, status, type, fields, length: body.count)
        if !target.flags.contains(.noBody) && HTTP1Status.allowsBody(status) {
            unsafe target.output.value.append(body)
        }
        complete(target, status)
    }

    func respond(
        _ responder: HTTPResponder, _ status: Int, _ type: StaticString, _ fields: HTTPFields,
        _ write: (inout ByteBuffer) -> Void
    ) {
        withScratch(write) { body in
            unsafe body.withUnsafeBytes { unsafe respond(responder, status, type, fields, $0) }
        }
    }

    /// Shows to `body` what `write` appends.
    @inline(__always)
    func withScratch(_ write: (inout ByteBuffer) -> Void, _ body: (Span<UInt8>) -> Void) {
        // Out of the core while it is written to: `write` may do anything.
        var bytes = ByteBuffer()
        swap(&bytes, &core.value.scratch)
        bytes.removeAll()
        write(&bytes)
        body(bytes.span)
        if bytes.capacity <= 256 * 1024 { swap(&bytes, &core.value.scratch) }
    }

    func respond(
        _ responder: HTTPResponder, _ status: Int, _ type: StaticString, _ fields: HTTPFields, _ shared: SharedBytes
    ) {
        if mayNotBeHeld(responder) { return }
        guard let target = claim(responder) else { return }
        writeHead(target, status, type, fields, length: shared.count)
        if !target.flags.contains(.noBody) && HTTP1Status.allowsBody(status) {
            if shared.count <= 4096 {
                unsafe shared.withUnsafeBytes { unsafe target.output.value.append($0) }
            } else if target.inTurn {
                loop.send(target.connection.value.id, shared: shared)
            } else {
                target.answer?.value.shared = shared
            }
        }
        complete(target, status)
    }

    func respond(_ responder: HTTPResponder, _ problem: Problem, _ fields: HTTPFields) {
        if mayNotBeHeld(responder) { return }
        write(responder, problem, fields)
    }

    private func write(_ responder: HTTPResponder, _ problem: Problem, _ fields: HTTPFields) {
        let requestID = requestID(responder)
        let span = requestID.bytes.span
        let id = span.extracting(first: requestID.count)
        var all = problem.fields
        all.lines += fields.lines
        var body = ByteBuffer(capacity: 512)
        problem.write(to: &body, requestID: id, types: core.value.problemTypes)
        unsafe body.withUnsafeBytes { unsafe write(responder, problem.status, "application/problem+json", all, $0) }
    }

    func upgrade(
        _ responder: HTTPResponder, _ handler: ConnectionHandler, _ number: UInt32, _ response: Span<UInt8>
    ) -> Bool {
        guard let connection = alive(responder), isCurrent(responder), isUndecided(responder, connection),
            connection.value.answered == responder.sequence
        else { return false }
        let id = connection.value.id
        guard context.value.flags.contains(.mayUpgrade) else {
            context.value.flags.insert(.close)
            connection.value.flags.insert(.last)
            responder.problem(.upgradeWithBody)
            return false
        }
        guard let output = wire(connection) else { return false }
        context.value.isAnswered = true
        output.value.append(response)
        core.value.metrics?.count(route: context.value.route, status: 101, nanoseconds: 0)
        if core.value.log.noteFrom == 0 { noteCurrent(101) }
        forget(responder.connection)
        loop.clearDeadline(id)
        loop.setContext(id, number)
        loop.setHandler(id, handler)
        // While its gates waited, nothing was read.
        loop.resumeReading(id)
        reportIfDrained()
        return true
    }

    /// Nobody has answered the request, and nothing was read behind it.
    private func isUndecided(_ responder: HTTPResponder, _ connection: Place<HTTPConnection>) -> Bool {
        guard context.value.isAnswered else { return true }
        guard connection.value.inFlight == 1, let answer = find(responder, connection) else { return false }
        return answer.value.state == .waiting
    }

    // MARK: What may wait

    /// One client's answers wait while it asks for more, or does not take them: beyond the bound, a further answer is 503 and
    /// the last. True: that was done.
    @inline(__always)
    private func mayNotBeHeld(_ responder: HTTPResponder) -> Bool {
        guard let connection = core.value.connections.find(responder.connection) else { return false }
        if connection.value.flags.isDisjoint(with: .full), connection.value.waitingBytes == 0 { return false }
        return refuseToHold(responder, connection)
    }

    @inline(never)
    private func refuseToHold(_ responder: HTTPResponder, _ connection: Place<HTTPConnection>) -> Bool {
        guard copied(connection) > core.value.limits.heldAnswers, isWaiting(responder) else { return false }
        connection.value.flags.insert(.last)
        if isCurrent(responder) && !context.value.isAnswered {
            context.value.flags.insert(.close)
        } else {
            find(responder, connection)?.value.flags.insert(.close)
        }
        write(responder, .answersWait, .init())
        return true
    }

    /// Bytes of answers that are this connection's alone. What many share costs nothing.
    func copied(_ connection: Place<HTTPConnection>) -> Int {
        guard let output = wire(connection) else { return connection.value.waitingBytes }
        return connection.value.waitingBytes + output.value.count
    }

    // MARK: Claiming and completing

    /// The connection's output, nil if it is closed or closing. Valid until the running callback returns.
    @inline(__always)
    @_lifetime(immortal)
    func wire(_ connection: Place<HTTPConnection>) -> OutputPlace? {
        guard let output = unsafe loop.output(connection.value.id) else { return nil }
        return unsafe OutputPlace(output)
    }

    /// The connection of a request that is not answered and can be.
    @_lifetime(immortal)
    func alive(_ responder: HTTPResponder) -> Place<HTTPConnection>? {
        guard let connection = core.value.connections.find(responder.connection),
            !connection.value.flags.contains(.closing),
            connection.value.received &- responder.sequence &- 1
                < connection.value.received &- connection.value.answered
        else { return nil }
        return connection
    }

    func isCurrent(_ responder: HTTPResponder) -> Bool {
        context.value.isActive && context.value.sequence == responder.sequence
            && context.value.handle == responder.connection
    }

    /// Takes the right to answer; nil if the client is gone or an answer was given.
    @_lifetime(immortal)
    func claim(_ responder: HTTPResponder) -> ResponseTarget? {
        guard let connection = alive(responder) else { return nil }
        let inTurn = connection.value.answered == responder.sequence
        let isCurrent = isCurrent(responder) && !context.value.isAnswered
        var answer: Place<WaitingAnswer>?
        if isCurrent {
            context.value.isAnswered = true
            if !inTurn { answer = addWaiting(connection) }
        } else {
            guard let waiting = find(responder, connection), waiting.value.state == .waiting else { return nil }
            answer = waiting
        }
        var flags = isCurrent ? context.value.flags : answer?.value.flags ?? []
        if core.value.isDraining, connection.value.received == responder.sequence &+ 1 {
            flags.insert(.close)
            connection.value.flags.insert(.last)
        }
        let route = isCurrent ? context.value.route : answer?.value.route ?? -1
        let startedAt = isCurrent ? context.value.startedAt : answer?.value.startedAt ?? loop.now
        let output: OutputPlace
        if inTurn {
            // Closed in this turn: nobody will read it.
            guard let direct = wire(connection) else { return nil }
            output = direct
        } else if let answer {
            output = answer.output
        } else {
            return nil
        }
        return ResponseTarget(
            connection, output, answer, inTurn: inTurn, isCurrent: isCurrent, flags: flags, route: route,
            startedAt: startedAt)
    }

    private func requestID(_ responder: HTTPResponder) -> RequestID {
        if isCurrent(responder) && !context.value.isAnswered { return context.value.requestID }
        guard let connection = alive(responder), let answer = find(responder, connection) else { return RequestID() }
        return answer.value.requestID
    }

    /// The answer is written: sends it if it is its turn, and what waited behind it.
    private func complete(_ target: borrowing ResponseTarget, _ status: Int) {
        let duration = loop.now &- target.startedAt
        core.value.metrics?.count(route: target.route, status: status, nanoseconds: duration)
        if status >= 500 || duration >= core.value.log.noteFrom { note(target, status, duration) }
        let closes = target.flags.contains(.close)
        let connection = target.connection
        if target.inTurn {
            if let answer = target.answer { dropFirst(connection, answer) }
        } else if let answer = target.answer {
            answer.value.state = .ready
            if closes { answer.value.flags.insert(.close) }
            holds(connection, answer.value.output.count)
        }
        if held(connection) > core.value.limits.outputHighWater { connection.value.flags.insert(.full) }
        guard target.inTurn else { return }
        answered(connection, closes: closes)
        // Inside a handler's call the reading goes on by itself and settles the rest at its end.
        if !target.isCurrent { settle(connection) }
    }

    /// One more answer is in the output: passes on those that waited behind it, or closes.
    func answered(_ connection: Place<HTTPConnection>, closes: Bool) {
        connection.value.answered &+= 1
        if closes { return finish(connection) }
        if connection.value.firstWaiting != .none { passOn(connection) }
        if connection.value.flags.contains(.owesContinue) { payContinue(connection) }
    }

    /// After an answer that came later: reading goes on, or the idle time begins.
    func settle(_ connection: Place<HTTPConnection>) {
        if connection.value.flags.contains(.closing) { return }
        if connection.value.flags.contains(.owesContinue) { payContinue(connection) }
        resumeIfPaused(connection)
        if endIfAnswered(connection) { return }
        if connection.value.inFlight == 0, connection.value.deadline == .none { beQuiet(connection) }
    }
}
