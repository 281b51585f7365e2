import Basics
import Reactor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// How unkind a simulated network is.
public struct SimulationOptions: Sendable {
    /// What a segment takes to the other side, nanoseconds; chosen anew for each, in order on one connection.
    public var delay: ClosedRange<UInt64> = 10_000...200_000
    /// The most that one read returns: 1 gives every byte on its own, a random size up to the range's end otherwise.
    public var readSize: ClosedRange<Int> = 1...65_536
    /// The most that one write takes.
    public var writeSize: ClosedRange<Int> = 1...65_536
    /// Bytes that may be under way or unread in one direction of a connection.
    public var window = 65_536
    /// How often a read or a write that could do something says `EAGAIN` instead.
    public var spuriousRetries = 0.0
    /// How often a write breaks the connection instead.
    public var resets = 0.0
    /// How often a system call fails for a reason that has nothing to do with the connection: a signal came (`EINTR`),
    /// descriptors, memory or watches have run out (`EMFILE`, `ENFILE`, `ENOMEM`, `ENOBUFS`, `ENOSPC`). What then happens is
    /// the loop's affair; it must go on.
    public var systemCallFailures = 0.0
    /// Events of one turn come in random order; otherwise by descriptor.
    public var reordersEvents = true
    /// Descriptors that one loop may have.
    public var maximumDescriptors = 1 << 20
    /// What passes between two turns, nanoseconds.
    public var turnTime: ClosedRange<UInt64> = 1000...20_000
    /// What each system call costs, nanoseconds: so long is a turn by the loop's own clock (`LoopStatistics.longestTurn`), which
    /// ends its phases by it.
    public var callTime: UInt64 = 0
    /// Whether the processor's time for each turn is measured (`SimulatedNetwork.longestTurn`). Such a figure is not the same in
    /// two runs.
    public var measuresTurns = false

    public init() {}

    /// Every read and every write moves a single byte.
    public static var byteByByte: SimulationOptions {
        var options = SimulationOptions()
        options.readSize = 1...1
        options.writeSize = 1...1
        return options
    }

    /// Splits everywhere, now and then says `EAGAIN`, has a small window.
    public static var unkind: SimulationOptions {
        var options = SimulationOptions()
        options.readSize = 1...50
        options.writeSize = 1...50
        options.window = 200
        options.spuriousRetries = 0.1
        return options
    }
}

/// A world of loops in one thread and in virtual time: no descriptor, no clock, no scheduler of the machine is involved, so
/// the same seed gives the same run.
///
///     let network = SimulatedNetwork(seed: 7)
///     let server = try network.makeLoop()
///     let client = try network.makeLoop()
///     let listener = try server.listen(.loopback(port: 80), handler: echo)
///     client.connect(listener.localAddress, timeout: 1_000_000_000, handler: probe)
///     network.run(for: 5_000_000_000)
///
/// Everything is to be called on the thread that made it.
public final class SimulatedNetwork {
    public let seed: UInt64
    public var options: SimulationOptions
    /// Virtual nanoseconds since the world began; it begins at one second, because 0 often means "never".
    public private(set) var now: UInt64 = 1_000_000_000
    /// Where the wall clock stood when the world began, Unix milliseconds.
    public var wallClockStart: Int64 = 1_700_000_000_000
    /// The addresses of names.
    public var names: [String: [SocketAddress]] = ["localhost": [.loopback(port: 0)]]

    var random: SplitMix
    /// What loops ask for, from a sequence of its own: the network does the same whether they ask or not.
    var numbers: SplitMix
    private var hosts: [SimulatedHost] = []
    private var loops: [EventLoop] = []
    /// Ends without a loop, and what listens for them.
    var peers: [SimulatedPeer] = []
    var peerListeners: [SimulatedPeerListener] = []
    /// Something has arrived, or has left a window: ends without a loop may go on.
    var hasChanged = true
    /// The longest time that the processor has spent on one turn, nanoseconds, if that is measured.
    public private(set) var longestTurn: UInt64 = 0
    private var arrivals = ArrivalQueue()
    private var runnable: [Int] = []
    private var nextPort: UInt16 = 49_152

    public init(seed: UInt64, options: SimulationOptions = .init()) {
        self.seed = seed
        self.options = options
        random = SplitMix(seed: seed)
        numbers = SplitMix(seed: ~seed)
    }

    deinit {
        for host in hosts { host.abandon() }
        for peer in peers { peer.abandon() }
    }

    /// A loop in this world.
    public func makeLoop(configuration: EventLoop.Configuration = .init()) throws -> EventLoop {
        let host = SimulatedHost(network: self)
        let loop = try EventLoop(configuration: configuration, kernel: .simulated(host))
        hosts.append(host)
        loops.append(loop)
        return loop
    }

    // MARK: Time

    /// Runs until `isDone`, or until `limit` virtual nanoseconds have passed, or until nothing is left that could happen.
    /// - Returns: whether `isDone`.
    @discardableResult
    public func run(until isDone: () -> Bool, limit: UInt64 = 60_000_000_000) -> Bool {
        let end = now + limit
        while !isDone() {
            if !step(until: end) { return isDone() }
        }
        return true
    }

    /// Runs for `duration` virtual nanoseconds.
    public func run(for duration: UInt64) {
        let end = now + duration
        while step(until: end) {}
        now = max(now, end)
    }

    /// One turn of one loop, or a leap to the next thing that happens. Returns false if nothing happens before `end`.
    private func step(until end: UInt64) -> Bool {
        while let arrival = arrivals.take(upTo: now) {
            arrival()
            hasChanged = true
        }
        if hasChanged {
            hasChanged = false
            exchangeOfPeers()
        }
        if let loop = chooseRunnable() {
            if options.measuresTurns { measureTurn(of: loop) } else { loop.turn() }
            now += UInt64.random(in: options.turnTime, using: &random)
            return now <= end
        }
        var next = arrivals.first ?? .max
        for loop in loops { next = min(next, loop.nextWakeUp ?? .max) }
        guard next <= end else { return false }
        now = max(now, next)
        return true
    }

    /// One of the loops that have something to do; nil if none has.
    private func chooseRunnable() -> EventLoop? {
        runnable.removeAll(keepingCapacity: true)
        for index in loops.indices where hosts[index].hasEvents || (loops[index].nextWakeUp ?? .max) <= now {
            runnable.append(index)
        }
        return runnable.randomElement(using: &random).map { loops[$0] }
    }

    /// Nanoseconds that the processor has worked for this thread.
    private static func processorTime() -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    private func measureTurn(of loop: EventLoop) {
        let began = Self.processorTime()
        loop.turn()
        longestTurn = max(longestTurn, Self.processorTime() &- began)
    }

    /// Lets virtual time pass inside a callback, as work would: the loop's turn gets so much longer.
    public func spend(_ nanoseconds: UInt64) { now += nanoseconds }

    /// Lets `work` happen after one network delay, but not before `earliest`. Returns when.
    @discardableResult
    func deliver(notBefore earliest: UInt64 = 0, _ work: @escaping () -> Void) -> UInt64 {
        let time = max(earliest, now + UInt64.random(in: options.delay, using: &random))
        arrivals.add(time, work)
        return time
    }

    // MARK: Trouble

    /// Breaks every connection of `loop`, as a cable or a `kill -9` of the other side does.
    public func resetConnections(of loop: EventLoop) {
        guard let index = loops.firstIndex(where: { $0 === loop }) else { return }
        hosts[index].resetAll()
    }

    // MARK: Addresses

    func newPort() -> UInt16 {
        nextPort = nextPort == .max ? 49_152 : nextPort + 1
        return nextPort
    }

    /// The listener for `address`: on it, or on every address.
    func listener(at address: SocketAddress) -> SimulatedSocket? {
        for host in hosts {
            if let found = host.listener(at: address) { return found }
        }
        return peerListeners.first { $0.socket.localAddress == address }?.socket
    }
}

/// What is under way, by time of arrival; what arrives at the same instant keeps its order. A binary heap.
private struct ArrivalQueue {
    private struct Arrival {
        let time: UInt64
        /// Which one was added first.
        let number: UInt64
        let work: () -> Void

        func isBefore(_ other: Arrival) -> Bool { (time, number) < (other.time, other.number) }
    }

    private var heap: [Arrival] = []
    private var added: UInt64 = 0

    var first: UInt64? { heap.first?.time }

    mutating func add(_ time: UInt64, _ work: @escaping () -> Void) {
        added += 1
        heap.append(Arrival(time: time, number: added, work: work))
        var place = heap.count - 1
        while place > 0, heap[place].isBefore(heap[(place - 1) / 2]) {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    /// Takes out the next one that is there at `now`. It runs outside: it may add others.
    mutating func take(upTo now: UInt64) -> (() -> Void)? {
        guard let next = heap.first, next.time <= now else { return nil }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var place = 0
        while true {
            var least = place
            for child in (2 * place + 1)...(2 * place + 2) where child < heap.count && heap[child].isBefore(heap[least])
            {
                least = child
            }
            if least == place { return next.work }
            heap.swapAt(place, least)
            place = least
        }
    }
}
