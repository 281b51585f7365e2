import Bytes
import Glibc
import HTTPServer
import Reactor
import Synchronization

/// A server on a loop and a thread of its own, for as long as the test runs.
final class LiveServer: Sendable {
    private let group: EventLoopGroup
    private let bound = Mutex<UInt16>(0)

    /// Proof: made on the loop and only used there, by `onServer`.
    private struct Box: @unchecked Sendable { let server: HTTPServer }
    private let box = Mutex<Box?>(nil)

    /// - Parameter setUp: fills the router and returns the server, on the loop.
    init(_ setUp: @escaping @Sendable (EventLoop) -> HTTPServer) throws {
        group = try EventLoopGroup(count: 1)
        group.start { [self] loop in
            let server = setUp(loop)
            self.box.withLock { $0 = Box(server: server) }
            let listener = try? server.listen(.loopback(port: 0))
            self.bound.withLock { $0 = listener?.localAddress.port ?? UInt16.max }
            // The listener, which the loop knows, keeps the server alive.
        }
        while port == 0 { usleep(500) }
    }

    convenience init(
        limits: HTTPLimits = .init(), origins: OriginPolicy = .init(),
        _ routes: @escaping @Sendable (EventLoop, Router) -> Void
    ) throws {
        try self.init { loop in
            let router = Router()
            routes(loop, router)
            return HTTPServer(loop: loop, router: router, limits: limits, origins: origins)
        }
    }

    var port: UInt16 { bound.withLock { $0 } }

    /// Calls `work` on the loop.
    func onServer(_ work: @escaping @Sendable (HTTPServer) -> Void) {
        guard let box = box.withLock({ $0 }) else { return }
        group.loops[0].submit { work(box.server) }
    }

    deinit {
        group.stop()
        group.join()
    }
}

/// A blocking client. Every wait ends after five seconds.
final class Client {
    private let descriptor: Int32
    private(set) var received: [UInt8] = []

    init(_ port: UInt16) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let outcome = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        precondition(outcome == 0, "the server listens")
        var timeout = timeval(tv_sec: 5, tv_usec: 0)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    @discardableResult
    func send(_ text: String) -> Client {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { bytes in
                unsafe Glibc.send(
                    descriptor, bytes.baseAddress.unsafelyUnwrapped + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { break }
            sent += count
        }
        return self
    }

    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Reads once; false at the end of the stream, after a reset, or after five seconds.
    private func receive() -> Int {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = unsafe buffer.withUnsafeMutableBytes { unsafe recv(descriptor, $0.baseAddress, $0.count, 0) }
        if count > 0 { received += buffer[..<count] }
        return count
    }

    /// Everything up to the end of the stream. "RESET" or "TIMEOUT" stands at the end when it was not orderly.
    func all() -> String {
        while true {
            let count = receive()
            if count > 0 { continue }
            let text = take(received.count)
            return count == 0 ? text : text + (errno == EAGAIN ? "TIMEOUT" : "RESET")
        }
    }

    /// The next response with a Content-Length (or none), as text.
    func response(hasBody: Bool = true) -> String {
        while true {
            if let end = endOfHead() {
                let head = String(decoding: received[..<end], as: UTF8.self).lowercased()
                var length = 0
                if hasBody, let range = head.range(of: "content-length: ") {
                    length = Int(head[range.upperBound...].prefix { $0.isNumber }) ?? 0
                }
                if received.count >= end + length { return take(end + length) }
            }
            if receive() <= 0 { return take(received.count) + "INCOMPLETE" }
        }
    }

    private func endOfHead() -> Int? {
        guard received.count >= 4 else { return nil }
        for index in 0...(received.count - 4) where received[index..<(index + 4)].elementsEqual([13, 10, 13, 10]) {
            return index + 4
        }
        return nil
    }

    private func take(_ count: Int) -> String {
        let text = String(decoding: received[..<count], as: UTF8.self)
        received.removeFirst(count)
        return text
    }
}

extension String {
    /// The first place of `text`.
    func range(of text: String) -> Range<Index>? { ranges(of: text).first }

    /// The status code of a response.
    var status: Int { Int(dropFirst(9).prefix(3)) ?? 0 }

    /// What follows the head.
    var body: String { range(of: "\r\n\r\n").map { String(self[$0.upperBound...]) } ?? "" }

    /// The value of a response's field.
    func field(_ name: String) -> String? {
        guard let range = lowercased().range(of: "\r\n" + name.lowercased() + ": ") else { return nil }
        return String(self[range.upperBound...].prefix { $0 != "\r\n" && $0 != "\r" })
    }
}
