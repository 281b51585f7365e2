import Basics
import Bytes
import CLinux
import Memory
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One thread's world: sockets, timers, work, and the turn that serves them.
///
///     1  wait        until something is ready or the next timer is due
///     2  clock       `now` stays the same for the whole turn
///     3  events      one read per ready connection
///     4  timers      that are due
///     5  work        from other threads, then this loop's own and its tasks' jobs
///     6  flush       every connection with output is written once
///     7  handshakes  of TLS, as far as their time goes
///     8  free        what was closed in this turn
///
/// A loop belongs to the thread that made it, from `run` on to the thread that runs it. Everything is to be called on that
/// thread ("on the loop") unless it says **thread-safe**. The loop is a serial executor (an actor may live on it) and a task
/// executor (`spawn`).
///
///     final class Echo: ConnectionHandler {
///         let loop: EventLoop
///         init(loop: EventLoop) { self.loop = loop }
///         override func connectionRead(_ id: ConnectionID, _ bytes: Span<UInt8>) -> Int {
///             loop.write(id) { $0.append(bytes) }
///             return bytes.count
///         }
///     }
///     let loop = try EventLoop()
///     let listener = try loop.listen(.loopback(port: 7), handler: Echo(loop: loop))
///     print("echoing on \(listener.localAddress)")
///     loop.run()
///
/// Proof of `@unchecked Sendable`: what is not a constant, an atomic or the mailbox (which has a lock) lies in `hot`, and
/// only the owning thread reaches it.
@safe public final class EventLoop: SerialExecutor, TaskExecutor, @unchecked Sendable {
    /// The loop's bounds. Thread-safe.
    public let configuration: Configuration
    let system: System
    let hot: Cell<LoopState>
    /// `now` of the hot state: read so often that it is worth an address of its own.
    @usableFromInline let clock: UnsafePointer<UInt64>
    /// `effort` and `endings` of the hot state, for the same reason.
    @usableFromInline let effort: UnsafeMutablePointer<Int>
    @usableFromInline let endingCount: UnsafePointer<UInt64>
    let mailbox = Mailbox()
    let counters = LoopCounters()
    private let stopRequested = Atomic<Bool>(false)
    private let owner: Atomic<UInt>

    /// The bounds of one loop.
    public struct Configuration: Sendable {
        /// Places for connections, listeners and watched descriptors. Address space only; a place gets memory when it is used.
        public var maximumConnections = 1 << 20
        /// Events that one turn takes from the kernel.
        public var eventsPerTurn = 256
        /// Bytes that one read takes at most.
        public var receiveBuffer = 64 * 1024
        /// Input that is kept for a handler that consumes nothing; beyond, the connection closes with `.inputOverflow`.
        public var maximumKeptInput = 1 << 20
        /// Output that may wait for one connection; beyond, it closes with `.outputOverflow`.
        public var maximumOutput = 64 << 20
        /// Connections that one listener accepts in one turn.
        public var acceptsPerTurn = 64
        /// How long accepting pauses when descriptors or places have run out.
        @Nanoseconds public var acceptPause: Duration = .milliseconds(100)
        /// Work items and jobs of one turn.
        public var workPerTurn = 4096
        /// What the events, timers, work and closings of one turn may take. Each phase does a little in any case
        /// (`isTurnSpent`); the rest is done in the next turn, in order, so that no peer and no crowd holds up the others.
        @Nanoseconds public var turnBudget: Duration = .milliseconds(4)
        /// What the TLS handshakes of one turn may take; one step is made in any case. A step can cost a signature:
        /// 40 µs with an EC key, up to 8 ms with an RSA key of 4,096 bits. They stand in a queue of their own, behind
        /// everything that connections which are open have to say.
        @Nanoseconds public var handshakeBudget: Duration = .milliseconds(1)
        /// What one turn's flush may take; the rest is written in the next turn.
        @Nanoseconds public var flushBudget: Duration = .milliseconds(1)
        /// How long a TLS handshake may take.
        @Nanoseconds public var handshakeTimeout: Duration = .seconds(5)
        /// Bytes a second that a peer must take of output that waits, or be closed with `.deadline`: less than the slowest radio
        /// brings, so that only a drip falls below it. Counted over a whole window, in each one anew.
        public var outputRate = 2048
        /// That window. Longer than what protocols give a slow reader, so that their own words come first.
        @Nanoseconds public var outputTimeout: Duration = .seconds(30)
        /// The same for a connection that is closing: nobody waits for it any more.
        @Nanoseconds public var closeTimeout: Duration = .seconds(15)
        /// How long, and how many bytes a closing connection reads on, so that what was in flight does not turn
        /// the answer into a reset. Many clients send a refused body to its end before they look at the answer, and one
        /// reset ends a whole `kubectl port-forward` with everybody in it: enough bytes for a photograph too many.
        @Nanoseconds public var lingerTimeout: Duration = .seconds(1)
        /// How many bytes a closing connection reads on; see `lingerTimeout`.
        public var lingerBytes = 32 << 20

        /// The defaults.
        public init() {}
    }

    /// - Throws: `SystemError` when descriptors or address space have run out.
    public init(configuration: Configuration = .init(), kernel: Kernel = .linux) throws(SystemError) {
        self.configuration = configuration
        system = try System(kernel)
        let state: LoopState
        do throws(SystemError) {
            state = try LoopState(
                connections: configuration.maximumConnections, eventsPerTurn: configuration.eventsPerTurn,
                receiveBuffer: configuration.receiveBuffer, now: system.now())
        } catch {
            system.shutDown()
            throw error
        }
        hot = Cell(state)
        unsafe clock = unsafe withUnsafePointer(to: &hot.value.now) { unsafe $0 }
        unsafe effort = unsafe withUnsafeMutablePointer(to: &hot.value.effort) { unsafe $0 }
        unsafe endingCount = unsafe withUnsafePointer(to: &hot.value.endings) { unsafe $0 }
        owner = Atomic(UInt(pthread_self()))
        guard let id = hot.value.take(.wake), let place = hot.value.find(id.token) else {
            preconditionFailure("no place for the mailbox")
        }
        place.value.interest = .readable
        let watched = system.registerWake(token: id.token)
        // What was made so far goes with the loop, in `deinit`.
        guard watched == 0 else { throw SystemError(operation: "watching the mailbox", errno: -watched) }
    }

    deinit {
        system.shutDown()
    }

    // MARK: Running

    /// Runs turns on the calling thread until `stop`, then closes every connection with `.shutdown`.
    public func run() {
        adopt()
        let previous = CurrentLoop.swap(self)
        defer { CurrentLoop.restore(previous) }
        while !stopRequested.load(ordering: .relaxed) { oneTurn() }
        closeEverything()
    }

    /// Makes the calling thread the loop's owner.
    func adopt() { owner.store(UInt(pthread_self()), ordering: .relaxed) }

    /// Ends `run` after the turn that is running. Thread-safe.
    public func stop() {
        stopRequested.store(true, ordering: .releasing)
        system.wake()
    }

    /// One turn, for a caller that drives the loop itself: a simulation or a test.
    public func turn() {
        let previous = CurrentLoop.swap(self)
        defer { CurrentLoop.restore(previous) }
        oneTurn()
    }

    /// When the loop has something to do without any event, in its nanoseconds: `now` if there is work, the first timer
    /// otherwise, nil if there is neither. For a caller that drives the loop itself.
    public var nextWakeUp: UInt64? {
        hot.value.nextEvent < hot.value.eventCount || hasWork ? hot.value.now : hot.value.timers.firstDue
    }

    /// The loop whose turn runs on this thread. Thread-safe.
    public static var current: EventLoop? { CurrentLoop.value }

    /// Whether the caller is on the loop's thread. Thread-safe.
    public var isOnLoop: Bool { owner.load(ordering: .relaxed) == UInt(pthread_self()) }

    // MARK: Clocks

    /// When this turn began, monotonic nanoseconds.
    @inlinable
    public var now: UInt64 { unsafe clock.pointee }

    /// Monotonic nanoseconds at this instant.
    public func preciseNow() -> UInt64 { system.now() }

    /// 64 random bits: of the system's generator, which nobody can predict, or of a simulation's seed, so that it can be
    /// repeated. It may cost a system call: what needs many takes one as the seed of its own generator.
    public func randomNumber() -> UInt64 { system.randomNumber() }

    /// Unix milliseconds when this turn began. A clock that was set is noticed within 100 ms.
    public var wallClockMilliseconds: Int64 {
        if hot.value.wallClockTurn != hot.value.now { readWallClock() }
        return hot.value.wallClock
    }

    @inline(never)
    private func readWallClock() {
        let now = hot.value.now
        hot.value.wallClockTurn = now
        if hot.value.wallClockSampled == 0 || now - hot.value.wallClockSampled > 100_000_000 {
            hot.value.wallClockSampled = now
            hot.value.wallClockOffset = system.wallClockMilliseconds() - Int64(system.now() / 1_000_000)
        }
        hot.value.wallClock = Int64(now / 1_000_000) + hot.value.wallClockOffset
    }

    /// What the loop has done so far. Thread-safe.
    public var statistics: LoopStatistics { counters.snapshot() }

    // MARK: The turn

    /// Whether something waits for a turn, but events that the kernel has reported.
    private var hasWork: Bool {
        @inline(__always) get {
            let listed =
                hot.value.flushList.count | hot.value.closed.count | hot.value.resumed.count
                | hot.value.handshakes.count
            return listed != 0 || hot.value.hasWork || !hot.value.turnEnds.isEmpty || mailbox.hasMail
        }
    }

    /// How long `wait` may sleep, nanoseconds: 0 with work at hand, negative with nothing to wait for.
    @inline(__always)
    private func sleepTime(_ now: UInt64) -> Int64 {
        if hasWork || stopRequested.load(ordering: .relaxed) { return 0 }
        guard let due = hot.value.timers.firstDue else { return -1 }
        return due > now ? Int64(clamping: due - now) : 0
    }

    private func oneTurn() {
        // What the last turn left over comes first: asking the kernel again would put it behind the same others for ever.
        if hot.value.nextEvent == hot.value.eventCount {
            let asleep = sleepTime(system.now())
            hot.value.eventCount = unsafe system.wait(hot.value.events, hot.value.eventCapacity, timeout: asleep)
            hot.value.nextEvent = 0
        }
        let began = system.now()
        hot.value.now = began
        hot.value.turnEnd = began &+ configuration.$turnBudget
        hot.value.effort = 0
        LoopCounters.add(counters.turns, 1)
        counters.lastTurn.store(began, ordering: .relaxed)

        var next = hot.value.nextEvent
        let count = hot.value.eventCount
        while next < count {
            let event = unsafe hot.value.events[next]
            next &+= 1
            unsafe dispatch(event.data.u64, Readiness(rawValue: event.events))
            if isTurnSpent() { break }
        }
        hot.value.nextEvent = next
        if !hot.value.resumed.isEmpty { presentKeptInput() }
        if let due = hot.value.timers.firstDue, due <= began { fireTimers() }
        counters.timers.store(hot.value.timers.count, ordering: .relaxed)
        runWork()
        if !hot.value.flushList.isEmpty { flush() }
        if !hot.value.handshakes.isEmpty { continueHandshakes() }
        if !hot.value.closed.isEmpty { freeClosed() }
        if !hot.value.retired.isEmpty { hot.value.retired.removeAll() }
        if !hot.value.turnEnds.isEmpty { endTurn() }
        if hot.value.slab.hasRetired { hot.value.slab.reclaim() }

        counters.turnEnded(system.now() &- began)
    }

    /// What is done between two looks at the clock: 16 common things, or 16 KiB of input, or what `charge` says is as much.
    public static let effortPerClock = 256

    /// Notes that `effort` was spent in this turn, in units of about a microsecond: beyond the size of input, which is counted
    /// by itself.
    @inlinable
    @inline(__always)
    public func charge(_ effort: Int) { unsafe self.effort.pointee &+= effort }

    /// Whether this turn has taken its time. Who does many things in one call asks after each of them, and leaves the rest to
    /// the next turn: others wait.
    ///
    /// - Parameter effort: that of the last thing, as for `charge`.
    @inlinable
    @inline(__always)
    public func isTurnSpent(after effort: Int = 16) -> Bool {
        unsafe self.effort.pointee &+= effort
        return unsafe self.effort.pointee >= Self.effortPerClock && looksSpent()
    }

    /// Looks at the clock. Once the time is up it stays up for this turn: each phase does one thing more.
    @usableFromInline
    @inline(never)
    func looksSpent() -> Bool {
        if system.now() >= hot.value.turnEnd { return true }
        hot.value.effort = 0
        return false
    }

    @inline(__always)
    private func dispatch(_ token: UInt64, _ readiness: Readiness) {
        // An event for a place that was closed and used again in this turn finds no such generation.
        guard let place = hot.value.find(token) else { return }
        switch place.value.kind {
        case .connection: connectionReady(place, token, readiness)
        case .listener: listenerReady(place)
        case .watch: watchReady(place)
        case .wake: break
        }
    }

    /// Calls whoever asked for it by `atEndOfTurn`.
    @inline(never)
    private func endTurn() {
        var enders: [any TurnEnding] = []
        swap(&enders, &hot.value.turnEnds)
        for ender in enders { ender.turnEnded() }
        // The array's memory is used again, unless somebody asked for the next turn's end already.
        if hot.value.turnEnds.isEmpty {
            enders.removeAll(keepingCapacity: true)
            swap(&enders, &hot.value.turnEnds)
        }
    }

    /// Calls `ender` once at the end of this turn, after the flush. Ask when there is something to end, not twice.
    public func atEndOfTurn(_ ender: any TurnEnding) { hot.value.turnEnds.append(ender) }

    private func closeEverything() {
        var slot: UInt32 = 0
        while slot < hot.value.slab.end {
            if let handle = hot.value.slab.handle(atSlot: slot), let place = hot.value.slab.find(handle) {
                switch place.value.kind {
                case .connection: close(place, handle.token, .shutdown)
                case .listener: hot.value.listeners[Int(place.value.detail)]?.close()
                case .watch, .wake: break
                }
            }
            slot += 1
        }
        hot.value.turnEnd = .max
        while !hot.value.closed.isEmpty { freeClosed() }
        while !hot.value.turnEnds.isEmpty { endTurn() }
        hot.value.slab.reclaim()
    }
}

/// The loop of this thread.
enum CurrentLoop {
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        precondition(unsafe pthread_key_create(&key, nil) == 0, "no thread-local storage left")
        return key
    }()

    static var value: EventLoop? {
        guard let pointer = unsafe pthread_getspecific(key) else { return nil }
        return unsafe Unmanaged<EventLoop>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// The loop outlives its own turn, so the thread need not retain it.
    static func swap(_ loop: EventLoop) -> EventLoop? {
        let previous = value
        unsafe pthread_setspecific(key, Unmanaged.passUnretained(loop).toOpaque())
        return previous
    }

    static func restore(_ loop: EventLoop?) {
        unsafe pthread_setspecific(key, loop.map { unsafe Unmanaged.passUnretained($0).toOpaque() })
    }
}
