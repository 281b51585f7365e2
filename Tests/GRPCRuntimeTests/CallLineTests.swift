import GRPCRuntime
import Glibc
import Telemetry
import TestSupport
import Testing

/// The lines that a server logs about calls, in virtual time.
@Suite struct CallLineTests {
    private func lines(_ level: LogLevel, _ body: (World) throws -> Void) throws -> [String] {
        let folder = TemporaryFolder()
        let path = folder.file("log")
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        defer { close(descriptor) }
        let sink = LogSink(descriptor: descriptor, level: level, format: .json)
        try body(try World(logger: Logger(label: "grpc", sink: sink)))
        sink.flush()
        return TemporaryFolder.read(path).split(separator: "\n").map(String.init)
    }

    private let origin: CallOptions = {
        var options = CallOptions()
        options.metadata.add("x-other", "first")
        options.metadata.add("x-request-id", "r-1")
        options.metadata.add("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        return options
    }()

    @Test func onlyWhatFailsOrIsSlowLeavesALineAtTheDefaultLevel() throws {
        let all = try lines(.info) { world in
            _ = world.unary(origin)
            _ = world.unary(origin) { $0.failCode = Int32(StatusCode.notFound.rawValue) }
            _ = world.unary(origin) { $0.delayMs = 2000 }
            _ = world.unary(origin) { $0.failCode = Int32(StatusCode.internal.rawValue) }
            _ = world.unary { $0.failCode = Int32(StatusCode.unavailable.rawValue) }
            // A stream may last.
            var last: Int32 = 0
            var ended = false
            var request = EchoRequest()
            request.repeat = 3
            request.delayMs = 2000
            _ = world.echo.expand(request, onMessage: { last = $0.count }, onEnd: { _ in ended = true })
            _ = world.wait { ended ? last : nil }
            #expect(ended)
        }
        #expect(all.count == 3, "\(all)")
        let identifiers =
            "\"request_id\":\"r-1\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"span_id\":\"00f067aa0ba902b7\""
        #expect(all[0].contains("\"level\":\"warning\"") && all[0].contains("\"message\":\"slow call\""))
        #expect(all[0].contains("/Unary\",\"code\":\"OK\",\"duration_ms\":2") && all[0].contains(identifiers))
        #expect(all[1].contains("\"level\":\"error\"") && all[1].contains("\"code\":\"INTERNAL\""))
        #expect(all[1].contains("\"message\":\"failed call\"") && all[1].contains(identifiers))
        #expect(all[2].contains("\"level\":\"warning\"") && all[2].contains("\"code\":\"UNAVAILABLE\""))
        #expect(!all[2].contains("request_id"))
    }

    /// A stop wrote a warning for each watcher, and failed streams were said to have taken no time.
    @Test(arguments: [false, true])
    func aStreamThatEndsWithItsServerHasNotFailed(stops: Bool) throws {
        let all = try lines(.info) { world in
            var ended = false
            var request = EchoRequest()
            request.stayOpen = true
            _ = world.echo.expand(request, onMessage: { _ in }, onEnd: { _ in ended = true })
            world.network.run(for: 2 * .second)
            let call = try #require(world.service.expanding.first)
            world.serverLoop.execute { [server = world.server] in
                if stops { server.drain {} }
                call.fail(RPCError(code: .unavailable, message: "ending"))
            }
            #expect(world.wait { ended ? true : nil } == true)
        }
        #expect(all.count == (stops ? 0 : 1), "\(all)")
        if !stops {
            #expect(all[0].contains("\"level\":\"warning\"") && all[0].contains("/Expand\",\"code\":\"UNAVAILABLE\""))
            #expect(all[0].contains("\"message\":\"failed call\"") && all[0].contains("\"duration_ms\":1"))
        }
    }

    @Test func everyCallHasALineAtDebug() throws {
        let all = try lines(.debug) { world in
            for _ in 0..<3 { _ = world.unary(origin) }
        }
        #expect(all.count == 3)
        #expect(all.allSatisfy { $0.contains("\"level\":\"debug\"") && $0.contains("\"message\":\"call\"") })
    }

    /// Which of several is the caller's nobody can know.
    @Test func ofSeveralTracesNoneIsBelieved() throws {
        let all = try lines(.debug) { world in
            var options = CallOptions()
            for digit in ["1", "2"] {
                options.metadata.add("traceparent", "00-\(String(repeating: digit, count: 32))-00f067aa0ba902b7-01")
            }
            _ = world.unary(options)
        }
        #expect(all.count == 1 && !all[0].contains("_id\""))
    }

    /// Anybody may call: what is no identifier does not get into the log.
    @Test func anIdentifierThatIsTooLongIsLeftOut() throws {
        let all = try lines(.debug) { world in
            var options = CallOptions()
            options.metadata.add("x-request-id", String(repeating: "x", count: 65))
            options.metadata.add("traceparent", "nonsense")
            _ = world.unary(options)
        }
        #expect(all.count == 1 && !all[0].contains("_id\""))
    }
}
