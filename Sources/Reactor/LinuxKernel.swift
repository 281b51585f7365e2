import CLinux

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The calls into Linux, and nothing hidden. Failures are negative error numbers; `EINTR` is dealt with here.
struct LinuxKernel {
    let epoll: Int32
    let wakeUp: Int32
    /// Whether `epoll_pwait2` is to be had: Linux before 5.11 does not know it (ENOSYS), and filters for system calls that
    /// are older than it refuse it (EPERM).
    private let waitsInNanoseconds: Bool

    init() throws(SystemError) {
        let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw SystemError(operation: "epoll_create1", errno: errno) }
        let wakeUp = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard wakeUp >= 0 else {
            let code = errno
            Glibc.close(epoll)
            throw SystemError(operation: "eventfd", errno: code)
        }
        // Tried here, where nothing is ready yet: a loop that cannot wait is refused at the start, not in its first turn.
        var event = unsafe epoll_event()
        guard unsafe epoll_wait(epoll, &event, 1, 0) >= 0 || errno == EINTR else {
            let code = errno
            Glibc.close(wakeUp)
            Glibc.close(epoll)
            throw SystemError(operation: "epoll_wait", errno: code)
        }
        waitsInNanoseconds = unsafe clinux_epoll_pwait2(epoll, &event, 1, 0) >= 0 || errno == EINTR
        self.epoll = epoll
        self.wakeUp = wakeUp
    }

    func shutDown() {
        Glibc.close(wakeUp)
        Glibc.close(epoll)
    }

    // MARK: Waiting

    /// Waits for events: `timeout` in nanoseconds, negative is forever. A signal ends it with 0 events.
    func wait(_ events: UnsafeMutablePointer<epoll_event>, _ capacity: Int32, timeout: Int64) -> Int {
        let count: Int32
        if timeout <= 0 {
            count = unsafe epoll_wait(epoll, events, capacity, timeout == 0 ? 0 : -1)
        } else if waitsInNanoseconds {
            count = unsafe clinux_epoll_pwait2(epoll, events, capacity, timeout)
        } else {
            // Rounded up: a timer may be a millisecond late there, but never early, which would spin.
            count = unsafe epoll_wait(epoll, events, capacity, Int32(clamping: (timeout - 1) / 1_000_000 + 1))
        }
        if count >= 0 { return Int(count) }
        // Both calls were answered when the loop was made: what is left (EBADF, EINVAL) is a descriptor that somebody in
        // this program has closed or replaced.
        precondition(errno == EINTR, "the loop's epoll descriptor is no longer its own")
        return 0
    }

    /// Adding to the counter is an edge for the edge-triggered registration: nobody has to read it.
    func wake() {
        var one: UInt64 = 1
        _ = unsafe Glibc.write(wakeUp, &one, 8)
    }

    func registerWake(token: UInt64) -> Int32 {
        control(EPOLL_CTL_ADD, wakeUp, token, Readiness.readable.rawValue | EPOLLET.rawValue)
    }

    func register(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32 {
        control(EPOLL_CTL_ADD, descriptor, token, interest.rawValue)
    }

    func modify(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32 {
        control(EPOLL_CTL_MOD, descriptor, token, interest.rawValue)
    }

    func deregister(_ descriptor: Int32) -> Int32 { control(EPOLL_CTL_DEL, descriptor, 0, 0) }

    private func control(_ operation: Int32, _ descriptor: Int32, _ token: UInt64, _ bits: UInt32) -> Int32 {
        var event = unsafe epoll_event(events: bits, data: epoll_data_t(u64: token))
        return unsafe epoll_ctl(epoll, operation, descriptor, &event) == 0 ? 0 : -errno
    }

    // MARK: Sockets

    func listen(_ address: SocketAddress, options: ListenOptions) -> Int32 {
        let descriptor = newSocket(address)
        guard descriptor >= 0 else { return descriptor }
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        if options.reusePort { set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
        // Accepted connections inherit both from the listener, which saves two calls per connection.
        if options.tcpNoDelay { set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1) }
        if let bytes = options.notSentLowAt { set(descriptor, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, bytes) }
        let bound = unsafe address.withSystemAddress { unsafe bind(descriptor, $0, $1) }
        guard bound == 0, Glibc.listen(descriptor, options.backlog) == 0 else {
            let code = errno
            Glibc.close(descriptor)
            return -code
        }
        return descriptor
    }

    func accept(_ listener: Int32) -> Int32 {
        while true {
            let descriptor = accept4(
                listener, nil, nil, Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue))
            if descriptor >= 0 { return descriptor }
            if errno != EINTR { return -errno }
        }
    }

    func connect(_ address: SocketAddress) -> Int32 {
        let descriptor = newSocket(address)
        guard descriptor >= 0 else { return descriptor }
        set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        let outcome = unsafe address.withSystemAddress { unsafe Glibc.connect(descriptor, $0, $1) }
        // Interrupted, it goes on in the background like one in progress.
        guard outcome == 0 || errno == EINPROGRESS || errno == EINTR else {
            let code = errno
            Glibc.close(descriptor)
            return -code
        }
        return descriptor
    }

    private func newSocket(_ address: SocketAddress) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.isIPv6 ? AF_INET6 : AF_INET, type, 0)
        return descriptor >= 0 ? descriptor : -errno
    }

    private func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        _ = unsafe setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// 0 if the descriptor is no socket that knows.
    func unacknowledged(_ descriptor: Int32) -> Int { Int(max(0, clinux_unacknowledged(descriptor))) }

    func pendingError(_ descriptor: Int32) -> Int32 {
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno
    }

    @inline(__always)
    func read(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int {
        while true {
            let received = unsafe recv(descriptor, buffer, count, 0)
            if received >= 0 { return received }
            if errno != EINTR { return -Int(errno) }
        }
    }

    @inline(__always)
    func write(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
        while true {
            let sent = unsafe send(descriptor, bytes, count, Int32(MSG_NOSIGNAL))
            if sent >= 0 { return sent }
            if errno != EINTR { return -Int(errno) }
        }
    }

    func write(_ descriptor: Int32, _ pieces: UnsafeMutablePointer<iovec>, _ count: Int) -> Int {
        var message = unsafe msghdr()
        unsafe message.msg_iov = pieces
        unsafe message.msg_iovlen = count
        while true {
            let sent = unsafe sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
            if sent >= 0 { return sent }
            if errno != EINTR { return -Int(errno) }
        }
    }

    func shutdownWrite(_ descriptor: Int32) -> Int32 {
        shutdown(descriptor, Int32(SHUT_WR)) == 0 ? 0 : -errno
    }

    /// A linger time of zero makes of a close what RFC 9293 §3.10.5 calls an abort.
    func breakOff(_ descriptor: Int32) {
        var value = linger(l_onoff: 1, l_linger: 0)
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
    }

    func close(_ descriptor: Int32) { Glibc.close(descriptor) }

    func localAddress(_ descriptor: Int32) -> SocketAddress? {
        unsafe name(descriptor) { unsafe getsockname($0, $1, $2) }
    }

    func peerAddress(_ descriptor: Int32) -> SocketAddress? {
        unsafe name(descriptor) { unsafe getpeername($0, $1, $2) }
    }

    private func name(
        _ descriptor: Int32, _ call: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let outcome = unsafe withUnsafeMutablePointer(to: &storage) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe call(descriptor, $0, &size) }
        }
        return outcome == 0 ? SocketAddress(storage) : nil
    }
}
