import Basics
import Bytes
import HTTP1
import Memory
import Synchronization
import Telemetry

/// The hot state of one server.
struct ServerCore: ~Copyable {
    let limits: HTTPLimits
    let cors: CORSPolicy
    let proxies: TrustedProxies
    let hosts: HostNames
    /// `cors.exposedLine`.
    let exposedLine: [UInt8]
    let requestIDs: Bool
    let problemTypes: String?
    let metrics: HTTPMetrics?
    var log: RequestLog
    let connections = Slab<HTTPConnection>()
    /// Requests whose bodies are coming.
    let pending = Slab<PendingRequest>(initialCount: 16)
    /// Answers that are not written yet.
    let answers = Slab<WaitingAnswer>(initialCount: 16)
    let table: HTTP1HeadTable
    var date = HTTP1DateCache()
    /// Until when, loop nanoseconds, `date` need not be looked at.
    var dateHolds: UInt64 = 0
    /// Of request identifiers.
    var random: SplitMix
    /// Where a body is written before its length is known.
    var scratch = ByteBuffer()
    /// Bytes of memory for bodies that are coming, and of answers that wait for their turn, of all connections.
    var heldBodyBytes = 0
    var heldAnswerBytes = 0
    /// Every answer is the last of its connection.
    var isDraining = false
    /// A connection on which nothing is asked ends at once.
    var endsQuiet = false
    /// The end of this turn was asked for, to reclaim places.
    var reclaims = false

    init(
        limits: HTTPLimits, cors: CORSPolicy, proxies: TrustedProxies, hosts: HostNames, requestIDs: Bool,
        problemTypes: String?, metrics: HTTPMetrics?,
        log: RequestLog, seed: UInt64
    ) {
        random = SplitMix(seed: seed)
        self.limits = limits
        self.cors = cors
        self.proxies = proxies
        self.hosts = hosts
        exposedLine = cors.exposedLine
        self.requestIDs = requestIDs
        self.problemTypes = problemTypes
        self.metrics = metrics
        self.log = log
        table = HTTP1HeadTable(limits: limits.http1)
    }
}

/// Where a responder finds its server: a responder is plain data, and may be kept longer than the server lives.
///
/// `@safe`: the word that it points to is never freed nor given to another (there is one per server), and says nil once the
/// server has ended; it is used on the server's loop only.
@safe struct ServerAnchor {
    private let word: UnsafeMutablePointer<Unmanaged<HTTPServer>?>

    private static let words = Mutex(AnchorWords())

    init() { unsafe word = Self.words.withLock { unsafe $0.take() } }

    func set(_ server: HTTPServer?) {
        unsafe word.pointee = server.map { unsafe Unmanaged.passUnretained($0) }
    }

    /// Does something with the server, if it is still there.
    @inline(__always)
    func server<Result>(_ body: (HTTPServer) -> Result) -> Result? {
        guard let server = unsafe word.pointee else { return nil }
        return unsafe server._withUnsafeGuaranteedRef(body)
    }
}

/// The words of all anchors: in blocks that the process keeps hold of, so that a leak checker finds none that is lost.
///
/// `@safe`: it gives each word out once, and reads none.
@safe private struct AnchorWords {
    private static let perBlock = 64
    private var blocks: [UnsafeMutablePointer<Unmanaged<HTTPServer>?>]
    private var taken = 0

    init() { unsafe blocks = [] }

    mutating func take() -> UnsafeMutablePointer<Unmanaged<HTTPServer>?> {
        let place = taken % Self.perBlock
        if place == 0 {
            let block = UnsafeMutablePointer<Unmanaged<HTTPServer>?>.allocate(capacity: Self.perBlock)
            unsafe block.initialize(repeating: nil, count: Self.perBlock)
            unsafe blocks.append(block)
        }
        taken += 1
        return unsafe blocks[blocks.count - 1] + place
    }
}
