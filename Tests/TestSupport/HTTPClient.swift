import Glibc

/// A blocking client of HTTP/1.1 that sends what it is told, right or wrong. Every wait ends after five seconds.
public final class Client {
    private let descriptor: Int32
    private var received: [UInt8] = []

    /// Connects to a port of this machine.
    public init(_ port: UInt16) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let outcome = unsafe withLoopbackAddress(port) { unsafe connect(descriptor, $0, $1) }
        precondition(outcome == 0, "the server listens")
        var timeout = timeval(tv_sec: 5, tv_usec: 0)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// Sends bytes as they are.
    @discardableResult
    public func send(_ text: String) -> Client { send(bytes: Array(text.utf8)) }

    /// The same for what is no text.
    @discardableResult
    public func send(bytes: [UInt8]) -> Client {
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

    /// Half-closes.
    public func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Reads once; false at the end of the stream, after a reset, or after five seconds.
    private func receive() -> Int {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = unsafe buffer.withUnsafeMutableBytes { unsafe recv(descriptor, $0.baseAddress, $0.count, 0) }
        if count > 0 { received += buffer[..<count] }
        return count
    }

    /// Everything up to the end of the stream. "RESET" or "TIMEOUT" stands at the end when it was not orderly.
    public func all() -> String {
        while true {
            let count = receive()
            if count > 0 { continue }
            let text = take(received.count)
            return count == 0 ? text : text + (errno == EAGAIN ? "TIMEOUT" : "RESET")
        }
    }

    /// Reads until these bytes are there, and tells whether they came before the end of the stream or five seconds of silence.
    public func receives(_ bytes: [UInt8]) -> Bool {
        while !received.contains(bytes) {
            if receive() <= 0 { return false }
        }
        return true
    }

    /// The next response with a Content-Length (or none), as text.
    public func response(hasBody: Bool = true) -> String {
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
    public func range(of text: String) -> Range<Index>? { ranges(of: text).first }

    /// The status code of a response.
    public var status: Int { Int(dropFirst(9).prefix(3)) ?? 0 }

    /// What follows the head.
    public var body: String { range(of: "\r\n\r\n").map { String(self[$0.upperBound...]) } ?? "" }

    /// The value of a response's field.
    public func field(_ name: String) -> String? {
        guard let range = lowercased().range(of: "\r\n" + name.lowercased() + ": ") else { return nil }
        return String(self[range.upperBound...].prefix { $0 != "\r\n" && $0 != "\r" })
    }
}
