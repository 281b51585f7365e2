import Bytes
import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension EventLoop {
    /// Puts a connection into this turn's flush.
    @inline(__always)
    func queueFlush(_ place: Place<Connection>, _ token: UInt64) {
        if place.value.flags.contains(.queued) { return }
        place.value.flags.insert(.queued)
        hot.value.flushList.append(token)
    }

    /// Writes every connection of the list once. Those that join meanwhile, and those that the budget leaves over, are
    /// written in the next turn.
    func flush() {
        let count = hot.value.flushList.count
        let limit = count > Self.writesPerClock ? system.now() &+ configuration.$flushBudget : UInt64.max
        var index = 0
        while index < count {
            if index % Self.writesPerClock == Self.writesPerClock - 1 && system.now() >= limit { break }
            let token = hot.value.flushList[index]
            index += 1
            guard let place = hot.value.find(token), place.value.kind == .connection else { continue }
            flush(place, token)
        }
        hot.value.flushList.removeFirst(index)
    }

    /// Writes between two looks at the clock.
    private static let writesPerClock = 16

    @inline(__always)
    private func flush(_ place: Place<Connection>, _ token: UInt64) {
        if place.value.flags.contains(.asks) {
            place.value.flags.remove(.asks)
            if place.value.flags.isDisjoint(with: [.closed, .finishing, .lingering]) {
                hot.value.flushing = token
                unsafe place.value.handler.unsafelyUnwrapped._withUnsafeGuaranteedRef {
                    $0.connectionWillFlush(ConnectionID(token: token))
                }
                hot.value.flushing = 0
            }
        }
        place.value.flags.remove(.queued)
        if place.value.flags.isDisjoint(with: Self.notPlainlyWritable), unsafe place.value.shared == nil {
            let count = place.value.output.count
            if count > 0 {
                let sent = unsafe place.value.output.withUnsafeBytes {
                    unsafe system.write(place.value.descriptor, $0.baseAddress.unsafelyUnwrapped, count)
                }
                if sent == count {
                    place.value.output.removeAll()
                    hot.value.recycle(&place.value.output)
                } else {
                    wrote(sent, place, token)
                }
            }
        } else {
            flushSlowly(place, token)
        }
        if place.value.flags.contains(.asks) { queueFlush(place, token) }
    }

    /// Writes shared bytes of a connection that is being flushed, if nothing is in front of them; keeps what is left over.
    /// False: they have to wait for their turn.
    @inline(__always)
    func writeNow(_ shared: SharedBytes, _ place: Place<Connection>, _ token: UInt64) -> Bool {
        guard place.value.flags.isDisjoint(with: Self.notPlainlyWritable), place.value.output.isEmpty,
            unsafe place.value.shared == nil, shared.count > 0
        else { return false }
        let sent = unsafe shared.withUnsafeBytes {
            unsafe system.write(place.value.descriptor, $0.baseAddress.unsafelyUnwrapped, $0.count)
        }
        if sent == shared.count { return true }
        unsafe place.value.shared = Unmanaged.passRetained(shared)
        place.value.sharedAfter = 0
        place.value.sharedOffset = 0
        wrote(sent, place, token)
        return true
    }

    /// TLS states are `.tls`: their output takes the long way.
    private static let notPlainlyWritable: ConnectionFlags = [
        .closed, .connecting, .handshaking, .finishing, .lingering, .backlogged, .tls, .broken,
    ]

    @inline(never)
    private func flushSlowly(_ place: Place<Connection>, _ token: UInt64) {
        let flags = place.value.flags
        if flags.contains(.closed) || flags.contains(.connecting) { return }
        if flags.contains(.broken) { return dropOutput(place) }
        // What a short write has left over waits for EPOLLOUT, and so does all that came behind it.
        if flags.contains(.backlogged) && !flags.contains(.writable) { return recount(place) }
        place.value.flags.remove(.writable)
        if flags.contains(.tls) {
            flushTLS(place, token)
        } else {
            while place.value.pendingOutput > 0 {
                let wanted = place.value.pendingOutput
                let sent = writePieces(place)
                wrote(sent, place, token)
                if sent < wanted { return }
            }
            writtenCompletely(place, token)
        }
    }

    /// One call for what is pending: the output, the shared bytes in their place, the output behind them.
    private func writePieces(_ place: Place<Connection>) -> Int {
        let descriptor = place.value.descriptor
        guard let shared = unsafe place.value.shared else {
            return unsafe place.value.output.withUnsafeBytes {
                unsafe system.write(descriptor, $0.baseAddress.unsafelyUnwrapped, $0.count)
            }
        }
        return unsafe shared._withUnsafeGuaranteedRef { shared in
            unsafe shared.withUnsafeBytes { shared in
                let rest = unsafe UnsafeRawBufferPointer(rebasing: shared[place.value.sharedOffset...])
                if place.value.output.isEmpty {
                    return unsafe system.write(descriptor, rest.baseAddress.unsafelyUnwrapped, rest.count)
                }
                return unsafe place.value.output.withUnsafeBytes { output in
                    unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: 3) { pieces in
                        var count = 0
                        func add(_ bytes: UnsafeRawBufferPointer) {
                            guard bytes.count > 0 else { return }
                            unsafe pieces[count] = unsafe iovec(
                                iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
                            count += 1
                        }
                        let before = place.value.sharedAfter
                        unsafe add(UnsafeRawBufferPointer(rebasing: output[..<before]))
                        unsafe add(rest)
                        unsafe add(UnsafeRawBufferPointer(rebasing: output[before...]))
                        return unsafe system.write(descriptor, pieces.baseAddress.unsafelyUnwrapped, count)
                    }
                }
            }
        }
    }

    /// Takes off what a write has sent; a short one arms EPOLLOUT, after an error nothing is written any more.
    func wrote(_ outcome: Int, _ place: Place<Connection>, _ token: UInt64) {
        if outcome < 0 && outcome != -Int(EAGAIN) {
            return broke(place, token, Int32(clamping: -outcome))
        }
        consume(max(outcome, 0), of: place)
        guard place.value.pendingOutput > 0 else { return }
        recount(place)
        guard place.value.pendingOutput <= configuration.maximumOutput else {
            return close(place, token, .outputOverflow)
        }
        if place.value.outputDue == 0 { watchOutput(place, token) }
        place.value.flags.insert(.backlogged)
        applyInterest(place, token)
    }

    /// Drops `count` bytes from the front of what is pending.
    func consume(_ count: Int, of place: Place<Connection>) {
        place.value.taken &+= count
        var left = count
        if let shared = unsafe place.value.shared {
            let before = min(left, place.value.sharedAfter)
            place.value.output.consume(before)
            place.value.sharedAfter -= before
            left -= before
            let size = unsafe shared._withUnsafeGuaranteedRef { $0.count }
            let middle = min(left, size - place.value.sharedOffset)
            place.value.sharedOffset += middle
            left -= middle
            if place.value.sharedOffset == size, place.value.sharedAfter == 0 { dropShared(place) }
        }
        if left > 0 { place.value.output.consume(left) }
        if place.value.output.isEmpty, place.value.output.capacity > 0 { hot.value.recycle(&place.value.output) }
    }

    /// Forgets what is pending.
    func dropOutput(_ place: Place<Connection>) {
        if place.value.output.capacity > 0 {
            place.value.output.removeAll()
            hot.value.recycle(&place.value.output)
        }
        dropShared(place)
        if let tls = unsafe place.value.tls { unsafe tls._withUnsafeGuaranteedRef { $0.ciphertext.release() } }
    }

    func dropShared(_ place: Place<Connection>) {
        let shared = unsafe place.value.shared
        unsafe place.value.shared = nil
        place.value.sharedAfter = 0
        place.value.sharedOffset = 0
        unsafe shared?.release()
    }

    /// Nothing is pending any more.
    func writtenCompletely(_ place: Place<Connection>, _ token: UInt64) {
        if place.value.flags.contains(.closed) { return }
        recount(place)
        let flags = place.value.flags
        if flags.contains(.backlogged) {
            place.value.flags.remove(.backlogged)
            place.value.outputDue = 0
            applyInterest(place, token)
            if place.value.flags.contains(.closed) { return }
        }
        if flags.contains(.finishing) {
            finished(place, token)
        } else if flags.contains(.backlogged) {
            unsafe place.value.handler.unsafelyUnwrapped._withUnsafeGuaranteedRef {
                $0.connectionDrained(ConnectionID(token: token))
            }
        }
    }
}
