import Glibc
import HTTPServer
import Reactor
import Telemetry
import TestSupport
import Testing

/// The lines that the server logs about requests.
@Suite struct RequestLineTests {
    /// Serves, lets `body` talk to it, and returns the lines that it logged, once there are `count`.
    private func lines(_ level: LogLevel, _ count: Int, _ body: (UInt16) -> Void) throws -> [String] {
        let folder = TemporaryFolder()
        let path = folder.file("log")
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        defer { close(descriptor) }
        let sink = LogSink(descriptor: descriptor, level: level, format: .json)
        let server = try LiveServer { loop in
            let router = Router()
            router.get("/now/{id}") { _, responder in responder.respond(200, "text/plain", body: "now") }
            router.get("/later") { _, responder in
                loop.schedule(after: 20_000_000) { responder.respond(200, "text/plain", body: "later") }
            }
            router.get("/broken") { _, responder in responder.problem(Problem(500, "internal", "It is broken.")) }
            router.get("/away") { _, responder in
                loop.schedule(after: 1_000_000) { responder.problem(Problem(503, "backend-unavailable", "Away.")) }
            }
            router.reports("/ready")
            router.get("/ready") { _, responder in responder.respond(503, "text/plain", body: "not ready") }
            return HTTPServer(loop: loop, router: router, logger: Logger(label: "http", sink: sink))
        }
        body(server.port)
        _ = waitUntil(10) { TemporaryFolder.read(path).split(separator: "\n").count >= count }
        sink.flush()
        return TemporaryFolder.read(path).split(separator: "\n").map(String.init)
    }

    private func get(_ path: String, _ id: String, _ trace: Character? = nil) -> String {
        let parent = trace.map { "traceparent: 00-\(String(repeating: $0, count: 32))-00000000000000ab-01\r\n" } ?? ""
        return "GET \(path) HTTP/1.1\r\nHost: a\r\nX-Request-Id: \(id)\r\n\(parent)\r\n"
    }

    @Test func eachOfSeveralPipelinedRequestsHasItsOwnIdentifiers() throws {
        let all = try lines(.debug, 4) { port in
            let client = Client(port)
            client.send(
                get("/later", "one", "1") + get("/now/a%20b", "two", "2") + get("/now/c", "three")
                    + get("/nothing", "four", "4"))
            for _ in 0..<4 { _ = client.response() }
        }
        #expect(all.count == 4)
        func line(_ id: String) -> String { all.first { $0.contains("\"request_id\":\"\(id)\"") } ?? "" }
        #expect(line("one").contains("\"route\":\"/later\",\"status\":200,\"duration_ms\":"))
        #expect(
            line("one").contains(
                "\"trace_id\":\"\(String(repeating: "1", count: 32))\",\"span_id\":\"00000000000000ab\""))
        #expect(line("two").contains("\"method\":\"GET\",\"route\":\"/now/{id}\",\"status\":200"))
        #expect(line("two").contains("\"trace_id\":\"2222"))
        #expect(!line("three").isEmpty && !line("three").contains("trace_id"))
        #expect(line("four").contains("\"route\":\"other\",\"status\":404"))
        #expect(all.allSatisfy { $0.contains("\"level\":\"debug\"") && $0.contains("\"message\":\"request\"") })
    }

    /// Which of several is the caller's nobody can know.
    @Test func ofSeveralTracesNoneIsBelieved() throws {
        let all = try lines(.debug, 2) { port in
            let client = Client(port)
            for (id, more) in [("one", "1"), ("two", "2")] {
                let parent = "traceparent: 00-\(String(repeating: more, count: 32))-00000000000000ab-01\r\n"
                client.send(get("/now/x", id, "1").replacing("\r\n\r\n", with: "\r\n\(parent)\r\n"))
                _ = client.response()
            }
        }
        #expect(all.count == 2 && all.allSatisfy { $0.contains("request_id") && !$0.contains("trace_id") })
    }

    /// The same head again is not looked at again: its identifiers must be there all the same.
    @Test func aRepeatedHeadKeepsItsTrace() throws {
        let all = try lines(.debug, 3) { port in
            let client = Client(port)
            for _ in 0..<3 {
                client.send(get("/now/x", "same", "7"))
                _ = client.response()
            }
        }
        #expect(all.count == 3)
        #expect(all.allSatisfy { $0.contains("\"request_id\":\"same\",\"trace_id\":\"7777") })
    }

    @Test func onlyFailuresLeaveALineAtTheDefaultLevel() throws {
        let all = try lines(.info, 2) { port in
            let client = Client(port)
            for (path, id) in [("/now/1", "a"), ("/nothing", "b"), ("/later", "c"), ("/broken", "d"), ("/away", "e")] {
                client.send(get(path, id))
                _ = client.response()
            }
            // What can't be read is the client's mistake.
            _ = Client(port).send("GET / HTTP/1.1\r\n\r\n").all()
        }
        #expect(all.count == 2)
        #expect(
            all.first?.contains("\"level\":\"error\"") == true && all.first?.contains("\"request_id\":\"d\"") == true)
        #expect(
            all.last?.contains("\"level\":\"warning\"") == true && all.last?.contains("\"request_id\":\"e\"") == true)
        #expect(all.allSatisfy { $0.contains("\"message\":\"failed request\"") })
    }

    /// A probe asks each second whether it is ready; being told that it is not must not hold back the line of what has failed.
    @Test func whatAProbeIsToldIsNoFailure() throws {
        let all = try lines(.info, 1) { port in
            let client = Client(port)
            for _ in 0..<30 {
                client.send(get("/ready", "probe"))
                _ = client.response()
            }
            client.send(get("/broken", "d"))
            _ = client.response()
        }
        #expect(all.count == 1 && all.first?.contains("\"request_id\":\"d\"") == true)
    }
}
