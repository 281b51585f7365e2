import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension EventLoop {
    /// Something has happened to a connection.
    @inline(__always)
    func connectionReady(_ place: Place<Connection>, _ token: UInt64, _ readiness: Readiness) {
        if readiness == .readable, place.value.flags.isDisjoint(with: Self.notPlainlyReadable) {
            if unsafe place.value.tls == nil { readPlain(place, token) } else { readTLS(place, token) }
        } else {
            connectionReadySlowly(place, token, readiness)
        }
    }

    private static let notPlainlyReadable: ConnectionFlags = [
        .closed, .connecting, .handshaking, .finishing, .lingering, .paused, .readClosed, .broken,
    ]

    @inline(never)
    private func connectionReadySlowly(_ place: Place<Connection>, _ token: UInt64, _ readiness: Readiness) {
        if !place.value.flags.isDisjoint(with: [.closed, .broken]) { return }
        if place.value.flags.contains(.connecting) { return connectReady(place, token, readiness) }
        if readiness.contains(.error) {
            // The error stays on the socket: without a close, every wait would report it again.
            let code = system.pendingError(place.value.descriptor)
            return broke(place, token, code == 0 ? ECONNRESET : code)
        }
        if readiness.contains(.writable) {
            place.value.flags.insert(.writable)
            queueFlush(place, token)
        }
        guard !readiness.isDisjoint(with: [.readable, .hangUp]) else { return }
        let flags = place.value.flags
        if flags.contains(.drains) && !flags.contains(.readClosed) {
            discardInput(place, token)
        } else if flags.contains(.lingering) {
            close(place, token, .local)
        } else if !flags.isDisjoint(with: [.paused, .readClosed, .finishing]) {
            // Nobody wants to read now: the level-triggered report has to be switched off, and a hang-up cannot be masked.
            if readiness.contains(.hangUp) && !flags.contains(.finishing) {
                detach(place)
            } else {
                applyInterest(place, token)
            }
        } else if unsafe place.value.tls != nil {
            readTLS(place, token)
        } else {
            readPlain(place, token)
        }
    }

    /// One read into the loop's buffer, behind what the handler left last time.
    @inline(__always)
    func readPlain(_ place: Place<Connection>, _ token: UInt64) {
        let kept = place.value.keptCount
        if kept > 0 {
            // What is kept comes first (`presentKeptInput`, in this turn): a handler that takes a little at a time would else get
            // more with each turn than it takes.
            if place.value.flags.contains(.resumes) { return }
            restoreKept(place)
        }
        let received = unsafe system.read(
            place.value.descriptor, hot.value.receive + kept, hot.value.receiveCapacity - kept)
        if received > 0 {
            unsafe deliver(place, token, hot.value.receive, kept + received)
        } else {
            readEnded(place, token, received)
        }
    }

    /// Moves the kept input to the front of the receive buffer. It stays kept until it is consumed.
    @inline(never)
    private func restoreKept(_ place: Place<Connection>) {
        let kept = place.value.keptCount
        hot.value.reserveReceive(kept, room: configuration.receiveBuffer / 2)
        unsafe memcpy(hot.value.receive, place.value.kept.unsafelyUnwrapped, kept)
    }

    /// The end of the stream, an error, or nothing yet.
    @inline(never)
    func readEnded(_ place: Place<Connection>, _ token: UInt64, _ outcome: Int) {
        if place.value.flags.contains(.broken) {
            // The kernel says an error once, and behind it 0, as if the stream had ended in order.
            close(place, token, .reset, place.value.detail)
        } else if outcome == 0 {
            inputEnded(place, token)
        } else if outcome != -Int(EAGAIN) {
            close(place, token, .reset, Int32(clamping: -outcome))
        }
    }

    /// The stream has ended in order.
    func inputEnded(_ place: Place<Connection>, _ token: UInt64) {
        // What came before the end is to be presented first; the end is reported again.
        if place.value.flags.contains(.resumes) { return }
        place.value.flags.insert(.readClosed)
        unsafe place.value.handler.unsafelyUnwrapped._withUnsafeGuaranteedRef {
            $0.connectionReadClosed(ConnectionID(token: token))
        }
        // The end is reported again and again; most handlers close, which saves the call.
        if place.value.flags.isDisjoint(with: [.closed, .finishing]) { applyInterest(place, token) }
    }

    /// Shows bytes to the handler, and to the next one if they were an upgrade; keeps what nobody consumed.
    @inline(__always)
    func deliver(_ place: Place<Connection>, _ token: UInt64, _ bytes: UnsafeMutableRawPointer, _ count: Int) {
        let handler = unsafe place.value.handler.unsafelyUnwrapped
        charge(count >> 6)
        let consumed = unsafe handler._withUnsafeGuaranteedRef {
            unsafe $0.connectionRead(
                ConnectionID(token: token), UnsafeMutableRawBufferPointer(start: bytes, count: count))
        }
        precondition(consumed >= 0 && consumed <= count, "a handler consumed more than there was")
        if consumed == count, place.value.keptCount == 0 { return }
        unsafe deliverRest(place, token, bytes + consumed, count - consumed, after: handler)
    }

    @inline(never)
    private func deliverRest(
        _ place: Place<Connection>, _ token: UInt64, _ bytes: UnsafeMutableRawPointer, _ count: Int,
        after first: Unmanaged<ConnectionHandler>
    ) {
        var bytes = unsafe bytes
        var count = count
        var handler = unsafe first
        while count > 0, place.value.flags.isDisjoint(with: .deaf), !place.value.flags.contains(.paused) {
            let next = unsafe place.value.handler.unsafelyUnwrapped
            let isSame = unsafe next.toOpaque() == handler.toOpaque()
            if isSame { break }
            unsafe handler = next
            let consumed = unsafe next._withUnsafeGuaranteedRef {
                unsafe $0.connectionRead(
                    ConnectionID(token: token), UnsafeMutableRawBufferPointer(start: bytes, count: count))
            }
            precondition(consumed >= 0 && consumed <= count, "a handler consumed more than there was")
            unsafe bytes += consumed
            count -= consumed
        }
        unsafe keep(place, token, bytes, count)
    }

    /// Keeps `count` bytes, which may lie in the receive buffer or in what was kept before.
    func keep(_ place: Place<Connection>, _ token: UInt64, _ bytes: UnsafeMutableRawPointer, _ count: Int) {
        let old = unsafe place.value.kept
        defer {
            unsafe free(old)
            recount(place)
        }
        unsafe place.value.kept = nil
        place.value.keptCount = 0
        guard count > 0, place.value.flags.isDisjoint(with: [.closed, .finishing, .lingering]) else { return }
        guard count <= configuration.maximumKeptInput else {
            return close(place, token, .inputOverflow)
        }
        guard let memory = unsafe malloc(count) else { return close(place, token, .reset, ENOMEM) }
        unsafe memcpy(memory, bytes, count)
        unsafe place.value.kept = memory
        place.value.keptCount = count
    }

    /// Lets `presentKeptInput` come by in this turn, or in the next one.
    func presentSoon(_ place: Place<Connection>, _ token: UInt64) {
        place.value.flags.insert(.resumes)
        hot.value.resumed.append(token)
    }

    /// Presents kept input of connections that were resumed, and what is left to be read of broken ones: no event will come for it.
    func presentKeptInput() {
        let count = hot.value.resumed.count
        var index = 0
        while index < count {
            if index > 0 && isTurnSpent() { break }
            let token = hot.value.resumed[index]
            index += 1
            guard let place = hot.value.find(token), place.value.kind == .connection else { continue }
            place.value.flags.remove(.resumes)
            guard place.value.flags.isDisjoint(with: .deaf), !place.value.flags.contains(.paused) else { continue }
            if place.value.keptCount > 0 {
                let kept = place.value.keptCount
                restoreKept(place)
                unsafe deliver(place, token, hot.value.receive, kept)
            }
            if unsafe place.value.tls != nil { decryptPending(place, token) }
            if place.value.flags.contains(.broken) { readBroken(place, token) }
        }
        hot.value.resumed.removeFirst(index)
    }

    private static let notReadingNow: ConnectionFlags = [.closed, .finishing, .lingering, .paused, .resumes]

    /// One read of what had come before the connection broke. Behind the last one it is closed.
    private func readBroken(_ place: Place<Connection>, _ token: UInt64) {
        guard place.value.flags.isDisjoint(with: Self.notReadingNow) else { return }
        // TLS knows its own end.
        if place.value.flags.contains(.readClosed) { return close(place, token, .reset, place.value.detail) }
        if unsafe place.value.tls == nil { readPlain(place, token) } else { readTLS(place, token) }
        if place.value.flags.isDisjoint(with: Self.notReadingNow) { presentSoon(place, token) }
    }

    /// Reads and forgets what a closing connection still gets.
    private func discardInput(_ place: Place<Connection>, _ token: UInt64) {
        let received = unsafe system.read(place.value.descriptor, hot.value.receive, hot.value.receiveCapacity)
        if received > 0 {
            place.value.discarded = UInt32(clamping: Int(place.value.discarded) + received)
            if place.value.flags.contains(.lingering), place.value.discarded > configuration.lingerBytes {
                close(place, token, .local)
            }
        } else if received == 0 {
            place.value.flags.insert(.readClosed)
            if place.value.flags.contains(.lingering) {
                close(place, token, .local)
            } else {
                applyInterest(place, token)
            }
        } else if received != -Int(EAGAIN) {
            close(place, token, .reset, Int32(clamping: -received))
        }
    }

    // MARK: Interest

    /// Tells epoll what is wanted now, if that has changed. A connection that epoll refuses (ENOSPC: too many watches, ENOMEM)
    /// would never be heard of again: it is closed.
    func applyInterest(_ place: Place<Connection>, _ token: UInt64) {
        let flags = place.value.flags
        if flags.contains(.broken) { return }
        var wanted: Readiness = []
        let reads = flags.contains(.drains) || !flags.contains(.finishing)
        if reads && flags.isDisjoint(with: [.paused, .readClosed, .connecting]) { wanted.insert(.readable) }
        // It is in the queue already.
        if flags.contains([.handshaking, .resumes]) { wanted.remove(.readable) }
        if !flags.isDisjoint(with: [.backlogged, .connecting]) { wanted.insert(.writable) }
        if flags.contains(.detached) {
            guard !wanted.isEmpty else { return }
            place.value.flags.remove(.detached)
            place.value.interest = wanted
            let outcome = system.register(place.value.descriptor, token: token, interest: wanted)
            if outcome != 0 { close(place, token, .reset, -outcome) }
        } else if wanted != place.value.interest {
            place.value.interest = wanted
            let outcome = system.modify(place.value.descriptor, token: token, interest: wanted)
            if outcome != 0 { close(place, token, .reset, -outcome) }
        }
    }

    /// Takes a connection out of epoll until somebody wants to hear of it again.
    func detach(_ place: Place<Connection>) {
        system.deregister(place.value.descriptor)
        place.value.flags.insert(.detached)
        place.value.interest = []
    }
}
