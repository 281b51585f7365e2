import GRPCRuntime
import Glibc
import Reactor
import Synchronization
import TestSupport
import Testing

/// Our server on a real loop and a thread of its own.
private final class LiveServer: Sendable {
    private let group: EventLoopGroup
    private let bound = Mutex<UInt16>(0)

    /// - Parameter tasks: handlers are tasks instead of callbacks.
    init(tasks: Bool = false, tls: TLSServerContext? = nil) throws {
        group = try EventLoopGroup(count: 1)
        try group.start { [self] loop in
            let registry = ServiceRegistry()
            if tasks {
                Cabstand_Test_Echo.register(AsyncEcho(), in: registry)
            } else {
                Cabstand_Test_Echo.register(EchoService(), in: registry)
            }
            let server = GRPCServer(loop: loop, registry: registry)
            let listener = try? server.listen(.loopback(port: 0), tls: tls)
            bound.withLock { $0 = listener?.localAddress.port ?? .max }
        }
        while port == 0 { usleep(500) }
    }

    deinit {
        group.stop()
        group.join()
    }

    var port: UInt16 { bound.withLock { $0 } }
}

/// One certificate for both sides of a connection, and who has signed it.
private enum TLSPair {
    static let authority = TestCertificate("Authority", names: "")
    static let localhost = TestCertificate(names: "DNS:localhost,IP:127.0.0.1", signedBy: authority)
    static var arguments: [String] { [authority.certificatePath, localhost.certificatePath, localhost.keyPath] }
}

/// Official and other people's programs on the other side.
@Suite struct InteropTests {
    private static let python = Tool.python(importing: ["grpc", "google.protobuf"])
    private static let grpcurl = Tool.find("grpcurl")
    private static let h2spec = Tool.find("h2spec")
    private static let peer = Tool.repository + "/Tests/GRPCRuntimeTests/grpcio_peer.py"
    private static var descriptor: String {
        Cabstand_Test_Echo.fileDescriptor.map { byte in
            let text = String(byte, radix: 16)
            return text.utf8.count == 1 ? "0" + text : text
        }.joined()
    }

    @Test(
        .enabled(if: python != nil, "needs grpcio: .build/venv/bin/pip install grpcio protobuf"),
        arguments: [false, true], [false, true])
    func grpcioClientCallsOurServer(tasks: Bool, isTLS: Bool) throws {
        let (authority, certificate) = (TLSPair.authority, TLSPair.localhost)
        let tls =
            try isTLS
            ? TLSServerContext(
                certificatePath: certificate.certificatePath, keyPath: certificate.keyPath,
                clients: .required(authoritiesPath: authority.certificatePath)) : nil
        let server = try LiveServer(tasks: tasks, tls: tls)
        let result = try ChildProcess.run(
            #require(Self.python),
            [Self.peer, Self.descriptor, "client", "\(server.port)"] + (isTLS ? TLSPair.arguments : []), timeout: 120)
        #expect(result.status == 0, "\(result.output)\(result.errors)")
        #expect(result.output.split(separator: "\n").count == 19)
    }

    @Test(
        .enabled(if: python != nil, "needs grpcio: .build/venv/bin/pip install grpcio protobuf"),
        arguments: [false, true])
    func ourClientCallsAGrpcioServer(isTLS: Bool) throws {
        let peer = try ChildProcess(
            #require(Self.python), [Self.peer, Self.descriptor, "server"] + (isTLS ? TLSPair.arguments : []))
        defer { peer.kill() }
        try peer.waitForOutput("port ", seconds: 60)
        try #require(waitUntil(10) { peer.output.contains("\n") })
        let port = try #require(peer.output.split(separator: "\n")[0].split(separator: " ").last)

        let loop = try EventLoop()
        var channelOptions = ChannelOptions()
        if isTLS {
            let own = TLSPair.localhost
            channelOptions.tls = try TLSClientContext(
                trustedPath: TLSPair.authority.certificatePath,
                identity: TLSIdentity(certificatePath: own.certificatePath, keyPath: own.keyPath))
        }
        let channel = GRPCChannel(loop: loop, target: "127.0.0.1:\(port)", options: channelOptions)
        let echo = Cabstand_Test_EchoClient(channel: channel)
        let limit = loop.preciseNow() + 60 * .second
        _ = loop.schedule(every: 20 * .millisecond) {}
        func wait<Value>(_ value: () -> Value?) throws -> Value {
            while value() == nil {
                try #require(loop.preciseNow() < limit, "no answer within a minute")
                loop.turn()
            }
            return try #require(value())
        }
        func unary(
            _ options: CallOptions = CallOptions(), _ fill: (inout EchoRequest) -> Void
        ) throws -> Result<EchoResponse, RPCError> {
            var request = EchoRequest()
            fill(&request)
            var result: Result<EchoResponse, RPCError>?
            echo.unary(request, options: options) { result = $0 }
            return try wait { result }
        }

        var options = CallOptions(timeoutNanoseconds: 30 * .second)
        options.metadata.add("x-key", "value")
        options.metadata.add("x-raw-bin", binary: [0, 255, 1])
        let response = try unary(options) {
            $0.text = "grüße"
            $0.payload = Array(repeating: 7, count: 1_000_000)
        }.success
        #expect(response?.text == "grüße")
        #expect(response?.payload.count == 1_000_000)
        #expect(response?.metadata == ["x-key=value", "x-raw-bin=[0, 255, 1]"])

        var inGzip = options
        inGzip.compression = .gzip
        var packed = EchoRequest(text: "in gzip")
        packed.payload = Array(repeating: 7, count: 1_000_000)
        var inGzipResult: Result<EchoResponse, RPCError>?
        let inGzipCall = echo.unary(packed, options: inGzip) { inGzipResult = $0 }
        #expect(try wait { inGzipResult }.success?.payload.count == 1_000_000)
        #expect(inGzipCall.answerWasCompressed)

        let error = try unary(options) {
            $0.failCode = 9
            $0.failMessage = "100 % — nein"
            $0.failDetails = [8, 9]
        }.error
        #expect(error?.code == .failedPrecondition)
        #expect(error?.message == "100 % — nein")
        #expect(error?.statusDetails == [8, 9])
        #expect(error?.trailers["x-failed"] == "yes")

        let late = try unary(CallOptions(timeoutNanoseconds: 100 * .millisecond)) { $0.delayMs = 2000 }.error
        #expect(late?.code == .deadlineExceeded)
        #expect(waitUntil(5) { peer.output.contains("ended") }, "the server hears of it")

        let call = echo.collect(options: options)
        var request = EchoRequest()
        request.payload = Array(repeating: 1, count: 10_000)
        for _ in 0..<100 { call.send(request) }
        var collected: Result<EchoResponse, RPCError>?
        call.finish { collected = $0 }
        #expect(try wait { collected }.success?.count == 100)

        var counts: [Int32] = []
        var end: RPCError??
        request.repeat = 300
        echo.expand(request, options: options) {
            counts.append($0.count)
        } onEnd: {
            end = .some($0)
        }
        #expect(try wait { end } == nil)
        #expect(counts == Array(1...300))

        // The third message is sent when the second has been answered: neither side waits for the other's end.
        var talked: [String] = []
        var talk: BidirectionalCall<EchoRequest>?
        end = nil
        talk = echo.talk(options: options) {
            talked.append($0.text)
            if talked.count == 2 {
                talk?.send(EchoRequest(text: "c"))
                talk?.finish()
            }
        } onEnd: {
            end = .some($0)
        }
        talk?.send(EchoRequest(text: "a"))
        talk?.send(EchoRequest(text: "b"))
        #expect(try wait { end } == nil)
        #expect(talked == ["a", "b", "c"])

        let bound = LoopBound(echo, loop: loop)
        let streamed = Mutex(0)
        loop.spawn {
            let (requests, responses) = bound.value.talk()
            var count = 0
            do {
                for index in 0..<50 {
                    try await requests.send(EchoRequest(text: "\(index)"))
                    if try await responses.next()?.text == "\(index)" { count += 1 }
                }
                requests.finish()
                if try await responses.next() == nil { count += 1 }
            } catch {}
            streamed.withLock { $0 = count }
        }
        #expect(try wait { streamed.withLock { $0 == 0 ? nil : $0 } } == 51)

        var answered = 0
        for index in 0..<500 {
            var request = EchoRequest()
            request.text = "\(index)"
            echo.unary(request, options: options) { if $0.success?.text == request.text { answered += 1 } }
        }
        _ = try wait { answered == 500 ? true : nil }

        peer.kill()
        #expect(try unary(CallOptions(timeoutNanoseconds: 30 * .second)) { _ in }.error?.code == .unavailable)
        channel.close()
    }

    @Test(.enabled(if: grpcurl != nil, "needs grpcurl on the PATH: https://github.com/fullstorydev/grpcurl/releases"))
    func grpcurlUsesReflectionAndHealth() throws {
        let server = try LiveServer()
        let grpcurl = try #require(Self.grpcurl)
        func run(_ arguments: String...) throws -> String {
            let result = try ChildProcess.run(grpcurl, ["-plaintext"] + arguments, timeout: 60)
            return result.output + result.errors
        }
        let address = "127.0.0.1:\(server.port)"
        let list = try run(address, "list")
        #expect(
            list.split(separator: "\n") == [
                "cabstand.test.Echo", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
            ])
        #expect(try run(address, "describe", "cabstand.test.Echo").contains("rpc Collect ( stream"))
        #expect(try run(address, "describe", "cabstand.test.EchoRequest").contains("int32 delay_ms = 4;"))
        #expect(try run(address, "describe", "cabstand.test.Nope").contains("not found"))
        #expect(try run("-d", #"{"text":"hi"}"#, address, "cabstand.test.Echo/Unary").contains(#""text": "hi""#))
        #expect(
            try run("-d", #"{"text":"a"} {"text":"b"}"#, address, "cabstand.test.Echo/Collect")
                .contains(#""text": "a,b""#))
        let stream = try run("-d", #"{"text":"s","repeat":3}"#, address, "cabstand.test.Echo/Expand")
        #expect(stream.contains(#""count": 3"#))
        let talk = try run("-d", #"{"text":"a"} {"text":"b","repeat":2}"#, address, "cabstand.test.Echo/Talk")
        #expect(talk.split(separator: "\n").count { $0.contains("text") } == 3)
        #expect(try run(address, "grpc.health.v1.Health/Check").contains("SERVING"))
        #expect(try run("-d", #"{"service":"nope"}"#, address, "grpc.health.v1.Health/Check").contains("NotFound"))
        #expect(
            try run(
                "-max-time", "1", "-d", #"{"service":"cabstand.test.Echo"}"#, address, "grpc.health.v1.Health/Watch"
            )
            .contains("SERVING"))
    }

    @Test(.enabled(if: h2spec != nil, "needs h2spec on the PATH: https://github.com/summerwind/h2spec/releases"))
    func h2specPasses() throws {
        let server = try LiveServer()
        let result = try ChildProcess.run(
            #require(Self.h2spec), ["-h", "127.0.0.1", "-p", "\(server.port)", "--strict", "-o", "5"], timeout: 300)
        #expect(result.status == 0, "\(result.output.suffix(3000))")
        #expect(result.output.contains("146 passed, 0 skipped, 0 failed"), "\(result.output.suffix(300))")
    }
}
