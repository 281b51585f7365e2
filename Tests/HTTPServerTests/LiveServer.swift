import Glibc
import HTTP1
import HTTPServer
import Reactor
import Synchronization
import TestSupport

/// A server on a loop and a thread of its own, for as long as the test runs.
final class LiveServer: Sendable {
    private let group: EventLoopGroup
    /// What the loop's thread made; that thread must not hold the server, or nothing would ever end it.
    private let made = Made()

    private final class Made: Sendable {
        let port = Mutex<UInt16>(0)
        /// Proof: made on the loop and only used there, by `onServer`.
        struct Box: @unchecked Sendable { let server: HTTPServer }
        let box = Mutex<Box?>(nil)
    }

    /// - Parameter setUp: fills the router and returns the server, on the loop.
    init(_ setUp: @escaping @Sendable (EventLoop) -> HTTPServer) throws {
        group = try EventLoopGroup(count: 1)
        try group.start { [made] loop in
            let server = setUp(loop)
            made.box.withLock { $0 = Made.Box(server: server) }
            let listener = try? server.listen(.loopback(port: 0))
            made.port.withLock { $0 = listener?.localAddress.port ?? UInt16.max }
            // The listener, which the loop knows, keeps the server alive.
        }
        while port == 0 { usleep(500) }
    }

    static let problemTypes = "urn:example:problem:"

    convenience init(
        limits: HTTPLimits = .init(), cors: CORSPolicy = .init(), proxies: TrustedProxies = .init(),
        hosts: HostNames = .all,
        _ routes: @escaping @Sendable (EventLoop, Router) -> Void
    ) throws {
        try self.init { loop in
            let router = Router()
            routes(loop, router)
            return HTTPServer(
                loop: loop, router: router, limits: limits, cors: cors, proxies: proxies, hosts: hosts,
                problemTypes: Self.problemTypes)
        }
    }

    var port: UInt16 { made.port.withLock { $0 } }

    /// Calls `work` on the loop.
    func onServer(_ work: @escaping @Sendable (HTTPServer) -> Void) {
        guard let box = made.box.withLock({ $0 }) else { return }
        group.loops[0].submit { work(box.server) }
    }

    deinit {
        group.stop()
        group.join()
    }
}
