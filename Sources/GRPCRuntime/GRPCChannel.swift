import Basics
import HTTP2
import Memory
import Reactor

/// A client's way to one service: a name, the connections to all its addresses, and the calls over them, in turn.
///
///              first call              SETTINGS of a server
///       idle ─────────────▶ connecting ────────────────────▶ ready
///                            ▲      │                          │ the last connection is lost
///          backoff is over   │      │ every address failed     │
///                            │      ▼                          ▼
///                         transientFailure              connecting (the name is resolved again)
///
/// Each address has one connection (with `ChannelOptions.maximumConnectionsPerAddress` further ones when all streams of it are
/// taken), or one attempt, and a backoff of its own (1 s × 1.6 ± 20 % to 120 s by default; it
/// starts over when a connection was ready). Calls wait while the channel connects; when every address has failed, those
/// that do not say `waitForReady` fail with UNAVAILABLE. One per loop, and only on it. `close` it when it is not needed.
public final class GRPCChannel {
    /// Where a channel stands, in gRPC's words for connectivity.
    public enum State: Sendable, Hashable {
        /// Nobody has asked for a connection, or it was closed for want of calls.
        case idle
        /// No address has a connection, and none has failed yet.
        case connecting
        /// There is a connection.
        case ready
        /// Every address has failed; each is tried again when its wait is over.
        case transientFailure
        /// It was closed.
        case shutdown
    }

    /// The loop that the channel belongs to.
    public let loop: EventLoop
    /// Host and port, as they were given.
    public let target: String
    /// The bounds and times of the channel.
    public let options: ChannelOptions
    /// Where the channel stands now.
    public var state: State { current }
    /// Called after each change of `state`.
    public var onStateChange: ((State) -> Void)?
    private var current = State.idle

    let authority: [UInt8]
    let transport: ClientConnections
    let metrics: ChannelMetrics
    var subchannels: [Subchannel] = []
    private var nextSubchannel = 0
    /// Calls without a stream, in order; ended ones are skipped when they come to the front.
    private(set) var waiting: [ClientCall] = []
    private(set) var waitingHead = 0
    /// Calls of the queue are being given to connections.
    private var isPlacing = false
    private(set) var waitingCount = 0 {
        didSet { metrics.setQueued(waitingCount) }
    }
    /// Bytes of their requests.
    private var waitingBytes = 0 {
        didSet { metrics.setQueuedBytes(waitingBytes) }
    }
    /// `failWaiting` has left some over.
    var hasFailTimer = false
    /// `streamWasGivenUp` has asked for it.
    var looksForRoom = false
    /// No further connection is made before then, nanoseconds of the loop.
    var growsFrom: UInt64 = 0
    private var isResolving = false
    private var resolveBackoff: Backoff
    private var resolveTimer = TimerID.none
    private(set) var lastError = "not connected yet"
    /// Of this channel: the waits of many channels must not march in step.
    private var random: SplitMix
    /// When the last connection attempts failed, nanoseconds of the loop: how the backoff works can be seen.
    package private(set) var failedAttempts: [UInt64] = []

    /// - Parameter target: `host:port`, `[v6]:port`; the name is resolved when it is needed.
    public init(loop: EventLoop, target: String, options: ChannelOptions = ChannelOptions()) {
        self.loop = loop
        self.target = target
        self.options = options
        authority = Array((options.authority ?? target).utf8)
        resolveBackoff = Backoff(options)
        metrics = ChannelMetrics(target: target)
        transport = ClientConnections(loop: loop, options: options, metrics: metrics)
        random = SplitMix(seed: loop.randomNumber())
        transport.report(to: self)
    }

    // MARK: Calls

    /// Calls and connections that have not ended, and the most that one turn has done: for tests.
    package var openCalls: Int { transport.calls.count }
    package var openConnections: Int { transport.connections.count }
    package var longestTurn: Int { transport.state.value.longestTurn }

    /// Everything that servers make this process keep, as far as it is counted: input and output that the loop holds, what
    /// HTTP/2 keeps, answers. Bytes.
    package var accountedBytes: Int {
        var sum = transport.account.input + transport.account.output
        transport.connections.walk { sum += $1.value.held + $1.value.session.heldBytes }
        return sum
    }

    /// Calls that wait for a stream.
    public var queuedCalls: Int { waitingCount }

    /// Finds a stream for a call, now or later.
    func submit(_ call: ClientCall) {
        if state == .shutdown {
            return call.finish(Self.closed)
        }
        if waitingCount == 0 && place(call) { return }
        if state == .transientFailure && !call.options.waitForReady {
            return call.finish(unavailable)
        }
        let bytes = call.requestBytes
        guard waitingCount < options.maximumQueuedCalls, waitingBytes + bytes <= options.maximumQueuedCallBytes else {
            return call.finish(
                RPCError(code: .resourceExhausted, message: "\(waitingCount) calls to \(target) wait already"))
        }
        call.isQueued = true
        call.queuedSize = bytes
        waitingBytes += bytes
        waiting.append(call)
        waitingCount += 1
        connect()
        growIfFull()
    }

    /// A call that waits has got another message. False: the queue holds too much.
    func queueGrew(by bytes: Int, for call: ClientCall) -> Bool {
        guard waitingBytes + bytes <= options.maximumQueuedCallBytes else { return false }
        waitingBytes += bytes
        call.queuedSize += bytes
        return true
    }

    private func leftQueue(_ call: ClientCall) {
        waitingCount -= 1
        waitingBytes -= call.queuedSize
        call.queuedSize = 0
    }

    /// A call has ended; if it was waiting, its place in the queue is free.
    func ended(_ call: ClientCall) {
        guard call.isQueued else { return }
        call.isQueued = false
        leftQueue(call)
        tidyQueue()
    }

    /// Calls that have ended in the queue must not pile up in it. The last one that leaves it takes them along: an ended call holds
    /// the channel, and the two would hold each other for ever.
    private func tidyQueue() {
        if isPlacing { return }
        if waitingCount == 0 {
            waiting.removeAll(keepingCapacity: true)
            waitingHead = 0
        } else if waiting.count - waitingHead > 2 * waitingCount + 64 {
            waiting = waiting[waitingHead...].filter(\.isQueued)
            waitingHead = 0
        }
    }

    var unavailable: RPCError {
        RPCError(code: .unavailable, message: "\(target) can't be reached: \(lastError)")
    }

    /// Gives a call to the next connection that has room.
    private func place(_ call: ClientCall) -> Bool {
        for _ in 0..<subchannels.count {
            // There may be fewer than last time.
            let turn = nextSubchannel < subchannels.count ? nextSubchannel : 0
            let subchannel = subchannels[turn]
            nextSubchannel = turn + 1
            guard let connection = subchannel.readyConnection else { continue }
            if transport.open(call, on: connection) { return true }
        }
        return false
    }

    /// Streams have ended, or a connection is there: calls that wait may go.
    func roomAppeared() {
        // A call that gets its stream may end others and make room: the queue stays as it is then, and this loop goes on with it.
        guard waitingCount > 0, !isPlacing else { return }
        isPlacing = true
        placeWaiting()
        isPlacing = false
        tidyQueue()
        growIfFull()
    }

    private func placeWaiting() {
        while waitingCount > 0 {
            let call = waiting[waitingHead]
            guard call.isQueued else {
                dropFirstWaiting()
                continue
            }
            // Out of the queue first: a stream that opens may end the call at once.
            call.isQueued = false
            guard place(call) else {
                call.isQueued = true
                return
            }
            leftQueue(call)
            dropFirstWaiting()
        }
    }

    private func dropFirstWaiting() {
        waitingHead += 1
        if waitingHead >= 1024 {
            waiting.removeFirst(waitingHead)
            waitingHead = 0
        }
    }

    // MARK: Connecting

    /// Connects now instead of with the first call.
    public func connect() {
        guard state == .idle else { return }
        enter(.connecting)
        resolve()
    }

    /// Ends all calls (UNAVAILABLE) and all connections (GOAWAY). Final.
    public func close() {
        guard state != .shutdown else { return }
        enter(.shutdown)
        loop.cancel(resolveTimer)
        for subchannel in subchannels { loop.cancel(subchannel.timer) }
        subchannels = []
        failWaiting()
        transport.close(Self.closed.message)
    }

    static let closed = RPCError(code: .unavailable, message: "the channel is closed")

    private func resolve() {
        guard !isResolving, state != .shutdown, let (host, port) = Self.parse(target) else {
            if Self.parse(target) == nil { resolved(.failure("\"\(target)\" is not host:port")) }
            return
        }
        isResolving = true
        loop.resolve(host, port: port) { [self] result in
            isResolving = false
            resolved(result.mapError { ResolveFailure("\($0)") })
        }
    }

    private func resolved(_ result: Result<[SocketAddress], ResolveFailure>) {
        guard state != .shutdown else { return }
        switch result {
        case .success(let addresses) where !addresses.isEmpty:
            resolveBackoff.reset()
            use(addresses)
        case .success:
            resolveFailed("\(target) has no address")
        case .failure(let failure):
            resolveFailed(failure.text)
        }
    }

    private func resolveFailed(_ reason: String) {
        lastError = reason
        if resolveTimer == .none {
            resolveTimer = loop.schedule(after: resolveBackoff.next(random: .random(in: 0..<1, using: &random))) {
                [self] in
                resolveTimer = .none
                resolve()
            }
        }
        updateState()
    }

    /// Keeps the connections to addresses that are still there, connects to new ones, lets the others finish.
    private func use(_ addresses: [SocketAddress]) {
        var kept: [Subchannel] = []
        for address in addresses where !kept.contains(where: { $0.address == address }) {
            let known = subchannels.filter { $0.address == address }
            kept += known.isEmpty ? [Subchannel(address: address, backoff: Backoff(options))] : known
        }
        for gone in subchannels where !kept.contains(where: { $0 === gone }) {
            loop.cancel(gone.timer)
            if let connection = gone.connection { transport.retireConnection(connection) }
        }
        subchannels = kept
        for subchannel in subchannels where subchannel.connection == nil && subchannel.timer == .none {
            start(subchannel)
        }
        updateState()
    }

    func start(_ subchannel: Subchannel) {
        subchannel.hasFailed = subchannel.hasFailed && state == .transientFailure
        subchannel.isReady = false
        subchannel.connection = transport.connect(subchannel.address)
        updateState()
    }

    func connectionReady(_ connection: Handle<ClientConnection>) {
        guard let subchannel = subchannel(connection) else { return }
        subchannel.isReady = true
        subchannel.hasFailed = false
        subchannel.backoff.reset()
        updateState()
        roomAppeared()
    }

    /// A connection takes no new streams: another takes its place.
    func connectionRetired(_ connection: Handle<ClientConnection>) {
        guard state != .shutdown, let subchannel = subchannel(connection) else { return }
        subchannel.connection = nil
        subchannel.isReady = false
        if !drop(subchannel) { reconnect(subchannel) }
    }

    func connectionLost(
        _ connection: Handle<ClientConnection>, _ address: SocketAddress, wasReady: Bool, reason: String
    ) {
        guard state != .shutdown, let subchannel = subchannel(connection) else { return }
        metrics.connectionLost()
        lastError = "\(address): \(reason)"
        subchannel.connection = nil
        subchannel.isReady = false
        if !wasReady {
            if failedAttempts.count >= 16 { failedAttempts.removeFirst() }
            failedAttempts.append(loop.now)
        }
        if drop(subchannel, isBroken: !wasReady) { return }
        if wasReady {
            reconnect(subchannel)
        } else {
            subchannel.hasFailed = true
            retry(subchannel, after: subchannel.backoff.next(random: .random(in: 0..<1, using: &random)))
            updateState()
            // The name may mean something else by now.
            if state == .transientFailure { resolve() }
        }
    }

    /// After a connection that worked: the name is resolved again, and the address tried again soon (not at once: a server
    /// that accepts and closes would be stormed).
    private func reconnect(_ subchannel: Subchannel) {
        retry(subchannel, after: subchannel.reconnectDelay(loop.now))
        updateState()
        resolve()
    }

    private func retry(_ subchannel: Subchannel, after delay: UInt64) {
        loop.cancel(subchannel.timer)
        subchannel.timer = loop.schedule(after: delay) { [self, weak subchannel] in
            guard let subchannel else { return }
            subchannel.timer = .none
            guard state != .shutdown, subchannels.contains(where: { $0 === subchannel }) else { return }
            if subchannel.connection == nil { start(subchannel) }
        }
    }

    private func subchannel(_ connection: Handle<ClientConnection>) -> Subchannel? {
        subchannels.first { $0.connection == connection }
    }

    private func enter(_ next: State) {
        guard next != current else { return }
        current = next
        onStateChange?(next)
    }

    func updateState() {
        guard state != .shutdown && state != .idle else { return }
        if subchannels.contains(where: \.isReady) {
            enter(.ready)
        } else if subchannels.isEmpty ? resolveTimer != .none : subchannels.allSatisfy(\.hasFailed) {
            enter(.transientFailure)
            failWaiting()
        } else {
            enter(.connecting)
        }
    }
}
