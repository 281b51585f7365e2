import Bytes
import Memory

extension EventLoop {
    /// Begins the handshake of an accepted connection.
    func startTLS(
        _ place: Place<Connection>, _ token: UInt64, _ role: TLSSession.Role, alpn: [String: ConnectionHandler]
    ) {
        guard let session = TLSSession(role, alpn: alpn) else { return close(place, token, .tls) }
        unsafe place.value.tls = Unmanaged.passRetained(session)
        place.value.flags.insert([.tls, .handshaking])
        armDeadline(place, token, at: hot.value.now.later(by: configuration.$handshakeTimeout))
    }

    /// The same for one whose first bytes are here already.
    func startTLS(
        _ id: ConnectionID, _ bytes: Span<UInt8>, _ role: TLSSession.Role, alpn: [String: ConnectionHandler]
    ) {
        guard let place = connection(id), !place.value.flags.contains(.closed) else { return }
        startTLS(place, id.token, role, alpn: alpn)
        guard bytes.count > 0, place.value.flags.contains(.handshaking) else { return }
        unsafe bytes.withUnsafeBytes { unsafe session(place).feed($0) }
        queueHandshake(place, id.token)
    }

    /// The session, kept alive for the caller.
    private func session(_ place: Place<Connection>) -> TLSSession {
        unsafe place.value.tls.unsafelyUnwrapped.takeUnretainedValue()
    }

    /// One read of records, then everything that they hold.
    @inline(never)
    func readTLS(_ place: Place<Connection>, _ token: UInt64) {
        if place.value.flags.contains(.handshaking) { return queueHandshake(place, token) }
        // As in `readPlain`: what is here already comes first.
        if place.value.flags.contains(.resumes) { return }
        let received = unsafe system.read(place.value.descriptor, hot.value.receive, hot.value.receiveCapacity)
        guard received > 0 else { return readEnded(place, token, received) }
        let session = session(place)
        unsafe session.feed(UnsafeRawBufferPointer(start: hot.value.receive, count: received))
        decrypt(place, token, session)
    }

    // MARK: Handshakes

    /// A step of a handshake can cost a signature: it waits behind what everybody else has to say. What is there to be read is
    /// not reported again meanwhile.
    private func queueHandshake(_ place: Place<Connection>, _ token: UInt64) {
        if place.value.flags.contains(.resumes) { return }
        place.value.flags.insert(.resumes)
        hot.value.handshakes.append(token)
        applyInterest(place, token)
    }

    /// The next steps of handshakes, in order, one at least.
    func continueHandshakes() {
        let until = system.now() &+ configuration.$handshakeBudget
        let count = hot.value.handshakes.count
        var index = 0
        repeat {
            let token = hot.value.handshakes[index]
            index += 1
            guard let place = hot.value.find(token), place.value.kind == .connection,
                place.value.flags.contains(.handshaking), !place.value.flags.contains(.closed)
            else { continue }
            place.value.flags.remove(.resumes)
            readHandshake(place, token)
        } while index < count && system.now() < until
        hot.value.handshakes.removeFirst(index)
    }

    private func readHandshake(_ place: Place<Connection>, _ token: UInt64) {
        let received = unsafe system.read(place.value.descriptor, hot.value.receive, hot.value.receiveCapacity)
        if received > 0 {
            unsafe session(place).feed(UnsafeRawBufferPointer(start: hot.value.receive, count: received))
            continueHandshake(place, token)
        } else if received == 0 {
            close(place, token, .peer)
        } else {
            readEnded(place, token, received)
            // Nothing new: the first bytes came with what stood in front of TLS.
            if !place.value.flags.contains(.closed) { continueHandshake(place, token) }
        }
        if !place.value.flags.contains(.closed) { applyInterest(place, token) }
    }

    /// Input that came while reading was paused.
    func decryptPending(_ place: Place<Connection>, _ token: UInt64) {
        guard place.value.flags.isDisjoint(with: Self.notDecrypting) else { return }
        decrypt(place, token, session(place))
    }

    func continueHandshake(_ place: Place<Connection>, _ token: UInt64) {
        let session = session(place)
        let outcome = session.handshake()
        if !session.ciphertext.isEmpty { queueFlush(place, token) }
        switch outcome {
        case .wantsInput: recount(place)
        case .ended: close(place, token, .peer)
        case .failed: failTLS(place, token, session)
        case .done:
            place.value.flags.remove(.handshaking)
            if let name = session.applicationProtocol, let handler = session.alpn[name] {
                replaceHandler(place, handler)
            }
            opened(place, token)
            // The first request may have come with the end of the handshake.
            decryptPending(place, token)
        }
    }

    /// Whoever takes no more for now gets no more, and hears of no end either, which is behind what they have not taken yet.
    /// Behind the end there is nothing.
    private static let notDecrypting: ConnectionFlags = [
        .closed, .finishing, .lingering, .connecting, .handshaking, .paused, .resumes, .readClosed,
    ]

    /// Decrypts what is there, as much as the buffer takes at a time, and delivers it.
    private func decrypt(_ place: Place<Connection>, _ token: UInt64, _ session: TLSSession) {
        while place.value.flags.isDisjoint(with: Self.notDecrypting) {
            let kept = place.value.keptCount
            hot.value.reservePlaintext(kept, room: configuration.receiveBuffer)
            let memory = unsafe hot.value.plaintext.unsafelyUnwrapped
            if kept > 0 { unsafe memory.copyMemory(from: place.value.kept.unsafelyUnwrapped, byteCount: kept) }
            var count = kept
            var outcome = TLSSession.Outcome.done(0)
            reading: while count < hot.value.plaintextCapacity {
                outcome = unsafe session.read(
                    into: memory + count, hot.value.plaintextCapacity - count, now: hot.value.now)
                guard case .done(let bytes) = outcome else { break reading }
                count += bytes
            }
            if count > kept { unsafe deliver(place, token, memory, count) }
            switch outcome {
            case .done: continue
            case .wantsInput: break
            case .ended:
                // The session says it again when the rest is presented.
                if place.value.flags.isDisjoint(with: Self.notDecrypting) { inputEnded(place, token) }
            case .failed: failTLS(place, token, session)
            }
            break
        }
        session.shrink()
        recount(place)
        if !session.ciphertext.isEmpty { queueFlush(place, token) }
    }

    /// Sends the alert that explains the failure, if the kernel takes it at once, then closes.
    private func failTLS(_ place: Place<Connection>, _ token: UInt64, _ session: TLSSession) {
        if place.value.flags.contains(.closed) { return }
        if place.value.flags.contains(.handshaking), !place.value.isClient, !session.ciphertext.isEmpty {
            // A client of TLS 1.3 has finished when its certificate is refused, and sends: closed with that unread, the connection
            // would be reset, and the alert lost. So this one is closed in order.
            place.value.flags.remove(.handshaking)
            return closeAfterFlush(ConnectionID(token: token), drain: true)
        }
        let descriptor = place.value.descriptor
        if !session.ciphertext.isEmpty {
            _ = unsafe session.ciphertext.withUnsafeBytes {
                unsafe system.write(descriptor, $0.baseAddress.unsafelyUnwrapped, $0.count)
            }
        }
        close(place, token, .tls)
    }

    /// Records that wait go first; then output is encrypted, a stretch at a time, so that a slow reader's backlog stays
    /// plain and small.
    func flushTLS(_ place: Place<Connection>, _ token: UInt64) {
        let session = session(place)
        while true {
            let waiting = session.ciphertext.count
            if waiting > 0 {
                let descriptor = place.value.descriptor
                let sent = unsafe session.ciphertext.withUnsafeBytes {
                    unsafe system.write(descriptor, $0.baseAddress.unsafelyUnwrapped, waiting)
                }
                if sent > 0 {
                    session.ciphertext.consume(sent)
                    place.value.taken &+= sent
                }
                if sent < waiting { return wrote(min(sent, 0) == 0 ? 0 : sent, place, token) }
                continue
            }
            if place.value.flags.contains(.handshaking) { break }
            if place.value.pendingOutput > 0 {
                guard case .done(let count) = encrypt(place, session) else {
                    return failTLS(place, token, session)
                }
                consume(count, of: place)
            } else if place.value.flags.contains(.finishing) {
                session.sayGoodbye()
                if session.ciphertext.isEmpty { break }
            } else {
                break
            }
        }
        session.shrink()
        if place.value.flags.contains(.handshaking) {
            place.value.flags.remove(.backlogged)
            applyInterest(place, token)
        } else if !place.value.flags.contains(.closed) {
            writtenCompletely(place, token)
        }
    }

    /// Encrypts the first contiguous piece of what is pending.
    private func encrypt(_ place: Place<Connection>, _ session: TLSSession) -> TLSSession.Outcome {
        let stretch = 64 * 1024
        guard let shared = unsafe place.value.shared, place.value.sharedAfter == 0 else {
            let count = unsafe place.value.shared == nil ? place.value.output.count : place.value.sharedAfter
            return unsafe place.value.output.withUnsafeBytes {
                unsafe session.write(UnsafeRawBufferPointer(rebasing: $0[..<min(count, stretch)]))
            }
        }
        let offset = place.value.sharedOffset
        return unsafe shared._withUnsafeGuaranteedRef {
            unsafe $0.withUnsafeBytes {
                unsafe session.write(UnsafeRawBufferPointer(rebasing: $0[offset..<min($0.count, offset + stretch)]))
            }
        }
    }
}
