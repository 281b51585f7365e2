import Glibc

/// A blocking HTTP/1.1 client on one kept-alive connection to 127.0.0.1, for tests that talk to real programs.
///
/// `send` and `receive` are apart, so that one thread can have requests on several connections at the same instant.
/// After an error the connection is gone; the next request makes a new one.
public final class HTTPConnection {
    public struct Response: Sendable {
        public let status: Int
        public let head: String
        public let body: String

        /// The text behind `"name":"` in the body; nil if it is not there.
        public func text(_ name: String) -> String? {
            guard let start = body.firstRange(of: "\"\(name)\":\"") else { return nil }
            return String(body[start.upperBound...].prefix { $0 != "\"" })
        }
    }

    private let port: UInt16
    private let token: String?
    private let timeout: Int
    private var descriptor: Int32 = -1
    private var input: [UInt8] = []

    /// - Parameters:
    ///   - token: an access token that goes along with every request that brings no `Authorization` of its own.
    ///   - timeout: seconds for an answer.
    public init(port: UInt16, token: String? = nil, timeout: Int = 30) {
        self.port = port
        self.token = token
        self.timeout = timeout
    }

    deinit { close() }

    public func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
        input = []
    }

    /// Sends a request and waits for its answer; nil: no answer (refused, reset, too late).
    public func request(
        _ method: String, _ path: String, _ body: String? = nil, headers: [String: String] = [:]
    ) -> Response? {
        guard send(method, path, body, headers: headers) else { return nil }
        return receive()
    }

    /// Sends a request. False: it can't be sent.
    public func send(
        _ method: String, _ path: String, _ body: String? = nil, headers: [String: String] = [:]
    ) -> Bool {
        guard connect() else { return false }
        var text = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        if let token, headers["Authorization"] == nil { text += "Authorization: Bearer \(token)\r\n" }
        if let body { text += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n" }
        text += "\r\n" + (body ?? "")
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else {
                close()
                return false
            }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Waits for the answer to a request that was sent; nil: none came.
    public func receive() -> Response? {
        guard descriptor >= 0 else { return nil }
        while true {
            if let response = parse() { return response }
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = unsafe read(descriptor, &chunk, chunk.count)
            guard count > 0 else {
                close()
                return nil
            }
            input += chunk.prefix(count)
        }
    }

    /// A whole answer with a Content-Length, if it is there.
    private func parse() -> Response? {
        guard let end = headEnd() else { return nil }
        let head = String(decoding: input[..<end], as: UTF8.self)
        var length = 0
        for line in head.split(separator: "\r\n") where line.lowercased().hasPrefix("content-length:") {
            length = Int(line.dropFirst("content-length:".count).drop { $0 == " " }) ?? 0
        }
        guard input.count >= end + 4 + length else { return nil }
        let body = String(decoding: input[(end + 4)..<(end + 4 + length)], as: UTF8.self)
        input.removeFirst(end + 4 + length)
        let status = head.split(separator: " ", maxSplits: 2).dropFirst().first.flatMap { Int($0) } ?? 0
        return Response(status: status, head: head, body: body)
    }

    private func headEnd() -> Int? {
        guard input.count >= 4 else { return nil }
        return (0...(input.count - 4)).first {
            input[$0] == 13 && input[$0 + 1] == 10 && input[$0 + 2] == 13 && input[$0 + 3] == 10
        }
    }

    private func connect() -> Bool {
        if descriptor >= 0 { return true }
        input = []
        let new = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard new >= 0 else { return false }
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        unsafe setsockopt(new, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let result = unsafe withLoopbackAddress(port) { unsafe Glibc.connect(new, $0, $1) }
        guard result == 0 else {
            Glibc.close(new)
            return false
        }
        descriptor = new
        return true
    }
}
