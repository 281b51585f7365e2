/// What lies under a loop: Linux, or a simulation of it.
public enum Kernel: Sendable {
    case linux
    case simulated(any SimulatedSystem)
}

/// What a descriptor is watched for, and what is reported: the bits of epoll.
public struct Readiness: OptionSet, Sendable, Hashable {
    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let readable = Readiness(rawValue: 0x1)
    public static let writable = Readiness(rawValue: 0x4)
    /// The connection is broken. Always reported.
    public static let error = Readiness(rawValue: 0x8)
    /// Both directions are shut. Always reported.
    public static let hangUp = Readiness(rawValue: 0x10)
}

/// One report of `SimulatedSystem.wait`.
public struct ReadyEvent: Sendable {
    public var token: UInt64
    public var readiness: Readiness

    public init(token: UInt64, readiness: Readiness) {
        self.token = token
        self.readiness = readiness
    }
}

/// A kernel that is not there: everything that a loop asks of the system, for simulations.
///
/// Calls that can fail return the negative error number, as the kernel itself does. One instance belongs to one loop and
/// is called on that loop's thread, but for `wake`.
public protocol SimulatedSystem: AnyObject, Sendable {
    /// Monotonic nanoseconds.
    func now() -> UInt64
    func wallClockMilliseconds() -> Int64

    /// Fills `events` and returns how many. It never sleeps: the timeout (nanoseconds, negative is forever) says until when
    /// the loop would have slept.
    func wait(_ events: UnsafeMutableBufferPointer<ReadyEvent>, timeout: Int64) -> Int
    /// Makes the loop's next `wait` report the token of `registerWake`. Thread-safe.
    func wake()
    func registerWake(token: UInt64)

    func register(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32
    func modify(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32
    func deregister(_ descriptor: Int32) -> Int32

    func listen(_ address: SocketAddress, options: ListenOptions) -> Int32
    func accept(_ listener: Int32) -> Int32
    /// Returns a descriptor that becomes writable when the outcome is there, or the negative error number.
    func connect(_ address: SocketAddress) -> Int32
    /// The outcome of `connect`, or what broke the connection: 0 or an error number.
    func pendingError(_ descriptor: Int32) -> Int32
    func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Int
    func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int
    func shutdownWrite(_ descriptor: Int32) -> Int32
    func close(_ descriptor: Int32)
    func localAddress(_ descriptor: Int32) -> SocketAddress?
    func peerAddress(_ descriptor: Int32) -> SocketAddress?
    func resolve(_ host: String, port: UInt16) -> Result<[SocketAddress], ResolveError>
}

/// How a listener is opened.
public struct ListenOptions: Sendable {
    /// `SO_REUSEPORT`: several loops listen on one port, the kernel spreads connections among them.
    public var reusePort: Bool
    /// Connections that wait to be accepted.
    public var backlog: Int32
    /// `TCP_NODELAY` on accepted connections: output is sent at once. The loop coalesces, Nagle's algorithm only delays.
    public var tcpNoDelay: Bool
    /// `TCP_NOTSENT_LOWAT` in bytes on accepted connections: how much unsent output the kernel hoards. nil is its default.
    public var notSentLowAt: Int32?

    public init(
        reusePort: Bool = false, backlog: Int32 = 4096, tcpNoDelay: Bool = true, notSentLowAt: Int32? = nil
    ) {
        self.reusePort = reusePort
        self.backlog = backlog
        self.tcpNoDelay = tcpNoDelay
        self.notSentLowAt = notSentLowAt
    }
}

/// Why a name has no address.
public enum ResolveError: Error, Sendable, Equatable, CustomStringConvertible {
    case notFound(host: String)
    case failed(host: String, reason: String)

    public var description: String {
        switch self {
        case .notFound(let host): "no address for \(host)"
        case .failed(let host, let reason): "cannot resolve \(host): \(reason)"
        }
    }
}
