import Bytes
import Glibc
import Telemetry
import Testing

@Suite struct RequestLogTests {
    /// What `body` writes, line by line, read back from a pipe.
    private func lines(level: LogLevel, format: LogFormat = .json, _ body: (inout RequestLog) -> Void) -> [String] {
        var ends: [Int32] = [0, 0]
        unsafe pipe(&ends)
        let sink = LogSink(descriptor: ends[1], level: level, format: format)
        var log = RequestLog(Logger(label: "test", sink: sink))
        body(&log)
        sink.flush()
        close(ends[1])
        var bytes = [UInt8](repeating: 0, count: 1 << 17)
        let count = unsafe read(ends[0], &bytes, bytes.count)
        close(ends[0])
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    private let trace = TraceContext(Array("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".utf8).span)

    @Test func whatGoesWellIsADebugLineAndSlownessAWarning() {
        let origin = RequestOrigin(requestID: "r-1", trace: trace)
        let quiet = lines(level: .info) { log in
            #expect(log.noteFrom == RequestLog.slow)
            log.note(nil, "request", nanoseconds: 999_999_999, now: 0, origin, [("status", .integer(200))])
            log.note(nil, "request", nanoseconds: 1_500_000_000, now: 0, origin, [("status", .integer(200))])
            log.note(.error, "request", nanoseconds: 1_234_567, now: 0, .none, [("status", .integer(500))])
        }
        #expect(quiet.count == 2)
        #expect(
            quiet[0].hasSuffix(
                "\"level\":\"warning\",\"label\":\"test\",\"message\":\"slow request\",\"status\":200,"
                    + "\"duration_ms\":1500.000,\"request_id\":\"r-1\","
                    + "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"span_id\":\"00f067aa0ba902b7\"}"))
        #expect(
            quiet[1].hasSuffix(
                "\"level\":\"error\",\"label\":\"test\",\"message\":\"failed request\",\"status\":500,"
                    + "\"duration_ms\":1.235}"))
        let chatty = lines(level: .debug, format: .text) { log in
            #expect(log.noteFrom == 0)
            log.note(nil, "request", nanoseconds: 5, now: 0, origin, [("status", .integer(200))])
        }
        #expect(chatty.count == 1)
        #expect(chatty[0].contains("debug test: request status=200 duration_ms=0.000 request_id=r-1 trace_id=4bf9"))
    }

    @Test func anOutageBecomesNoFlood() {
        let written = lines(level: .info) { log in
            for _ in 0..<500 { log.note(.warning, "request", nanoseconds: 1, now: 1, .none, []) }
            log.note(.warning, "request", nanoseconds: 1, now: 20_000_000_000, .none, [])
        }
        #expect(written.count == 101)
        #expect(written.last?.contains("\"held_back\":400") == true)
    }

    @Test func withoutALoggerNothingIsEverNoted() {
        #expect(RequestLog(nil).noteFrom == .max)
    }

    // MARK: W3C Trace Context §3.2

    @Test func aTraceparentReadsBack() {
        #expect(trace.traceID == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(trace.spanID == "00f067aa0ba902b7")
        #expect(trace.traceparent == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        let later = TraceContext(Array("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more".utf8).span)
        #expect(later == trace)
    }

    @Test(arguments: [
        "", "00", "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ]) func whatIsNoTraceparentIsNone(text: String) {
        #expect(TraceContext(Array(text.utf8).span).isNone)
    }
}
