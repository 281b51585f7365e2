/// What lies under a loop: Linux, or a simulation of it.
public enum Kernel: Sendable {
    /// Linux itself: epoll, sockets, timers.
    case linux
    /// A simulation.
    case simulated(any SimulatedSystem)
}

/// What a descriptor is watched for, and what is reported: the bits of epoll.
public struct Readiness: OptionSet, Sendable, Hashable {
    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// There is something to be read.
    public static let readable = Readiness(rawValue: 0x1)
    /// There is room to write.
    public static let writable = Readiness(rawValue: 0x4)
    /// The connection is broken. Always reported.
    public static let error = Readiness(rawValue: 0x8)
    /// Both directions are shut. Always reported.
    public static let hangUp = Readiness(rawValue: 0x10)
}

/// One report of `SimulatedSystem.wait`.
public struct ReadyEvent: Sendable {
    /// What the descriptor was registered with.
    public var token: UInt64
    /// What it is ready for.
    public var readiness: Readiness

    /// An event of a descriptor.
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
    /// Unix milliseconds.
    func wallClockMilliseconds() -> Int64
    /// 64 random bits, of a seed: a simulation can be repeated.
    func randomNumber() -> UInt64

    /// Fills `events` and returns how many. It never sleeps: the timeout (nanoseconds, negative is forever) says until when
    /// the loop would have slept.
    func wait(_ events: UnsafeMutableBufferPointer<ReadyEvent>, timeout: Int64) -> Int
    /// Makes the loop's next `wait` report the token of `registerWake`. Thread-safe.
    func wake()
    /// Says which token a `wake` is reported with.
    func registerWake(token: UInt64)

    /// Reports a descriptor's readiness from now on. Returns 0, or the negative error number.
    func register(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32
    /// Changes what of a descriptor is reported. Returns 0, or the negative error number.
    func modify(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32
    /// Reports nothing of a descriptor any more. Returns 0, or the negative error number.
    func deregister(_ descriptor: Int32) -> Int32

    /// Returns the descriptor of a listener, or the negative error number.
    func listen(_ address: SocketAddress, options: ListenOptions) -> Int32
    /// Returns the descriptor of an accepted connection, or the negative error number.
    func accept(_ listener: Int32) -> Int32
    /// Returns a descriptor that becomes writable when the outcome is there, or the negative error number.
    func connect(_ address: SocketAddress) -> Int32
    /// The outcome of `connect`, or what broke the connection: 0 or an error number.
    func pendingError(_ descriptor: Int32) -> Int32
    /// Returns how many bytes were read, 0 at the end, or the negative error number.
    func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Int
    /// Returns how many bytes were written, or the negative error number.
    func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int
    /// Sends nothing more. Returns 0, or the negative error number.
    func shutdownWrite(_ descriptor: Int32) -> Int32
    /// Makes the end of a connection, which is about to be closed, a reset: what was not sent is dropped.
    func breakOff(_ descriptor: Int32)
    /// Closes a descriptor.
    func close(_ descriptor: Int32)
    /// The address of this end; nil if there is none.
    func localAddress(_ descriptor: Int32) -> SocketAddress?
    /// The address of the other end; nil if there is none.
    func peerAddress(_ descriptor: Int32) -> SocketAddress?
    /// The addresses of a host, with the port.
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

    /// Options of a listener; those that are left out are the defaults.
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
    /// There is no such host.
    case notFound(host: String)
    /// Whether there is such a host could not be found out.
    case failed(host: String, reason: String)

    public var description: String {
        switch self {
        case .notFound(let host): "no address for \(host)"
        case .failed(let host, let reason): "cannot resolve \(host): \(reason)"
        }
    }
}
