import Bytes
import HTTP1
import Memory
import Reactor

extension HTTPServer {
    /// Takes requests from `bytes` until there is none, the pipeline is full, or nothing more is wanted.
    ///
    /// - Returns: bytes that are done with.
    func read(_ handle: Handle<HTTPConnection>, _ bytes: UnsafeRawBufferPointer) -> Int {
        guard let connection = core.value.connections.find(handle) else { return bytes.count }
        guard let base = bytes.baseAddress else { return 0 }
        let count = bytes.count
        var offset = 0
        var share = core.value.limits.requestsPerTurn
        // A request has ended in these bytes: what begins behind it has a deadline of its own.
        var hasEnded = false
        reading: while true {
            if !connection.value.flags.isDisjoint(with: [.last, .closing, .gone]) {
                // Its handler has given it to another protocol, which what follows is for.
                if connection.value.flags.contains(.gone) { return offset }
                // What comes behind the last request is read and forgotten, until its answer is written.
                offset = count
                break
            }
            if !connection.value.parser.expectsBody {
                if offset == count { break }
                if mustPause(connection, share) { return offset }
            }
            let rest = unsafe Span<UInt8>(
                _unsafeBytes: UnsafeRawBufferPointer(start: base + offset, count: count &- offset))
            let event = connection.value.parser.next(
                rest, into: core.value.table)
            switch event {
            case .needMore(let consumed):
                offset += consumed
                break reading
            case .head(let headBytes):
                let head = HTTP1Head(bytes: rest, table: core.value.table)
                if head.asksForUpgrade, connection.value.inFlight > 0, !head.hasBody {
                    // Another protocol can begin only behind the last answer of this one.
                    pause(connection)
                    return offset
                }
                hasEnded = true
                share &-= 1
                offset &+= takeHead(connection, head, rest, headBytes)
                if loop.isTurnSpent() { share = 0 }
            case .body(let skip, let bodyBytes):
                takeBody(connection, rest.extracting(skip..<(skip + bodyBytes)))
                offset += skip + bodyBytes
            case .end(let consumed):
                hasEnded = true
                offset += consumed
                endBody(connection)
                if loop.isTurnSpent() { share = 0 }
            case .failed(let error):
                refuse(connection, .refused(error))
            }
        }
        rest(connection, behindRequest: hasEnded)
        return offset
    }

    /// Nothing more can be read for now: sets the deadline that fits.
    ///
    /// - Parameter behindRequest: a request has ended in the bytes that were read, so that what has begun is new.
    @inline(__always)
    private func rest(_ connection: Place<HTTPConnection>, behindRequest: Bool) {
        if !connection.value.flags.isDisjoint(with: [.last, .closing, .readClosed]) {
            return restBeforeTheEnd(connection)
        }
        if connection.value.parser.isInsideRequest {
            if connection.value.parser.expectsBody {
                if connection.value.deadline != .body || behindRequest {
                    setDeadline(connection, .body, core.value.limits.$bodyGrace)
                }
            } else if connection.value.deadline != .head || behindRequest {
                // Counted from the head's first byte: further bytes don't move it.
                setDeadline(connection, .head, core.value.limits.$headTime)
            }
        } else if connection.value.inFlight == 0 {
            beQuiet(connection)
        } else {
            clearDeadline(connection)
        }
    }

    /// No further request is looked at: the connection lasts as long as there are answers to come.
    @inline(never)
    private func restBeforeTheEnd(_ connection: Place<HTTPConnection>) {
        if connection.value.flags.contains(.closing) { return }
        if !endIfAnswered(connection) { clearDeadline(connection) }
    }

    /// Whether the next request has to wait: for its turn, for answers, or for the client to take some.
    @inline(__always)
    private func mustPause(_ connection: Place<HTTPConnection>, _ share: Int) -> Bool {
        if connection.value.received == connection.value.answered, share > 0,
            connection.value.flags.isDisjoint(with: [.full, .undecided])
        {
            return false
        }
        return pauseIfNotReady(connection, share)
    }

    @inline(never)
    private func pauseIfNotReady(_ connection: Place<HTTPConnection>, _ share: Int) -> Bool {
        if connection.value.inFlight >= core.value.limits.pipelineDepth {
            pause(connection)
            return true
        }
        if share <= 0 {
            pause(connection)
            goOnNextTurn(connection)
            return true
        }
        if connection.value.flags.isDisjoint(with: [.full, .undecided]) { return false }
        if connection.value.flags.contains(.undecided), connection.value.inFlight > 0 {
            pause(connection)
            return true
        }
        connection.value.flags.remove([.full, .undecided])
        guard held(connection) > core.value.limits.outputHighWater else { return false }
        connection.value.flags.insert(.full)
        pause(connection)
        goOnOnceWritten(connection)
        return true
    }

    private func pause(_ connection: Place<HTTPConnection>) {
        connection.value.flags.insert(.paused)
        loop.pauseReading(connection.value.id)
        if connection.value.inFlight == 0 {
            // It is the client that does not read: the loop watches how fast it does.
            setDeadline(connection, .idle, core.value.limits.$idleTime)
        } else {
            clearDeadline(connection)
        }
    }

    /// Bytes of answers that wait, for their turn or for the client to take them, and of requests that wait for theirs.
    @inline(__always)
    func held(_ connection: Place<HTTPConnection>) -> Int {
        connection.value.waitingBytes + connection.value.requestBytes + loop.pendingOutput(connection.value.id)
    }

    // MARK: Heads and bodies

    /// Answers, dispatches or begins to collect the request of `head`. `rest` begins with the head.
    ///
    /// - Returns: bytes that are done with: the head, and the body if it was there.
    private func takeHead(
        _ connection: Place<HTTPConnection>, _ head: HTTP1Head, _ rest: Span<UInt8>, _ headBytes: Int
    ) -> Int {
        let verdict = examine(connection, head)
        if case .answer(let problem) = verdict {
            answerEarly(connection, head, problem)
            return headBytes
        }
        guard head.hasBody else {
            let none = Span<UInt8>()
            dispatch(connection, HTTPRequest(head: head, body: none, context: context))
            return headBytes
        }
        if head.asksForUpgrade && head.hasToken("upgrade", "websocket") {
            answerEarly(connection, head, .problem(.upgradeWithBody), keeps: false)
            return headBytes
        }
        let limit = bodyLimit(verdict)
        if let length = head.contentLength, length > UInt64(limit) {
            answerEarly(connection, head, tooLarge(limit), keeps: false)
            return headBytes
        }
        if let length = head.contentLength.map({ Int($0) }), rest.count - headBytes >= length {
            // The body is here already: no copy. Walk the parser over it.
            let body = rest.extracting(headBytes..<(headBytes + length))
            _ = connection.value.parser.next(body, into: core.value.table)
            _ = connection.value.parser.next(
                body.extracting(first: 0), into: core.value.table)
            dispatch(connection, HTTPRequest(head: head, body: body, context: context))
            return headBytes + length
        }
        collect(connection, head, rest.extracting(first: headBytes), limit)
        return headBytes
    }

    /// Begins to collect a body that is still coming, behind a copy of its head.
    private func collect(
        _ connection: Place<HTTPConnection>, _ head: HTTP1Head, _ bytes: Span<UInt8>, _ limit: Int
    ) {
        // The request gets its number when it is complete.
        connection.value.received &-= 1
        connection.value.pending = core.value.pending.insert(PendingRequest()) ?? .none
        if let pending = core.value.pending.find(connection.value.pending) {
            pending.value.headBytes = bytes.count
            pending.value.bodyLimit = limit
            keep(pending, bytes)
        }
        connection.value.bodyBytes = 0
        connection.value.bodyBegan = loop.now
        if head.expectsContinue {
            connection.value.flags.insert(.owesContinue)
            payContinue(connection)
        }
    }

    /// Sends the `100 Continue` that is owed, once it is its turn.
    func payContinue(_ connection: Place<HTTPConnection>) {
        guard connection.value.flags.contains(.owesContinue), connection.value.inFlight == 0 else {
            return
        }
        connection.value.flags.remove(.owesContinue)
        wire(connection)?.value.append("HTTP/1.1 100 Continue\r\n\r\n")
    }

    @inline(never)
    private func takeBody(_ connection: Place<HTTPConnection>, _ bytes: Span<UInt8>) {
        connection.value.bodyBytes += bytes.count
        connection.value.flags.remove(.owesContinue)
        guard let pending = core.value.pending.find(connection.value.pending) else {
            // The body of a request that was answered already: bounded, or the connection ends behind its answers.
            if connection.value.bodyBytes > core.value.limits.discardedBodyBytes {
                connection.value.flags.insert(.last)
            }
            return
        }
        if connection.value.bodyBytes > pending.value.bodyLimit {
            let limit = pending.value.bodyLimit
            dropPending(connection)
            refuse(connection, tooLarge(limit))
            return
        }
        keep(pending, bytes)
    }

    private func keep(_ pending: Place<PendingRequest>, _ bytes: Span<UInt8>) {
        let before = pending.value.bytes.capacity
        pending.value.bytes.append(bytes)
        holdsBodies(pending.value.bytes.capacity - before)
    }

    func holdsBodies(_ change: Int) {
        core.value.heldBodyBytes += change
        core.value.metrics?.holdsBodies(change)
    }

    /// The body is complete: parses the kept head again and dispatches.
    @inline(never)
    private func endBody(_ connection: Place<HTTPConnection>) {
        guard let pending = core.value.pending.find(connection.value.pending) else { return }
        let headBytes = pending.value.headBytes
        // Proof: the pending request is this connection's, which reads nothing more before the handler has returned; its
        // memory stays until `dropPending`.
        unsafe pending.value.bytes.withUnsafeBytes { bytes in
            let all = unsafe Span<UInt8>(_unsafeBytes: bytes)
            var parser = HTTP1Parser()
            let event = parser.next(all.extracting(first: headBytes), into: core.value.table)
            guard case .head = event else { preconditionFailure("a head that was accepted is accepted again") }
            let head = HTTP1Head(bytes: all, table: core.value.table)
            guard case .route = examine(connection, head) else {
                preconditionFailure("a route that was found is found again")
            }
            let body = all.extracting(droppingFirst: headBytes)
            dispatch(connection, HTTPRequest(head: head, body: body, context: context))
        }
        // Also if the connection is another protocol's now, or none: the places are those of this turn.
        dropPending(connection)
    }

    func dropPending(_ connection: Place<HTTPConnection>) {
        guard let pending = core.value.pending.find(connection.value.pending) else { return }
        holdsBodies(-pending.value.bytes.capacity)
        pending.value.bytes.release()
        core.value.pending.remove(connection.value.pending)
        connection.value.pending = .none
        reclaimAtEndOfTurn()
    }
}
