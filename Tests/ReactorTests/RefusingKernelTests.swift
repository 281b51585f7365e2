import Reactor
import ReactorSim
import Synchronization
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// A kernel that says no where it usually says yes: what a loop asks of it may fail, and never ends the process.
@Suite struct RefusingKernelTests {
    /// `epoll_ctl` has no memory for it, or too much is watched: the connection would stay deaf or dumb for ever.
    @Test func aConnectionThatCannotBeWatchedAgainCloses() throws {
        var closed = 0
        for seed in 0..<50 as Range<UInt64> {
            let pair = try Pair(seed: seed)
            pair.connect()
            pair.network.run(for: 1_000_000_000)
            let id = pair.atServer.openedIDs[0]
            // Paused, the next report of input has to be switched off: that change is refused now and then.
            pair.server.pauseReading(id)
            pair.send(pair.atClient.openedIDs[0], [1, 2, 3], from: pair.client)
            pair.client.turn()
            pair.network.options.systemCallFailures = 0.5
            pair.network.run(for: 1_000_000_000)
            #expect(pair.atServer.received.isEmpty)
            if pair.server.isOpen(id) {
                #expect(pair.atServer.reasons.isEmpty)
            } else {
                closed += 1
                #expect(pair.atServer.reasons == [.reset(errno: ENOMEM)])
                #expect(pair.server.statistics.connections == 0)
            }
        }
        #expect(closed > 0 && closed < 50)
    }

    @Test func aConnectionThatCannotBeResumedCloses() throws {
        let pair = try Pair()
        pair.connect()
        pair.network.run(for: 1_000_000_000)
        let id = pair.atServer.openedIDs[0]
        pair.server.pauseReading(id)
        pair.send(pair.atClient.openedIDs[0], [1, 2, 3], from: pair.client)
        pair.network.run(for: 1_000_000_000)
        pair.network.options.systemCallFailures = 1
        pair.server.resumeReading(id)
        pair.network.options.systemCallFailures = 0
        // What the caller does next finds a connection that is closed.
        #expect(!pair.server.isOpen(id))
        pair.network.run(for: 1_000_000_000)
        #expect(pair.atServer.reasons == [.reset(errno: ENOMEM)])
        #expect(pair.atServer.received.isEmpty)
    }

    /// Every system call may fail, in any state: connecting, backlogged, drained, draining.
    @Test(arguments: 0..<100 as Range<UInt64>)
    func whateverEpollRefusesEveryConnectionEndsOnce(seed: UInt64) throws {
        let pair = try Pair(seed: seed, options: .unkind)
        pair.network.options.systemCallFailures = 0.2
        pair.atServer.onRead = { id, bytes in
            pair.send(id, [UInt8](repeating: 7, count: 600), from: pair.server)
            if bytes.count > 20 { pair.server.closeAfterFlush(id, drain: true) }
            return bytes.count
        }
        pair.atClient.onOpened = { pair.send($0, [UInt8](repeating: 1, count: 200), from: pair.client) }
        for step in 0..<10 {
            pair.client.schedule(after: UInt64(step) * 20_000_000) { pair.connect() }
        }
        pair.network.run(for: 60_000_000_000)
        #expect(pair.atClient.reasons.count == 10)
        #expect(pair.atServer.reasons.count == pair.atServer.openedIDs.count)
        #expect(pair.client.statistics.connections == 0 && pair.server.statistics.connections == 0)
    }

    /// A listener that could not be watched again after a pause takes connections as soon as the kernel lets it.
    @Test func aListenerThatCannotBeResumedIsResumedLater() throws {
        let network = SimulatedNetwork(seed: 3)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let atServer = Script()
        let atClient = Script()
        let listener = try server.listen(.loopback(port: 0), handler: atServer)
        listener.pauseAccepting()
        network.options.systemCallFailures = 1
        listener.resumeAccepting()
        network.options.systemCallFailures = 0
        client.connect(listener.localAddress, timeout: 5_000_000_000, handler: atClient)
        network.run(for: 1_000_000_000)
        #expect(atServer.openedIDs.count == 1)
    }

    /// Container engines with an old list of system calls answer EPERM to one that they do not know; old kernels ENOSYS.
    @Test func aLoopWaitsWithoutNanosecondsWhereTheyAreRefused() async {
        await #expect(processExitsWith: .success) {
            try Self.expectTimersToWork(refusing: EPERM)
        }
        await #expect(processExitsWith: .success) {
            try Self.expectTimersToWork(refusing: ENOSYS)
        }
    }

    private static func expectTimersToWork(refusing code: Int32) throws {
        try #require(SystemCallFilter.refuse(number: SystemCallFilter.epollPwait2, with: code))
        let loop = try EventLoop()
        let start = loop.preciseNow()
        var end: UInt64 = 0
        loop.schedule(after: 1_500_000) {
            end = loop.preciseNow()
            loop.stop()
        }
        loop.run()
        try #require(end - start >= 1_500_000, "not early")
        try #require(loop.statistics.turns < 20, "and not by spinning")
    }

    @Test func aLoopThatCannotWaitIsRefusedAtTheStart() async {
        await #expect(processExitsWith: .success) {
            #if arch(x86_64)
                let wait = 232  // epoll_wait
            #else
                let wait = 22  // epoll_pwait, which stands for it
            #endif
            try #require(SystemCallFilter.refuse(number: wait, with: EPERM))
            #expect(throws: SystemError(operation: "epoll_wait", errno: EPERM)) { try EventLoop() }
        }
    }

    /// OpenSSL has no memory for one more session: that connection ends, and the next one finds what it needs.
    @Test func aTLSConnectionWithoutMemoryForItsSessionCloses() async {
        await #expect(processExitsWith: .success) {
            try #require(OpenSSLMemory.mayBeRefused)
            let certificate = TestCertificate.shared
            let serverContext = try TLSServerContext(
                certificatePath: certificate.certificatePath, keyPath: certificate.keyPath)
            let clientContext = try TLSClientContext(
                serverName: "localhost", trustedPath: certificate.certificatePath)
            let network = SimulatedNetwork(seed: 1)
            let server = try network.makeLoop()
            let client = try network.makeLoop()
            let atServer = Script()
            let listener = try server.listen(.loopback(port: 0), tls: serverContext, handler: atServer)

            let plain = Script()
            client.connect(listener.localAddress, timeout: 5_000_000_000, handler: plain)
            OpenSSLMemory.isRefused.store(true, ordering: .relaxed)
            network.run(for: 1_000_000_000)
            try #require(plain.reasons == [.peer] || plain.reasons == [.reset(errno: ECONNRESET)])
            try #require(atServer.openedIDs.isEmpty && atServer.reasons.isEmpty)
            try #require(server.statistics.handshakesFailed == 1 && server.statistics.connections == 0)

            let refused = Script()
            client.connect(listener.localAddress, timeout: 5_000_000_000, tls: clientContext, handler: refused)
            OpenSSLMemory.isRefused.store(false, ordering: .relaxed)
            network.run(for: 1_000_000_000)
            try #require(refused.reasons == [.tls("no memory for a session")])

            let served = Script()
            client.connect(listener.localAddress, timeout: 5_000_000_000, tls: clientContext, handler: served)
            network.run(for: 1_000_000_000)
            try #require(served.openedIDs.count == 1 && atServer.openedIDs.count == 1)
        }
    }

    @Test func aGroupWithoutAThreadSaysSo() async {
        await #expect(processExitsWith: .success) {
            let group = try EventLoopGroup(count: 2)
            NoMoreMemory.begin()
            var refusal: SystemError?
            do throws(SystemError) { try group.start { _ in } } catch { refusal = error }
            NoMoreMemory.end()
            try #require(refusal?.errno == EAGAIN)
            try #require(refusal?.operation == "starting the thread loop-0")
        }
    }

    @Test func blockingWorkWithoutAThreadIsDoneWhenThereIsOne() async {
        await #expect(processExitsWith: .success) {
            let loop = try EventLoop()
            var value = 0
            NoMoreMemory.begin()
            loop.runBlocking("work") {
                7
            } then: {
                value = $0
                loop.stop()
            }
            NoMoreMemory.end()
            loop.run()
            try #require(value == 7)
        }
    }

    @Test func aNameWithoutAThreadToLookItUpIsNotFound() async {
        await #expect(processExitsWith: .success) {
            let loop = try EventLoop()
            var answer: Result<[SocketAddress], ResolveError>?
            NoMoreMemory.begin()
            loop.resolve("localhost", port: 80) { answer = $0 }
            NoMoreMemory.end()
            for _ in 0..<10 where answer == nil { loop.turn() }
            guard case .failure(.failed(host: "localhost", let reason)) = answer else {
                throw SystemError(operation: "expected a failure, got \(String(describing: answer))", errno: 0)
            }
            try #require(reason.contains("starting the thread"))
            // And with memory again it is found.
            answer = nil
            loop.resolve("localhost", port: 80) {
                answer = $0
                loop.stop()
            }
            loop.run()
            guard case .success = answer else {
                throw SystemError(operation: "expected an address, got \(String(describing: answer))", errno: 0)
            }
        }
    }
}

/// A seccomp filter for the calling thread and those that it starts. In a child process of a test only.
enum SystemCallFilter {
    /// The same on every architecture.
    static let epollPwait2 = 441

    /// Whether system call `number` answers `code` from now on.
    static func refuse(number: Int, with code: Int32) -> Bool {
        // struct sock_filter { u16 code; u8 jt, jf; u32 k; }, four of them, as 64-bit words in little-endian order.
        func instruction(_ code: UInt64, _ jumpTrue: UInt64, _ jumpFalse: UInt64, _ k: UInt64) -> UInt64 {
            code | jumpTrue << 16 | jumpFalse << 24 | k << 32
        }
        var program = [
            instruction(0x20, 0, 0, 0),  // load the number of the call
            instruction(0x15, 0, 1, UInt64(number)),  // equal?
            instruction(0x06, 0, 0, 0x0005_0000 | UInt64(code)),  // SECCOMP_RET_ERRNO
            instruction(0x06, 0, 0, 0x7FFF_0000),  // SECCOMP_RET_ALLOW
        ]
        guard let symbol = unsafe dlsym(nil, "prctl") else { return false }
        // Proof: prctl(2) takes an int and four unsigned longs; variadic or not, they travel in the same registers.
        typealias Control = @convention(c) (Int32, UInt, UInt, UInt, UInt) -> Int32
        let control = unsafe unsafeBitCast(symbol, to: Control.self)
        return unsafe program.withUnsafeMutableBytes { instructions in
            // struct sock_fprog { u16 len; struct sock_filter *filter; }
            let header: [UInt] = [4, UInt(bitPattern: instructions.baseAddress)]
            return unsafe header.withUnsafeBytes { header in
                let noNewPrivileges: Int32 = 38
                let setFilter: Int32 = 22
                guard control(noNewPrivileges, 1, 0, 0, 0) == 0 else { return false }
                return control(setFilter, 2, UInt(bitPattern: header.baseAddress), 0, 0) == 0
            }
        }
    }
}

/// OpenSSL's memory, which can be refused. In a child process of a test only, before OpenSSL has taken any.
enum OpenSSLMemory {
    static let isRefused = Atomic<Bool>(false)

    /// Whether OpenSSL asks here for its memory from now on.
    static var mayBeRefused: Bool {
        typealias Allocate = @convention(c) (Int, UnsafePointer<CChar>?, Int32) -> UnsafeMutableRawPointer?
        typealias Reallocate =
            @convention(c) (UnsafeMutableRawPointer?, Int, UnsafePointer<CChar>?, Int32) -> UnsafeMutableRawPointer?
        typealias Free = @convention(c) (UnsafeMutableRawPointer?, UnsafePointer<CChar>?, Int32) -> Void
        typealias Set = @convention(c) (Allocate, Reallocate, Free) -> Int32
        guard let symbol = unsafe dlsym(nil, "CRYPTO_set_mem_functions") else { return false }
        // Proof: OpenSSL's own declaration has these types.
        let set = unsafe unsafeBitCast(symbol, to: Set.self)
        return unsafe set(
            { count, _, _ in unsafe OpenSSLMemory.isRefused.load(ordering: .relaxed) ? nil : malloc(count) },
            { old, count, _, _ in unsafe OpenSSLMemory.isRefused.load(ordering: .relaxed) ? nil : realloc(old, count) },
            { old, _, _ in unsafe free(old) }) == 1
    }
}
