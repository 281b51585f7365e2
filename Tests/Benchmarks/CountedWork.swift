import Bytes
import GRPCRuntime
import HTTP2
import Reactor

#if canImport(Memory)
    import Memory
#endif

/// A given number of operations and an end, for `deploy/count-instructions.py`: what twice as many cost more is the cost of
/// each, without the program's start.
enum CountedWork {
    private final class Caller {
        let loop: EventLoop
        let client: Bench_EchoClient
        var left: Int
        init(loop: EventLoop, client: Bench_EchoClient, left: Int) {
            self.loop = loop
            self.client = client
            self.left = left
        }

        func call() {
            client.unary(Bench_Small(id: "abcd", n: 7)) { result in
                guard case .success = result else { fatalError("\(result)") }
                self.left -= 1
                if self.left == 0 { self.loop.stop() } else { self.call() }
            }
        }
    }

    /// Unary calls to a server on `port`, one after the other.
    static func unaryCalls(_ count: Int, port: UInt16) throws {
        let loop = try EventLoop()
        let channel = GRPCChannel(loop: loop, target: "127.0.0.1:\(port)")
        let caller = Caller(loop: loop, client: Bench_EchoClient(channel: channel), left: count)
        caller.call()
        loop.run()
    }

    /// Calls between two HTTP/2 sessions: headers and a body of 20 bytes there, headers, 20 bytes and trailers back.
    static func streams(_ count: Int) {
        var client = HTTP2Session(role: .client)
        var server = HTTP2Session(role: .server)
        var toServer = ByteBuffer()
        var toClient = ByteBuffer()
        var path = HPACKEncoder.Remembered()
        var te = HPACKEncoder.Remembered()
        var contentType = HPACKEncoder.Remembered()
        var status = HPACKEncoder.Remembered()
        let body = [UInt8](repeating: 1, count: 20)
        client.start(output: &toServer)
        server.start(output: &toClient)
        var answered = 0
        var now: UInt64 = 1_000_000_000
        while answered < count {
            now += 100_000
            if client.hasPeerSettings, case .success(let stream) = client.open(context: 7) {
                let start = client.beginHeaders(output: &toServer)
                client.encoder.encode(staticIndex: 3, into: &toServer)
                client.encoder.encode(staticIndex: 6, into: &toServer)
                client.encoder.encode(":path", "/bench.Echo/Unary", remembered: &path, into: &toServer)
                client.encoder.encode("te", "trailers", remembered: &te, into: &toServer)
                client.endHeaders(start, stream: stream, endStream: false, output: &toServer)
                if client.beginData(stream, count: body.count, endStream: true, output: &toServer) {
                    toServer.append(body)
                }
            }
            unsafe toServer.withUnsafeBytes { input in
                var position = 0
                while true {
                    switch unsafe server.next(input, &position, now: now, output: &toClient) {
                    case .needsMore, .failed: return
                    case .headers(let stream, _): server.setContext(stream, 5)
                    case .data(let stream, _, _, endStream: true):
                        let head = server.beginHeaders(output: &toClient)
                        server.encoder.encode(staticIndex: 8, into: &toClient)
                        server.encoder.encode(
                            "content-type", "application/grpc", remembered: &contentType, into: &toClient)
                        server.endHeaders(head, stream: stream, endStream: false, output: &toClient)
                        if server.beginData(stream, count: body.count, endStream: false, output: &toClient) {
                            toClient.append(body)
                        }
                        let trailers = server.beginHeaders(output: &toClient)
                        server.encoder.encode("grpc-status", "0", remembered: &status, into: &toClient)
                        server.endHeaders(trailers, stream: stream, endStream: true, output: &toClient)
                    default: continue
                    }
                }
            }
            toServer.removeAll()
            unsafe toClient.withUnsafeBytes { input in
                var position = 0
                while true {
                    switch unsafe client.next(input, &position, now: now, output: &toServer) {
                    case .needsMore, .failed: return
                    case .data(let stream, _, let count, _): client.consumed(stream, count, output: &toServer)
                    case .trailers: answered += 1
                    default: continue
                    }
                }
            }
            toClient.removeAll()
        }
    }
}
