import CLinux

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The one way to the kernel: each verb asks whether the system is simulated (a compare with nil) and goes there.
struct System {
    let simulated: (any SimulatedSystem)?
    private let kernel: LinuxKernel

    init(_ kernel: Kernel) throws(SystemError) {
        switch kernel {
        case .linux:
            self.kernel = try LinuxKernel()
            simulated = nil
        case .simulated(let system):
            self.kernel = LinuxKernel(none: ())
            simulated = system
        }
    }

    func shutDown() {
        if simulated == nil { kernel.shutDown() }
    }

    @inline(__always)
    func now() -> UInt64 {
        if let simulated { return simulated.now() }
        return LinuxKernel.now()
    }

    func wallClockMilliseconds() -> Int64 {
        simulated?.wallClockMilliseconds() ?? LinuxKernel.wallClockMilliseconds()
    }

    @inline(__always)
    func wait(_ events: UnsafeMutablePointer<epoll_event>, _ capacity: Int, timeout: Int64) -> Int {
        if simulated != nil { return unsafe waitSimulated(events, capacity, timeout) }
        return unsafe kernel.wait(events, Int32(capacity), timeout: timeout)
    }

    private func waitSimulated(_ events: UnsafeMutablePointer<epoll_event>, _ capacity: Int, _ timeout: Int64) -> Int {
        unsafe withUnsafeTemporaryAllocation(of: ReadyEvent.self, capacity: capacity) { ready in
            let count = unsafe simulated.unsafelyUnwrapped.wait(ready, timeout: timeout)
            for index in 0..<count {
                let event = unsafe ready[index]
                unsafe events[index] = epoll_event(
                    events: event.readiness.rawValue, data: epoll_data_t(u64: event.token))
            }
            return count
        }
    }

    func wake() {
        if let simulated { simulated.wake() } else { kernel.wake() }
    }

    /// Returns 0, or the negative error number: there may be too many watches already.
    func registerWake(token: UInt64) -> Int32 {
        guard let simulated else { return kernel.registerWake(token: token) }
        simulated.registerWake(token: token)
        return 0
    }

    func register(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32 {
        if let simulated { return simulated.register(descriptor, token: token, interest: interest) }
        return kernel.register(descriptor, token: token, interest: interest)
    }

    func modify(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32 {
        if let simulated { return simulated.modify(descriptor, token: token, interest: interest) }
        return kernel.modify(descriptor, token: token, interest: interest)
    }

    @discardableResult
    func deregister(_ descriptor: Int32) -> Int32 {
        if let simulated { return simulated.deregister(descriptor) }
        return kernel.deregister(descriptor)
    }

    func listen(_ address: SocketAddress, options: ListenOptions) -> Int32 {
        if let simulated { return simulated.listen(address, options: options) }
        return kernel.listen(address, options: options)
    }

    func accept(_ listener: Int32) -> Int32 {
        if let simulated { return simulated.accept(listener) }
        return kernel.accept(listener)
    }

    func connect(_ address: SocketAddress) -> Int32 {
        if let simulated { return simulated.connect(address) }
        return kernel.connect(address)
    }

    func pendingError(_ descriptor: Int32) -> Int32 {
        if let simulated { return simulated.pendingError(descriptor) }
        return kernel.pendingError(descriptor)
    }

    /// Bytes that the kernel has taken and the peer has not acknowledged. A simulated kernel hoards nothing.
    func unacknowledged(_ descriptor: Int32) -> Int { simulated == nil ? kernel.unacknowledged(descriptor) : 0 }

    @inline(__always)
    func read(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int {
        if let simulated {
            return unsafe simulated.read(
                descriptor, into: UnsafeMutableRawBufferPointer(start: buffer, count: count))
        }
        return unsafe kernel.read(descriptor, buffer, count)
    }

    @inline(__always)
    func write(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
        if let simulated {
            return unsafe simulated.write(descriptor, UnsafeRawBufferPointer(start: bytes, count: count))
        }
        return unsafe kernel.write(descriptor, bytes, count)
    }

    func write(_ descriptor: Int32, _ pieces: UnsafeMutablePointer<iovec>, _ count: Int) -> Int {
        guard let simulated else { return unsafe kernel.write(descriptor, pieces, count) }
        var total = 0
        for index in 0..<count {
            let piece = unsafe UnsafeRawBufferPointer(start: pieces[index].iov_base, count: pieces[index].iov_len)
            let sent = unsafe simulated.write(descriptor, piece)
            if sent < 0 { return total > 0 ? total : sent }
            total += sent
            if sent < piece.count { break }
        }
        return total
    }

    func shutdownWrite(_ descriptor: Int32) -> Int32 {
        if let simulated { return simulated.shutdownWrite(descriptor) }
        return kernel.shutdownWrite(descriptor)
    }

    func close(_ descriptor: Int32) {
        if let simulated { simulated.close(descriptor) } else { kernel.close(descriptor) }
    }

    func localAddress(_ descriptor: Int32) -> SocketAddress? {
        if let simulated { return simulated.localAddress(descriptor) }
        return kernel.localAddress(descriptor)
    }

    func peerAddress(_ descriptor: Int32) -> SocketAddress? {
        if let simulated { return simulated.peerAddress(descriptor) }
        return kernel.peerAddress(descriptor)
    }
}
