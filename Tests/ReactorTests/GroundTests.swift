import ReactorSim
import Synchronization
import Testing

@testable import Reactor

#if canImport(Glibc)
    import Glibc
#endif

/// An actor that lives on a loop.
actor Resident {
    let loop: EventLoop
    private(set) var visits = 0

    init(loop: EventLoop) { self.loop = loop }

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    func visit() -> Bool {
        visits += 1
        return loop.isOnLoop
    }
}

@Suite struct GroundTests {
    @Test func anActorMayLiveOnTheLoop() throws {
        let loop = try EventLoop()
        let resident = Resident(loop: loop)
        loop.spawn {
            let isOnLoop = await resident.visit()
            #expect(isOnLoop)
            loop.stop()
        }
        loop.run()
        loop.preconditionIsolated()
    }

    @Test func loopsOfAGroupShareAPort() throws {
        let group = try EventLoopGroup(count: 2)
        let port = Mutex<UInt16>(0)
        let accepted = Atomic<Int>(0)
        try group.start { loop in
            let handler = Script()
            handler.onOpened = { id in
                accepted.add(1, ordering: .relaxed)
                loop.closeAfterFlush(id)
            }
            port.withLock { port in
                let listener = try! loop.listen(
                    .loopback(port: port), options: ListenOptions(reusePort: true), handler: handler)
                port = listener.localAddress.port
            }
        }
        while port.withLock({ $0 }) == 0 { sched_yield() }
        let loop = try EventLoop()
        let probe = Script()
        let address = SocketAddress.loopback(port: port.withLock { $0 })
        for _ in 0..<50 { loop.connect(address, timeout: 5_000_000_000, handler: probe) }
        while probe.reasons.count < 50 { loop.turn() }
        #expect(accepted.load(ordering: .relaxed) == 50)
        group.stop()
        group.join()
    }

    @Test func signalsArriveOnTheLoop() throws {
        let loop = try EventLoop()
        var received: Int32 = 0
        try loop.onSignals([SIGUSR2]) {
            received = $0
            loop.stop()
        }
        // To this thread, which blocks it: the process's other threads must not die of it.
        pthread_kill(pthread_self(), SIGUSR2)
        loop.run()
        #expect(received == SIGUSR2)
    }

    @Test func watchedDescriptorsReport() throws {
        let loop = try EventLoop()
        var ends: [Int32] = [0, 0]
        unsafe pipe(&ends)
        var read = 0
        let watch = try loop.watch(readable: ends[0]) {
            var byte: UInt8 = 0
            read += unsafe Glibc.read(ends[0], &byte, 1)
            if read == 3 { loop.stop() }
        }
        let bytes: [UInt8] = [1, 2, 3]
        unsafe write(ends[1], bytes, 3)
        loop.run()
        #expect(read == 3)
        loop.unwatch(watch)
        close(ends[0])
        close(ends[1])
    }

    @Test func realTimersAreNotEarly() throws {
        let loop = try EventLoop()
        let start = loop.preciseNow()
        var end: UInt64 = 0
        loop.schedule(after: 1_500_000) {
            end = loop.preciseNow()
            loop.stop()
        }
        loop.run()
        #expect(end - start >= 1_500_000)
    }

    @Test func aLoopBoundValueTrapsElsewhere() async {
        await #expect(processExitsWith: .failure) {
            let loop = try EventLoop()
            let bound = LoopBound(1, loop: loop)
            let group = try EventLoopGroup(count: 1)
            try group.start { _ in _ = bound.value }
            group.join()
        }
    }

    @Test func addressesParseAndPrint() {
        #expect(SocketAddress(ip: "127.0.0.1", port: 80) == .loopback(port: 80))
        #expect(SocketAddress(ip: "127.0.0.1", port: 80)?.description == "127.0.0.1:80")
        #expect(SocketAddress(ip: "::1", port: 443)?.description == "[::1]:443")
        #expect(SocketAddress(ip: "localhost", port: 80) == nil)
        #expect(SocketAddress(ip: "1.2.3", port: 80) == nil)
        #expect(SocketAddress(ip: "2001:db8::8:800:200c:417a", port: 1)?.ip == "2001:db8::8:800:200c:417a")
    }

    @Test func aTakenPortIsNamed() throws {
        let loop = try EventLoop()
        let listener = try loop.listen(.loopback(port: 0), handler: Script())
        #expect {
            try loop.listen(listener.localAddress, handler: Script())
        } throws: { "\($0)".contains("\(listener.localAddress)") && ($0 as? SystemError)?.errno == EADDRINUSE }
    }

    @Test func theDefaultCountIsAtLeastOne() {
        #expect(EventLoopGroup.defaultCount >= 1)
    }

    /// A control group's file says what it likes.
    @Test func aQuotaOfCPUsIsRoundedUpWhateverItSays() {
        #expect(CPUQuota.version2("150000 100000\n") == 2)
        #expect(CPUQuota.version2("200000 100000") == 2)
        #expect(CPUQuota.version2("1 100000") == 1)
        #expect(CPUQuota.version2("9223372036854775807 2") == 1 << 62)
        #expect(CPUQuota.version2("9223372036854775807 9223372036854775807") == 1)
        for text in [
            "", "max 100000", "100000", "0 0", "1 0", "-1 100000", "1 -1", "9223372036854775808 1",
            "-9223372036854775808 -1", "1 2 3",
        ] {
            #expect(CPUQuota.version2(text) == nil)
        }
    }

    /// No sum of a clock and a span wraps into the past.
    @Test func aTimerForAnInstantThatIsNoneNeverFires() throws {
        let network = SimulatedNetwork(seed: 1)
        let loop = try network.makeLoop()
        var fired = 0
        for span in [.max, .max - 1, .max - 999_999_999] as [UInt64] {
            loop.schedule(after: span) { fired += 1 }
            loop.schedule(every: span) { fired += 1 }
        }
        let handler = Script()
        let listener = try loop.listen(.loopback(port: 0), handler: Script())
        loop.connect(listener.localAddress, timeout: .max, handler: handler)
        network.run(for: 10_000_000_000)
        #expect(fired == 0)
        #expect(handler.openedIDs.count == 1 && handler.reasons.isEmpty)
    }

    @Test func namesResolveInTheSimulation() throws {
        let network = SimulatedNetwork(seed: 1)
        network.names["driver"] = [SocketAddress(ip: "10.0.0.1", port: 0)!, SocketAddress(ip: "10.0.0.2", port: 0)!]
        let loop = try network.makeLoop()
        var answer: Result<[SocketAddress], ResolveError>?
        loop.resolve("driver", port: 7) { answer = $0 }
        network.run(for: 1_000_000)
        #expect(try answer?.get().map(\.description) == ["10.0.0.1:7", "10.0.0.2:7"])
        loop.resolve("nobody", port: 7) { answer = $0 }
        network.run(for: 1_000_000)
        #expect(throws: ResolveError.notFound(host: "nobody")) { try answer?.get() }
    }
}

@Suite struct AddressBlockTests {
    @Test(arguments: [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"), ("10.1.2.3/8", "10.9.9.9", "9.255.255.255"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.2"), ("0.0.0.0/0", "255.255.255.255", "::1"),
        ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"), ("fd00::/8", "fdff::1", "fc00::1"),
        ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"), ("::1", "::1", "::2"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"), ("::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"),
        ("fd00::/120", "fd00::ff", "fd00::100"),
    ])
    func addressesThatShareTheirFirstBits(block: String, inside: String, outside: String) throws {
        let block = try #require(AddressBlock(block))
        #expect(block.contains(try #require(SocketAddress(ip: inside, port: 80))))
        #expect(!block.contains(try #require(SocketAddress(ip: outside, port: 80))))
    }

    @Test(arguments: [
        ("10.1.2.3", "::ffff:10.1.2.3", "10.1.2.4"), ("2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1"),
        ("::1", "::2", "0.0.0.1"),
    ])
    func whatOneSubscriberOfANetworkHas(one: String, same: String, other: String) throws {
        let network = try #require(SocketAddress(ip: one, port: 1)).network
        #expect(try #require(SocketAddress(ip: same, port: 2)).network == network)
        #expect(try #require(SocketAddress(ip: other, port: 1)).network != network)
    }

    @Test func everyAddressOfIPv6() throws {
        let all = try #require(AddressBlock("::/0"))
        for text in ["::", "ffff::1", "1.2.3.4"] {
            #expect(all.contains(try #require(SocketAddress(ip: text, port: 1))))
        }
    }

    @Test func loopback() throws {
        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            #expect(try #require(SocketAddress(ip: text, port: 1)).isLoopback)
        }
        for text in ["0.0.0.0", "::", "128.0.0.1", "10.0.0.1"] {
            #expect(!(try #require(SocketAddress(ip: text, port: 1)).isLoopback))
        }
    }
}
