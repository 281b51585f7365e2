import Bytes
import HTTP1
import Reactor

/// Where an answer goes, and how it must look.
struct ResponseTarget {
    let connection: Ref<HTTPConnection>
    /// The connection's output when it is this answer's turn, else where it waits.
    let output: Ref<ByteBuffer>
    /// Its place in the queue, if it has one.
    let entry: Ref<ResponseQueue.Entry>?
    let inTurn: Bool
    let isCurrent: Bool
    let flags: ResponseFlags
    let route: Int
    let startedAt: UInt64
}

extension HTTPServer {
    // MARK: Verbs of the responder

    func isWaiting(_ responder: HTTPResponder) -> Bool {
        let connection = core.value.slab.pointer(responder.place)
        guard isAlive(connection, responder) else { return false }
        if isCurrent(responder) && !context.value.isAnswered { return true }
        guard let queue = connection.value.queue else { return false }
        let state = queue.value.entry(responder.sequence).value.state
        return state == .waiting || state == .streaming
    }

    func respond(
        _ responder: HTTPResponder, _ status: Int, _ type: StaticString?, _ fields: HTTPFields,
        _ body: UnsafeRawBufferPointer
    ) {
        if let type, unsafe respondAtOnce(responder, status, type, fields, body) { return }
        guard let target = claim(responder) else { return }
        writeHead(target, status, type, fields, length: body.count)
        if !target.flags.contains(.noBody) && HTTP1Status.allowsBody(status) {
            unsafe target.output.value.append(body)
        }
        complete(target, responder, status)
    }

    func respond(
        _ responder: HTTPResponder, _ status: Int, _ type: StaticString, _ fields: HTTPFields,
        _ write: (inout ByteBuffer) -> Void
    ) {
        // Out of the core while it is written to: `write` may do anything.
        var body = ByteBuffer()
        swap(&body, &core.value.scratch)
        body.removeAll()
        write(&body)
        unsafe body.withUnsafeBytes { unsafe respond(responder, status, type, fields, $0) }
        if body.capacity <= 256 * 1024 { swap(&body, &core.value.scratch) }
    }

    func respond(
        _ responder: HTTPResponder, _ status: Int, _ type: StaticString, _ fields: HTTPFields, _ shared: SharedBytes
    ) {
        guard let target = claim(responder) else { return }
        writeHead(target, status, type, fields, length: shared.count)
        if !target.flags.contains(.noBody) && HTTP1Status.allowsBody(status) {
            if target.inTurn && shared.count > 4096 {
                loop.send(target.connection.value.id, shared: shared)
            } else {
                unsafe shared.withUnsafeBytes { unsafe target.output.value.append($0) }
            }
        }
        complete(target, responder, status)
    }

    func respond(_ responder: HTTPResponder, _ problem: Problem, _ fields: HTTPFields) {
        let requestID = requestID(responder)
        let span = requestID.bytes.span
        let id = span.extracting(first: requestID.count)
        var all = problem.fields
        all.lines += fields.lines
        var body = ByteBuffer(capacity: 512)
        problem.write(to: &body, requestID: id)
        unsafe body.withUnsafeBytes {
            unsafe respond(responder, problem.status, "application/problem+json", all, $0)
        }
    }

    func upgrade(
        _ responder: HTTPResponder, _ handler: ConnectionHandler, _ number: UInt32, _ response: Span<UInt8>
    ) -> Bool {
        let connection = core.value.slab.pointer(responder.place)
        guard isAlive(connection, responder), isCurrent(responder), !context.value.isAnswered,
            connection.value.answered == responder.sequence,
            case let id = connection.value.id
        else { return false }
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
        free(responder.place)
        loop.clearDeadline(id)
        loop.setContext(id, number)
        loop.setHandler(id, handler)
        reportIfDrained()
        return true
    }

    // MARK: Streams

    func beginStream(_ responder: HTTPResponder, _ status: Int, _ type: StaticString, _ fields: HTTPFields) {
        let connection = core.value.slab.pointer(responder.place)
        guard isAlive(connection, responder) else { return }
        if isCurrent(responder) && !context.value.isAnswered { park(connection) }
        guard let target = claim(responder), let entry = target.entry else { return }
        entry.value.state = .streaming
        if target.flags.contains(.version10) { entry.value.flags.insert(.close) }
        writeHead(target, status, type, fields, length: nil)
        entry.value.status = status
    }

    func writeStream(_ responder: HTTPResponder, _ bytes: Span<UInt8>) {
        guard let (connection, entry) = stream(responder), !entry.value.flags.contains(.noBody) else {
            return
        }
        let isPlain = entry.value.flags.contains(.version10)
        func write(_ output: inout ByteBuffer) {
            if isPlain { output.append(bytes) } else { HTTP1Writer.chunk(bytes, to: &output) }
        }
        if connection.value.answered == responder.sequence {
            if let output = wire(connection) {
                write(&output.value)
                if output.value.count > core.value.limits.outputHighWater { connection.value.flags.insert(.full) }
            }
        } else {
            write(&entry.value.output)
        }
    }

    func endStream(_ responder: HTTPResponder) {
        guard let (connection, entry) = stream(responder) else { return }
        let flags = entry.value.flags
        let inTurn = connection.value.answered == responder.sequence
        let output =
            inTurn
            ? wire(connection) : entry.output
        if flags.isDisjoint(with: [.noBody, .version10]), let output = output {
            HTTP1Writer.lastChunk(to: &output.value)
        }
        core.value.metrics?.count(
            route: entry.value.route, status: entry.value.status,
            nanoseconds: loop.now &- entry.value.startedAt)
        if core.value.log.noteFrom == 0 {
            // A stream takes as long as it takes: it is never slow.
            note(entry.value.route, entry.value.status, 0, entry.value.requestID, entry.value.trace)
        }
        if inTurn {
            entry.value.reset()
            answered(connection, closes: flags.contains(.close))
            settle(connection)
        } else {
            entry.value.state = .ready
        }
    }

    func streamPending(_ responder: HTTPResponder) -> Int {
        guard let (connection, entry) = stream(responder) else { return 0 }
        return connection.value.answered == responder.sequence
            ? loop.pendingOutput(connection.value.id) : entry.value.output.count
    }

    private func stream(
        _ responder: HTTPResponder
    ) -> (Ref<HTTPConnection>, Ref<ResponseQueue.Entry>)? {
        let connection = core.value.slab.pointer(responder.place)
        guard isAlive(connection, responder), let queue = connection.value.queue else { return nil }
        let entry = queue.value.entry(responder.sequence)
        return entry.value.state == .streaming ? (connection, entry) : nil
    }

    // MARK: Claiming and completing

    /// The connection's output, nil if it is closed or closing. Valid until the running callback returns.
    func wire(_ connection: Ref<HTTPConnection>) -> Ref<ByteBuffer>? {
        unsafe loop.output(connection.value.id).map { unsafe Ref($0) }
    }

    private func isAlive(_ connection: Ref<HTTPConnection>, _ responder: HTTPResponder) -> Bool {
        connection.value.serial == responder.serial && connection.value.flags.contains(.open)
            && connection.value.received &- responder.sequence &- 1
                < connection.value.received &- connection.value.answered
    }

    private func isCurrent(_ responder: HTTPResponder) -> Bool {
        context.value.isActive && context.value.sequence == responder.sequence
            && context.value.place == responder.place && context.value.serial == responder.serial
    }

    /// Takes the right to answer; nil if the client is gone or an answer was given.
    private func claim(_ responder: HTTPResponder) -> ResponseTarget? {
        let connection = core.value.slab.pointer(responder.place)
        guard isAlive(connection, responder) else { return nil }
        let inTurn = connection.value.answered == responder.sequence
        let isCurrent = isCurrent(responder) && !context.value.isAnswered
        var entry: Ref<ResponseQueue.Entry>?
        if isCurrent {
            context.value.isAnswered = true
            if !inTurn { entry = self.entry(connection, responder.sequence) }
        } else {
            guard let queue = connection.value.queue else { return nil }
            let waiting = queue.value.entry(responder.sequence)
            guard waiting.value.state == .waiting else { return nil }
            entry = waiting
        }
        let output: Ref<ByteBuffer>
        if inTurn {
            // Closed in this turn: nobody will read it.
            guard let direct = wire(connection) else { return nil }
            output = direct
        } else if let entry = entry {
            output = entry.output
        } else {
            return nil
        }
        var flags = unsafe isCurrent ? context.value.flags : entry.unsafelyUnwrapped.value.flags
        if core.value.isDraining && connection.value.received == responder.sequence &+ 1 {
            flags.insert(.close)
            connection.value.flags.insert(.last)
        }
        return unsafe ResponseTarget(
            connection: connection, output: output, entry: entry, inTurn: inTurn, isCurrent: isCurrent, flags: flags,
            route: isCurrent ? context.value.route : entry.unsafelyUnwrapped.value.route,
            startedAt: isCurrent ? context.value.startedAt : entry.unsafelyUnwrapped.value.startedAt)
    }

    /// The place in the queue for a request of this connection.
    private func entry(
        _ connection: Ref<HTTPConnection>, _ sequence: UInt32
    ) -> Ref<ResponseQueue.Entry> {
        if connection.value.queue == nil { connection.value.queue = core.value.takeQueue() }
        return unsafe connection.value.queue.unsafelyUnwrapped.value.entry(sequence)
    }

    /// Keeps what a later answer to the current request needs.
    func park(_ connection: Ref<HTTPConnection>) {
        let entry = entry(connection, context.value.sequence)
        entry.value.reset()
        entry.value.state = .waiting
        entry.value.flags = context.value.flags
        entry.value.route = context.value.route
        entry.value.startedAt = context.value.startedAt
        entry.value.requestID = context.value.requestID
        entry.value.trace = context.value.trace
        writeOriginFields(&entry.value.fields)
        // From now on the queue answers for it.
        context.value.isAnswered = true
    }

    private func requestID(_ responder: HTTPResponder) -> RequestID {
        if isCurrent(responder) && !context.value.isAnswered { return context.value.requestID }
        let connection = core.value.slab.pointer(responder.place)
        guard isAlive(connection, responder), let queue = connection.value.queue else {
            return RequestID()
        }
        return queue.value.entry(responder.sequence).value.requestID
    }

    /// The answer is written: sends it if it is its turn, and what waited behind it.
    private func complete(_ target: ResponseTarget, _ responder: HTTPResponder, _ status: Int) {
        let duration = loop.now &- target.startedAt
        core.value.metrics?.count(route: target.route, status: status, nanoseconds: duration)
        if status >= 500 || duration >= core.value.log.noteFrom { note(target, status, duration) }
        let closes = target.flags.contains(.close)
        if loop.pendingOutput(target.connection.value.id) > core.value.limits.outputHighWater {
            target.connection.value.flags.insert(.full)
        }
        guard target.inTurn else {
            target.entry?.value.state = .ready
            if closes { target.entry?.value.flags.insert(.close) }
            return
        }
        target.entry?.value.reset()
        answered(target.connection, closes: closes)
        // Inside a handler's call the reading goes on by itself and settles the rest at its end.
        if !target.isCurrent { settle(target.connection) }
    }

    /// One more answer is in the output: passes on those that waited behind it, or closes.
    private func answered(_ connection: Ref<HTTPConnection>, closes: Bool) {
        connection.value.answered &+= 1
        if closes { return finish(connection) }
        guard let queue = connection.value.queue else { return payContinueIfOwed(connection) }
        while connection.value.inFlight > 0 {
            let entry = queue.value.entry(connection.value.answered)
            let state = entry.value.state
            guard state == .ready || state == .streaming else { return }
            if let output = wire(connection) {
                output.value.append(entry.value.output.span)
            }
            entry.value.output.removeAll()
            if state == .streaming { return }
            let isLast = entry.value.flags.contains(.close)
            entry.value.reset()
            connection.value.answered &+= 1
            if isLast { return finish(connection) }
        }
        connection.value.queue = nil
        core.value.recycle(queue)
        payContinueIfOwed(connection)
    }

    private func payContinueIfOwed(_ connection: Ref<HTTPConnection>) {
        if connection.value.flags.contains(.owesContinue) { payContinue(connection) }
    }

    /// After an answer that came later: reading goes on, or the idle time begins.
    private func settle(_ connection: Ref<HTTPConnection>) {
        if !connection.value.flags.isDisjoint(with: .closing) { return }
        resumeIfPaused(connection)
        if endIfAnswered(connection) { return }
        if connection.value.inFlight == 0 && connection.value.deadline == .none {
            setDeadline(connection, .idle, core.value.limits.idleTime)
        }
    }
}
