import Bytes
import HTTP1
import HTTPServer
import Reactor
import ReactorSim
import TestSupport

/// An HTTP server in a simulated world, and a loop for its clients.
struct SimulatedHTTP {
    let network: SimulatedNetwork
    let loop: EventLoop
    let clients: EventLoop
    let server: HTTPServer
    let address: SocketAddress
    private let trust: TLSClientContext?

    init(
        seed: UInt64 = 1, options: SimulationOptions = .init(), limits: HTTPLimits = .init(), tls: Bool = false,
        proxies: TrustedProxies = .init(), gate: (any ConnectionGate)? = nil, proxyProtocol: Bool = false,
        _ routes: (EventLoop, Router) -> Void
    ) throws {
        network = SimulatedNetwork(seed: seed, options: options)
        loop = try network.makeLoop()
        var patient = EventLoop.Configuration()
        // A client that has closed its half waits for the end.
        patient.lingerTimeout = .seconds(1000)
        clients = try network.makeLoop(configuration: patient)
        let router = Router()
        routes(loop, router)
        let server = HTTPServer(loop: loop, router: router, limits: limits, proxies: proxies)
        self.server = server
        let certificate = TestCertificate.shared
        let context =
            tls
            ? try TLSServerContext(
                certificatePath: certificate.certificatePath, keyPath: certificate.keyPath, alpn: []) : nil
        trust =
            tls
            ? try TLSClientContext(serverName: "localhost", trustedPath: certificate.certificatePath, alpn: []) : nil
        address = try server.listen(.loopback(port: 80), tls: context, gate: gate, proxyProtocol: proxyProtocol)
            .localAddress
    }

    /// - Parameter readRate: bytes a second that the client takes; nil: as many as come.
    func client(_ script: String = "", readRate: Int? = nil, at place: SocketAddress? = nil) -> SimulatedPeer {
        let peer = SimulatedPeer(loop: clients, to: place ?? address, tls: trust, readRate: readRate)
        peer.say(script)
        return peer
    }

    /// Runs for so many virtual seconds.
    func run(_ seconds: Double) { network.run(for: UInt64(seconds * 1e9)) }

    /// Virtual seconds since `instant`.
    func seconds(since instant: UInt64) -> Double { Double(network.now - instant) * 1e-9 }
}

extension HTTPLimits {
    /// Those that `HTTP1Corpus` is made for, and the files of the corpus.
    static var corpus: HTTPLimits {
        var limits = HTTPLimits()
        limits.http1.headBytes = HTTP1Corpus.headBytes
        limits.http1.targetBytes = HTTP1Corpus.targetBytes
        limits.http1.fields = HTTP1Corpus.fieldLines
        limits.http1.methodBytes = HTTP1Corpus.methodBytes
        limits.http1.chunkExtensionBytes = HTTP1Corpus.chunkExtensionBytes
        limits.http1.trailerBytes = HTTP1Corpus.trailerBytes
        limits.bodyBytes = HTTP1Corpus.bodyBytes
        limits.discardedBodyBytes = HTTP1Corpus.bodyBytes
        return limits
    }
}

/// A peer that says bytes as they are, and keeps what it hears.
final class SimulatedPeer: ConnectionHandler {
    let loop: EventLoop
    private(set) var id = ConnectionID.none
    private var isOpen = false
    private var waiting: [UInt8] = []
    private var halfCloses = false
    private let readRate: Int?
    /// What was heard.
    private(set) var heard = ""
    /// When something was heard last, and when the connection ended; loop nanoseconds.
    private(set) var heardAt: UInt64 = 0
    private(set) var endedAt: UInt64?
    private(set) var reason: CloseReason?
    private(set) var sent = 0
    /// Takes no more than that many bytes, but for those that `readOne` takes.
    var stopsReadingAt = Int.max

    init(loop: EventLoop, to address: SocketAddress, tls: TLSClientContext?, readRate: Int?) {
        self.loop = loop
        self.readRate = readRate
        super.init()
        id = loop.connect(address, timeout: 5_000_000_000, tls: tls, handler: self)
    }

    var statuses: [Int] {
        heard.components(separatedBy: "HTTP/1.1 ").dropFirst().compactMap { Int($0.prefix(3)) }
    }

    func say(_ text: String) { say(Array(text.utf8)) }

    func say(_ bytes: [UInt8]) {
        sent += bytes.count
        if isOpen { unsafe loop.output(id)?.pointee.append(bytes) } else { waiting += bytes }
    }

    /// Says nothing more. What comes is taken and forgotten.
    func finishSending() {
        if isOpen { loop.closeAfterFlush(id, drain: true) } else { halfCloses = true }
    }

    /// Takes one byte more.
    func readOne() {
        stopsReadingAt += 1
        loop.resumeReading(id)
    }

    func stopReading() { loop.pauseReading(id) }
    func goOnReading() { loop.resumeReading(id) }
    func close() { loop.close(id) }

    override func connectionOpened(_ id: ConnectionID) {
        isOpen = true
        unsafe loop.output(id)?.pointee.append(waiting)
        if halfCloses { finishSending() }
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        heardAt = loop.now
        if heard.utf8.count + bytes.count > stopsReadingAt {
            let count = max(0, stopsReadingAt - heard.utf8.count)
            heard += unsafe String(decoding: UnsafeRawBufferPointer(rebasing: bytes[..<count]), as: UTF8.self)
            loop.pauseReading(id)
            return count
        }
        guard let readRate else {
            heard += unsafe String(decoding: bytes, as: UTF8.self)
            return bytes.count
        }
        // A tenth of a second's bytes ten times a second. What is left over stays kept, and nothing more is read.
        let count = min(bytes.count, max(1, readRate / 10))
        heard += unsafe String(decoding: UnsafeRawBufferPointer(rebasing: bytes[..<count]), as: UTF8.self)
        loop.pauseReading(id)
        let pause = UInt64(Double(count) / Double(readRate) * 1e9)
        loop.schedule(after: pause) { [loop] in loop.resumeReading(id) }
        return count
    }

    override func connectionReadClosed(_ id: ConnectionID) { loop.close(id) }

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        endedAt = loop.now
        self.reason = reason
    }
}

extension String {
    /// The parts between `separator`s, as Foundation has it.
    fileprivate func components(separatedBy separator: String) -> [Substring] {
        var parts: [Substring] = []
        var rest = self[...]
        while let range = rest.firstRange(of: separator) {
            parts.append(rest[..<range.lowerBound])
            rest = rest[range.upperBound...]
        }
        return parts + [rest]
    }
}
