import Bytes
import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// gRPC over HTTP/2: what the server says to clients that do it wrong (behaviour 25).
@Suite struct ServerProtocolTests {
    private static let fields: [(String, String)] = [
        (":method", "POST"), (":scheme", "http"), (":path", "/cabstand.test.Echo/Unary"), (":authority", "x"),
        ("content-type", "application/grpc"), ("te", "trailers"),
    ]
    private static let empty: [UInt8] = [0, 0, 0, 0, 0]

    private func ask(
        changing: [String: String?] = [:], adding: [(String, String)] = [], body: [UInt8]? = empty,
        endStream: Bool = true
    ) throws -> RawPeer.Answer {
        let world = try World()
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        let fields = Self.fields.compactMap { (name, value) -> (String, String)? in
            guard let changed = changing[name] else { return (name, value) }
            return changed.map { (name, $0) }
        }
        let stream = peer.open()
        peer.headers(stream, fields + adding, endStream: body == nil)
        if let body { peer.data(stream, body, endStream: endStream) }
        world.network.run(until: { peer.answers[stream]?.isEnded == true || peer.answers[stream]?.reset != nil })
        #expect(!peer.isClosed)
        return try #require(peer.answers[stream])
    }

    @Test func aProperCall() throws {
        let answer = try ask()
        #expect(answer.headers == [":status": "200", "content-type": "application/grpc"])
        #expect(answer.trailers["grpc-status"] == "0")
        #expect(answer.body.count == 5)
    }

    @Test func contentTypes() throws {
        for type in [
            "application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "Application/gRPC",
        ] {
            #expect(try ask(changing: ["content-type": type]).trailers["grpc-status"] == "0", "\(type)")
        }
        for type in ["application/json", "application/grpc+json", "application/grpcx", nil] as [String?] {
            let answer = try ask(changing: ["content-type": type])
            #expect(answer.headers[":status"] == "415", "\(type ?? "none")")
        }
    }

    @Test func otherMethods() throws {
        let answer = try ask(changing: [":method": "GET"], body: nil)
        #expect(answer.headers[":status"] == "405")
        #expect(answer.headers["allow"] == "POST")
        #expect(try ask(changing: [":method": "HEAD"], body: nil).body == [])
    }

    @Test func missingTE() throws {
        #expect(try ask(changing: ["te": nil]).headers["grpc-status"] == "13")
    }

    @Test func unknownEncoding() throws {
        let answer = try ask(adding: [("grpc-encoding", "snappy")])
        #expect(answer.headers["grpc-status"] == "12")
        #expect(answer.headers["grpc-accept-encoding"] == "identity,gzip")
        #expect(try ask(adding: [("grpc-encoding", "identity")]).trailers["grpc-status"] == "0")
    }

    @Test func badBodies() throws {
        let bodies: [([UInt8], String)] = [
            ([1, 0, 0, 0, 0], "13"),  // compressed without an encoding
            ([0, 0, 0, 0], "13"), ([0, 0, 0, 0, 3, 1], "13"), ([], "13"),
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "13"),  // two messages
            ([0, 0x40, 0, 0, 1], "8"),  // more than 4 MiB announced
            ([0, 0, 0, 0, 2, 0x0a, 0x7f], "13"),  // not a message
        ]
        for (body, code) in bodies {
            let answer = try ask(body: body)
            #expect((answer.headers["grpc-status"] ?? answer.trailers["grpc-status"]) == code, "\(body)")
        }
        #expect(try ask(body: nil).headers["grpc-status"] == "13", "END_STREAM on HEADERS")
    }

    @Test func tooLargeIsSaidBeforeTheBodyHasCome() throws {
        let answer = try ask(body: [0, 0x7f, 0xff, 0xff, 0xff, 1], endStream: false)
        #expect(answer.headers["grpc-status"] == "8")
    }

    @Test func badTimeouts() throws {
        for text in ["", "1", "S", "123456789S", "-1S", "1s", "1.5S"] {
            #expect(try ask(adding: [("grpc-timeout", text)]).headers["grpc-status"] == "13", "\(text)")
        }
        for text in ["1H", "2M", "99999999S", "1000m", "99999999u", "99999999n"] {
            #expect(try ask(adding: [("grpc-timeout", text)]).trailers["grpc-status"] == "0", "\(text)")
        }
    }

    @Test func http1GetsAHint() throws {
        let world = try World()
        var notices: [String] = []
        world.server.onNotice = { notices.append($0) }
        final class HTTP1: ConnectionHandler {
            let loop: EventLoop
            var text = ""
            var isClosed = false
            init(_ loop: EventLoop) { self.loop = loop }
            override func connectionOpened(_ id: ConnectionID) {
                unsafe loop.output(id)!.pointee.append("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            }
            override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
                unsafe text += String(decoding: bytes, as: UTF8.self)
                return bytes.count
            }
            override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) { isClosed = true }
        }
        let client = HTTP1(world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: client)
        world.network.run(until: { client.isClosed })
        #expect(client.text.contains("HTTP/1.1 505"))
        #expect(client.text.hasSuffix("This port speaks gRPC: HTTP/2 with prior knowledge.\n"))
        #expect(notices.count == 1 && notices[0].contains("HTTP/1"))
    }

    @Test func aClientThatNeverSpeaksIsClosed() throws {
        let world = try World()
        final class Silent: ConnectionHandler {}
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: Silent())
        world.network.run(for: .second)
        #expect(world.server.connectionCount == 1)
        world.network.run(for: 11 * .second)
        #expect(world.server.connectionCount == 0)
    }

    @Test func rapidResetsWithSlowHandlersEndTheConnection() throws {
        let world = try World()
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        for _ in 0..<201 {
            let stream = peer.open()
            peer.headers(stream, Self.fields)
            peer.reset(stream, .cancel)
        }
        world.network.run(until: { peer.isClosed })
        #expect(peer.goAway == .enhanceYourCalm)
    }
}

/// gRPC over HTTP/2: what the client makes of servers that do it wrong (behaviour 25).
@Suite struct ClientProtocolTests {
    private func answer(
        options: CallOptions = CallOptions(), attempts: Int = 1, _ script: @escaping (RawPeer, UInt32, Int) -> Void
    ) throws -> (RPCError?, [UInt32: RawPeer.Answer]) {
        let world = try World(listens: false)
        let peer = RawPeer(.server, world.serverLoop)
        try world.serverLoop.listen(.loopback(port: World.port), handler: peer)
        var requests = 0
        peer.onRequest = { [unowned peer] stream in
            requests += 1
            script(peer, stream, requests)
        }
        let result = world.unary(options)
        world.network.run(for: 100 * .millisecond)
        #expect(requests == attempts)
        return (result?.error, peer.answers)
    }

    private static let head: [(String, String)] = [(":status", "200"), ("content-type", "application/grpc")]

    @Test func requestHeaders() throws {
        let (_, requests) = try answer(options: CallOptions(timeoutNanoseconds: 5 * .second)) { peer, stream, _ in
            peer.headers(stream, Self.head + [("grpc-status", "0")], endStream: true)
        }
        let headers = try #require(requests[1]?.headers)
        #expect(headers[":method"] == "POST" && headers[":scheme"] == "http")
        #expect(headers[":path"] == "/cabstand.test.Echo/Unary")
        #expect(headers[":authority"] == "localhost:50051")
        #expect(headers["te"] == "trailers" && headers["content-type"] == "application/grpc")
        #expect(headers["grpc-timeout"]?.hasSuffix("u") == true || headers["grpc-timeout"]?.hasSuffix("n") == true)
    }

    @Test func trailersOnly() throws {
        let (error, _) = try answer { peer, stream, _ in
            peer.headers(
                stream, Self.head + [("grpc-status", "5"), ("grpc-message", "no %E2%82%AC left%"), ("x-extra", "1")],
                endStream: true)
        }
        #expect(error?.code == .notFound)
        #expect(error?.message == "no € left%")
        #expect(error?.trailers["x-extra"] == "1")
    }

    /// What no program wrote must not end the one that reads it: a number is kept as it came as far as an `Int` holds it.
    @Test func aStatusThatIsNoNumberOfOursIsUnknown() throws {
        let texts: [(String, StatusCode)] = [
            ("18446744073709551615", .unknown), ("9223372036854775808", .unknown), ("99999999999999999999", .unknown),
            ("9223372036854775807", StatusCode(rawValue: .max)), ("17", StatusCode(rawValue: 17)), ("-1", .unknown),
            ("", .unknown), ("5x", .unknown),
        ]
        for (text, code) in texts {
            let (only, _) = try answer { peer, stream, _ in
                peer.headers(stream, Self.head + [("grpc-status", text)], endStream: true)
            }
            #expect(only?.code == code, "\(text)")
            let (trailing, _) = try answer { peer, stream, _ in
                peer.headers(stream, Self.head)
                peer.headers(stream, [("grpc-status", text)], endStream: true)
            }
            #expect(trailing?.code == code, "\(text)")
        }
    }

    @Test func okWithoutAMessageIsNoAnswer() throws {
        let (error, _) = try answer { peer, stream, _ in
            peer.headers(stream, Self.head + [("grpc-status", "0")], endStream: true)
        }
        #expect(error?.code == .internal)
    }

    @Test func httpStatusIsMappedWithoutGRPCStatus() throws {
        let map: [(String, StatusCode)] = [
            ("400", .internal), ("401", .unauthenticated), ("403", .permissionDenied), ("404", .unimplemented),
            ("429", .unavailable), ("502", .unavailable), ("503", .unavailable), ("504", .unavailable),
            ("500", .unknown),
        ]
        for (status, code) in map {
            for ends in [true, false] {
                let (error, _) = try answer { peer, stream, _ in
                    peer.headers(stream, [(":status", status), ("content-type", "text/html")], endStream: ends)
                }
                #expect(error?.code == code, "\(status)")
            }
        }
    }

    @Test func answersThatAreNotGRPC() throws {
        let (html, _) = try answer { peer, stream, _ in
            peer.headers(stream, [(":status", "200"), ("content-type", "text/html")])
        }
        #expect(html?.code == .unknown)
        let (missing, _) = try answer { peer, stream, _ in
            peer.headers(stream, Self.head)
            peer.data(stream, [0, 0, 0, 0, 0], endStream: true)
        }
        #expect(missing?.code == .internal)
        let (unnamed, _) = try answer { peer, stream, _ in
            peer.headers(stream, Self.head)
            peer.headers(stream, [("x", "y")], endStream: true)
        }
        #expect(unnamed?.code == .unknown)
        let (two, _) = try answer { peer, stream, _ in
            peer.headers(stream, Self.head)
            peer.data(stream, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            peer.headers(stream, [("grpc-status", "0")], endStream: true)
        }
        #expect(two?.code == .internal)
        let (cut, _) = try answer { peer, stream, _ in
            peer.headers(stream, Self.head)
            peer.data(stream, [0, 0, 0, 0, 9, 1])
            peer.headers(stream, [("grpc-status", "0")], endStream: true)
        }
        #expect(cut?.code == .internal)
    }

    @Test func resetsAreMapped() throws {
        let map: [(HTTP2ErrorCode, StatusCode)] = [
            (.cancel, .cancelled), (.enhanceYourCalm, .resourceExhausted), (.inadequateSecurity, .permissionDenied),
            (.internalError, .internal), (.noError, .internal),
        ]
        for (code, status) in map {
            let (error, _) = try answer { peer, stream, _ in peer.reset(stream, code) }
            #expect(error?.code == status, "\(code)")
        }
    }

    private static func answerWell(_ peer: RawPeer, _ stream: UInt32) {
        peer.headers(stream, head)
        peer.data(stream, [0, 0, 0, 0, 0])
        peer.headers(stream, [("grpc-status", "0")], endStream: true)
    }

    @Test func refusedCallsAreSentAgain() throws {
        let (error, answers) = try answer(attempts: 3) { peer, stream, attempt in
            if attempt < 3 { peer.reset(stream, .refusedStream) } else { Self.answerWell(peer, stream) }
        }
        #expect(error == nil)
        #expect(answers[5]?.body == [0, 0, 0, 0, 0], "with its message")
    }

    @Test func refusedForEverIsUnavailable() throws {
        let (error, _) = try answer(attempts: 6) { peer, stream, _ in peer.reset(stream, .refusedStream) }
        #expect(error?.code == .unavailable)
    }

    @Test func callsBehindAGoAwayAreSentAgainElsewhere() throws {
        let (error, _) = try answer(options: CallOptions(waitForReady: true), attempts: 2) { peer, stream, attempt in
            if attempt == 1 {
                peer.sendGoAway(last: 0)
            } else {
                Self.answerWell(peer, stream)
            }
        }
        #expect(error == nil)
    }
}
