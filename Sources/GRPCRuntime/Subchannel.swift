import Memory
import Reactor

/// One address of a channel.
final class Subchannel {
    let address: SocketAddress
    /// Beside the address' own: it is not made again when it is lost.
    let isFurther: Bool
    var backoff: Backoff
    var connection: Handle<ClientConnection>?
    var isReady = false
    /// The last attempt failed; cleared by a connection that works.
    var hasFailed = false
    var timer = TimerID.none
    private var lastReconnect: UInt64 = 0

    init(address: SocketAddress, backoff: Backoff, isFurther: Bool = false) {
        self.address = address
        self.isFurther = isFurther
        self.backoff = backoff
    }

    var readyConnection: Handle<ClientConnection>? { isReady ? connection : nil }

    /// Nanoseconds until a connection that worked is replaced: none the first time, then at most one a second.
    func reconnectDelay(_ now: UInt64) -> UInt64 {
        let earliest = lastReconnect == 0 ? now : lastReconnect + 1_000_000_000
        let at = max(now, earliest)
        lastReconnect = at
        return at - now
    }
}

/// gRPC's connection backoff: each wait is `multiplier` times the last, up to a maximum, each with some jitter.
struct Backoff {
    private let initial: Double
    private let multiplier: Double
    private let jitter: Double
    private let maximum: Double
    private var current: Double

    init(_ options: ChannelOptions) {
        initial = Double(options.$initialBackoff)
        multiplier = options.backoffMultiplier
        jitter = options.backoffJitter
        maximum = Double(options.$maximumBackoff)
        current = initial
    }

    /// Nanoseconds to wait now. `random` is 0 ..< 1.
    mutating func next(random: Double) -> UInt64 {
        let wait = current * (1 + jitter * (2 * random - 1))
        current = min(current * multiplier, maximum)
        // Options may say anything; 2⁶² nanoseconds are 146 years.
        return UInt64(exactly: min(max(wait, 0), Double(GRPCTimeout.longest)).rounded(.down)) ?? 0
    }

    mutating func reset() { current = initial }
}
