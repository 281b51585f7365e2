import CLinux

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The one way to the kernel: Linux, or a simulation of it.
enum System {
    case linux(LinuxKernel)
    case simulated(any SimulatedSystem)

    init(_ kernel: Kernel) throws(SystemError) {
        switch kernel {
        case .linux: self = .linux(try LinuxKernel())
        case .simulated(let system): self = .simulated(system)
        }
    }

    /// The simulation, if it is one.
    var simulation: (any SimulatedSystem)? {
        if case .simulated(let system) = self { system } else { nil }
    }

    func shutDown() {
        if case .linux(let kernel) = self { kernel.shutDown() }
    }

    @inline(__always)
    func now() -> UInt64 {
        switch self {
        case .linux: SystemClock.monotonicNanoseconds()
        case .simulated(let system): system.now()
        }
    }

    func wallClockMilliseconds() -> Int64 {
        switch self {
        case .linux: SystemClock.unixMilliseconds()
        case .simulated(let system): system.wallClockMilliseconds()
        }
    }

    func randomNumber() -> UInt64 {
        switch self {
        case .linux: .random(in: .min ... .max)
        case .simulated(let system): system.randomNumber()
        }
    }

    @inline(__always)
    func wait(_ events: UnsafeMutablePointer<epoll_event>, _ capacity: Int, timeout: Int64) -> Int {
        switch self {
        case .linux(let kernel): unsafe kernel.wait(events, Int32(capacity), timeout: timeout)
        case .simulated(let system): unsafe Self.wait(for: system, events, capacity, timeout)
        }
    }

    private static func wait(
        for system: any SimulatedSystem, _ events: UnsafeMutablePointer<epoll_event>, _ capacity: Int, _ timeout: Int64
    ) -> Int {
        unsafe withUnsafeTemporaryAllocation(of: ReadyEvent.self, capacity: capacity) { ready in
            let count = unsafe system.wait(ready, timeout: timeout)
            for index in 0..<count {
                let event = unsafe ready[index]
                unsafe events[index] = epoll_event(
                    events: event.readiness.rawValue, data: epoll_data_t(u64: event.token))
            }
            return count
        }
    }

    func wake() {
        switch self {
        case .linux(let kernel): kernel.wake()
        case .simulated(let system): system.wake()
        }
    }

    /// Returns 0, or the negative error number: there may be too many watches already.
    func registerWake(token: UInt64) -> Int32 {
        switch self {
        case .linux(let kernel): return kernel.registerWake(token: token)
        case .simulated(let system):
            system.registerWake(token: token)
            return 0
        }
    }

    func register(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32 {
        switch self {
        case .linux(let kernel): kernel.register(descriptor, token: token, interest: interest)
        case .simulated(let system): system.register(descriptor, token: token, interest: interest)
        }
    }

    func modify(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32 {
        switch self {
        case .linux(let kernel): kernel.modify(descriptor, token: token, interest: interest)
        case .simulated(let system): system.modify(descriptor, token: token, interest: interest)
        }
    }

    @discardableResult
    func deregister(_ descriptor: Int32) -> Int32 {
        switch self {
        case .linux(let kernel): kernel.deregister(descriptor)
        case .simulated(let system): system.deregister(descriptor)
        }
    }

    func listen(_ address: SocketAddress, options: ListenOptions) -> Int32 {
        switch self {
        case .linux(let kernel): kernel.listen(address, options: options)
        case .simulated(let system): system.listen(address, options: options)
        }
    }

    func accept(_ listener: Int32) -> Int32 {
        switch self {
        case .linux(let kernel): kernel.accept(listener)
        case .simulated(let system): system.accept(listener)
        }
    }

    func connect(_ address: SocketAddress) -> Int32 {
        switch self {
        case .linux(let kernel): kernel.connect(address)
        case .simulated(let system): system.connect(address)
        }
    }

    func pendingError(_ descriptor: Int32) -> Int32 {
        switch self {
        case .linux(let kernel): kernel.pendingError(descriptor)
        case .simulated(let system): system.pendingError(descriptor)
        }
    }

    /// Bytes that the kernel has taken and the peer has not acknowledged. A simulated kernel hoards nothing.
    func unacknowledged(_ descriptor: Int32) -> Int {
        if case .linux(let kernel) = self { kernel.unacknowledged(descriptor) } else { 0 }
    }

    @inline(__always)
    func read(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int {
        switch self {
        case .linux(let kernel): unsafe kernel.read(descriptor, buffer, count)
        case .simulated(let system):
            unsafe system.read(descriptor, into: UnsafeMutableRawBufferPointer(start: buffer, count: count))
        }
    }

    @inline(__always)
    func write(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
        switch self {
        case .linux(let kernel): unsafe kernel.write(descriptor, bytes, count)
        case .simulated(let system):
            unsafe system.write(descriptor, UnsafeRawBufferPointer(start: bytes, count: count))
        }
    }

    func write(_ descriptor: Int32, _ pieces: UnsafeMutablePointer<iovec>, _ count: Int) -> Int {
        let system: any SimulatedSystem
        switch self {
        case .linux(let kernel): return unsafe kernel.write(descriptor, pieces, count)
        case .simulated(let simulated): system = simulated
        }
        var total = 0
        for index in 0..<count {
            let piece = unsafe UnsafeRawBufferPointer(start: pieces[index].iov_base, count: pieces[index].iov_len)
            let sent = unsafe system.write(descriptor, piece)
            if sent < 0 { return total > 0 ? total : sent }
            total += sent
            if sent < piece.count { break }
        }
        return total
    }

    func shutdownWrite(_ descriptor: Int32) -> Int32 {
        switch self {
        case .linux(let kernel): kernel.shutdownWrite(descriptor)
        case .simulated(let system): system.shutdownWrite(descriptor)
        }
    }

    func breakOff(_ descriptor: Int32) {
        switch self {
        case .linux(let kernel): kernel.breakOff(descriptor)
        case .simulated(let system): system.breakOff(descriptor)
        }
    }

    func close(_ descriptor: Int32) {
        switch self {
        case .linux(let kernel): kernel.close(descriptor)
        case .simulated(let system): system.close(descriptor)
        }
    }

    func localAddress(_ descriptor: Int32) -> SocketAddress? {
        switch self {
        case .linux(let kernel): kernel.localAddress(descriptor)
        case .simulated(let system): system.localAddress(descriptor)
        }
    }

    func peerAddress(_ descriptor: Int32) -> SocketAddress? {
        switch self {
        case .linux(let kernel): kernel.peerAddress(descriptor)
        case .simulated(let system): system.peerAddress(descriptor)
        }
    }
}
