import Reactor
import ReactorSim
import Synchronization

/// A loop under attack on the simulated kernel, and the hostile ends of its connections.
///
/// Each end has a secret that only it sends: found in what another end receives, it shows that bytes of one peer went to
/// another.
final class FuzzWorld {
    let network: SimulatedNetwork
    let loop: EventLoop
    private(set) var peers: [HostilePeer] = []
    /// How often system calls fail once the server listens: that one which can't listen does not start is another matter.
    private var failureRate: Double
    static let maximumPeers = 8
    /// Whether the time that turns take is looked at: by libFuzzer, which runs one input at a time.
    static let measuresTurns = Atomic(false)

    /// What the network does to segments is the input's choice: nothing, cut at every byte, or be as unkind as it can.
    init(_ input: inout FuzzInput) throws {
        let choices = input.byte()
        var options: SimulationOptions = [.init(), .byteByByte, .unkind, .init()][Int(choices & 3)]
        options.delay = 1000...20_000
        options.turnTime = 1000...2000
        options.callTime = 50_000
        options.measuresTurns = Self.measuresTurns.load(ordering: .relaxed)
        if choices & 4 != 0 { options.window = 500 }
        failureRate = choices & 8 != 0 ? 0.02 : 0
        network = SimulatedNetwork(seed: UInt64(input.byte()), options: options)
        loop = try network.makeLoop(configuration: Self.smallLoop)
    }

    private static var smallLoop: EventLoop.Configuration {
        var configuration = EventLoop.Configuration()
        configuration.maximumConnections = 64
        configuration.receiveBuffer = 4096
        configuration.maximumKeptInput = 128 << 10
        configuration.maximumOutput = 1 << 20
        return configuration
    }

    /// Another hostile end, as long as there is room for one.
    func connect(to address: SocketAddress) {
        if peers.count < Self.maximumPeers { add(network.connect(to: address)) }
    }

    /// An end that was accepted.
    func add(_ end: SimulatedPeer) { peers.append(HostilePeer(end, number: peers.count)) }

    /// The peer that the input chooses; nil when there is none.
    func peer(_ input: inout FuzzInput) -> HostilePeer? {
        let choice = Int(input.byte())
        return peers.isEmpty ? nil : peers[choice % peers.count]
    }

    /// Some turns of the loop, then whatever has arrived is looked at.
    func settle() throws { try run(for: 200_000) }

    /// Runs for so many virtual nanoseconds.
    func run(for nanoseconds: UInt64) throws {
        network.options.systemCallFailures = failureRate
        network.run(for: nanoseconds)
        for peer in peers { try peer.listen(others: peers) }
    }

    /// Lets some time pass that matters to one of the deadlines.
    func wait(_ input: inout FuzzInput) throws {
        let milliseconds: [UInt64] = [1, 20, 100, 1000, 2000, 5000, 6000, 11_000, 16_000, 31_000, 61_000, 121_000]
        try run(for: milliseconds[input.choice(milliseconds.count)] * 1_000_000)
    }

    /// What any end can do whatever it speaks.
    func misbehave(_ peer: HostilePeer, _ input: inout FuzzInput) {
        switch input.choice(5) {
        case 0: peer.end.close()
        case 1: peer.end.reset()
        case 2: peer.end.shutDownWriting()
        case 3: peer.end.isReading = false
        default: peer.end.isReading = true
        }
    }

    /// The network does nothing to anybody any more, and all calls succeed.
    func becomeKind() {
        network.options = .init()
        failureRate = 0
    }

    /// Everybody goes, and all deadlines pass.
    func leave() throws {
        failureRate = 0
        for peer in peers { peer.end.close() }
        try run(for: 400_000_000_000)
    }

    /// Nothing of all that happened is left on the loop, and it was never away for long: by its own clock, to which each system
    /// call is 50 microseconds, and by the processor's, which AddressSanitizer makes several times slower.
    func promiseEmptiness() throws {
        let statistics = loop.statistics
        try promise(statistics.longestTurn <= 10_000_000, "a turn took \(statistics.longestTurn / 1000) µs of calls")
        try promise(network.longestTurn <= 100_000_000, "a turn took \(network.longestTurn / 1000) µs of the processor")
        try promise(statistics.connections == 0, "\(statistics.connections) connections are left")
        try promise(statistics.queued == 0, "\(statistics.queued) posts are left")
    }
}

/// One hostile end.
final class HostilePeer {
    let end: SimulatedPeer
    let number: Int
    /// Known to this end alone.
    let secret: String
    /// The last that was received; the protocol's own reader may take it.
    var received: [UInt8] = []
    /// The end of what was looked at: a secret may be cut in two.
    private var tail: [UInt8] = []

    init(_ end: SimulatedPeer, number: Int) {
        self.end = end
        self.number = number
        let mixed = (UInt64(number) &+ 1) &* 0x9E37_79B9_7F4A_7C15
        secret = "~" + String(mixed >> 16 | 1 << 47, radix: 16) + "~"
    }

    func send(_ text: String) { end.send(Array(text.utf8)) }

    /// Looks for secrets of others in what has arrived.
    func listen(others: [HostilePeer]) throws {
        let bytes = end.takeReceived()
        guard !bytes.isEmpty else { return }
        received += bytes
        if received.count > 64 << 10 { received.removeFirst(received.count - (64 << 10)) }
        let seen = tail + bytes
        tail = Array(seen.suffix(secret.utf8.count - 1))
        for start in seen.indices where seen[start] == UInt8(ascii: "~") {
            for other in others where other !== self {
                try promise(
                    !seen[start...].starts(with: other.secret.utf8),
                    "peer \(number) received what peer \(other.number) sent")
            }
        }
    }
}
