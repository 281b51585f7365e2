import Bytes
import Glibc
import Telemetry
import Testing

@Suite struct LoggerTests {
    /// What `body` logs, read back from a pipe.
    private func logged(level: LogLevel = .info, format: LogFormat, _ body: (Logger) -> Void) -> String {
        var ends: [Int32] = [0, 0]
        unsafe pipe(&ends)
        let sink = LogSink(descriptor: ends[1], level: level, format: format)
        body(Logger(label: "test", sink: sink))
        sink.flush()
        close(ends[1])
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = unsafe read(ends[0], &bytes, bytes.count)
        close(ends[0])
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }

    @Test func textLinesCarryLevelLabelMessageAndMetadata() {
        let text = logged(format: .text) { $0.with("loop", "1").info("listening", metadata: ["address": "a b"]) }
        #expect(text.hasSuffix("Z info test: listening loop=1 address=\"a b\"\n"))
    }

    @Test func aMessageCannotForgeASecondLine() {
        for format in LogFormat.allCases {
            let text = logged(format: format) {
                $0.warning("bad\n2026 critical: \u{1B}[31m", metadata: ["k": "\"\r\n"])
            }
            #expect(text.utf8.filter { $0 == UInt8(ascii: "\n") }.count == 1)
            #expect(!text.contains("\u{1B}"))
        }
    }

    @Test func belowTheThresholdNothingIsEvaluated() {
        var evaluated = 0
        func message() -> String {
            evaluated += 1
            return "never"
        }
        let text = logged(level: .warning, format: .json) { logger in
            logger.info(message())
            logger.error(message())
        }
        #expect(evaluated == 1)
        #expect(text.contains("\"level\":\"error\""))
        #expect(!text.contains("\"level\":\"info\""))
    }

    /// Behaviour 55: nobody reads, so lines are dropped and counted, and neither who logs nor who ends waits.
    @Test func behaviour55_aStalledReaderCostsLinesAndNothingElse() {
        var ends: [Int32] = [0, 0]
        unsafe pipe(&ends)
        let sink = LogSink(descriptor: ends[1])
        let logger = Logger(label: "test", sink: sink)
        let text = String(repeating: "x", count: 10_000)
        for _ in 0..<300 { logger.info(text) }
        sink.flush(within: 20)
        #expect(sink.lostLines > 100 && sink.lostLines < 300)
        // Somebody reads again: what waited comes, and how many are missing.
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while !String(decoding: bytes.suffix(200), as: UTF8.self).contains("lines were lost") {
            let count = unsafe read(ends[0], &chunk, chunk.count)
            guard count > 0 else { break }
            bytes += chunk.prefix(count)
        }
        #expect(String(decoding: bytes.suffix(200), as: UTF8.self).contains("count=\(sink.lostLines)\n"))
        #expect(bytes.count { $0 == UInt8(ascii: "\n") } == 300 - sink.lostLines + 1)
    }

    @Test func linesThatTheDiskDoesNotTakeAreCounted() {
        let descriptor = unsafe open("/dev/full", O_WRONLY)
        let sink = LogSink(descriptor: descriptor)
        for _ in 0..<5 { Logger(label: "test", sink: sink).info("one") }
        sink.flush()
        #expect(sink.lostLines == 5)
        close(descriptor)
    }

    @Test func aRateLimitSaysHowManyItHeldBack() {
        var limit = LogRateLimit(count: 2, window: 100)
        #expect(limit.admit(now: 0) == 0)
        #expect(limit.admit(now: 1) == 0)
        #expect(limit.admit(now: 2) == nil)
        #expect(limit.admit(now: 3) == nil)
        #expect(limit.admit(now: 100) == 2)
        #expect(limit.admit(now: 101) == 0)
    }
}

@Suite struct MetricTests {
    private func rendered(_ registry: MetricRegistry) -> String {
        var output = ByteBuffer()
        registry.render(into: &output)
        return String(decoding: output.array(), as: UTF8.self)
    }

    @Test func theCountersOfAllLoopsAreSummed() {
        let registry = MetricRegistry()
        let first = registry.counter(name: "requests_total", help: "Requests.", labels: ["code": "200"])
        let second = registry.counter(name: "requests_total", help: "Requests.", labels: ["code": "200"])
        first.increment()
        second.increment(by: 2)
        #expect(
            rendered(registry) == """
                # HELP requests_total Requests.
                # TYPE requests_total counter
                requests_total{code="200"} 3

                """)
    }

    @Test func namesOfTheHousesOwnStandBehindTheRegistrysNamespace() {
        let registry = MetricRegistry()
        registry.gauge(name: .own("kafka_up"), help: "Up.").set(1)
        registry.gauge(name: "process_open_fds", help: "Open.").set(2)
        #expect(rendered(registry).contains("\nkafka_up 1\n"))
        registry.use(namespace: "shop")
        #expect(rendered(registry).contains("# HELP shop_kafka_up Up.\n# TYPE shop_kafka_up gauge\nshop_kafka_up 1\n"))
        #expect(rendered(registry).contains("\nprocess_open_fds 2\n"))
    }

    @Test func histogramBucketsAreCumulative() {
        let registry = MetricRegistry()
        let histogram = registry.histogram(name: "wait_seconds", help: "Waiting.", bounds: [0.5, 1])
        for value in [0.25, 0.5, 0.75, 4] { histogram.observe(value) }
        #expect(
            rendered(registry) == """
                # HELP wait_seconds Waiting.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{le="0.5"} 2
                wait_seconds_bucket{le="1"} 3
                wait_seconds_bucket{le="+Inf"} 4
                wait_seconds_sum 5.5
                wait_seconds_count 4

                """)
    }

    @Test func labelValuesAreEscaped() {
        let registry = MetricRegistry()
        registry.gauge(name: "g", help: "A gauge.", labels: ["path": "a\"b\\c\nd"]).set(1.5)
        #expect(rendered(registry).contains("g{path=\"a\\\"b\\\\c\\nd\"} 1.5\n"))
    }

    @Test func theProcessReportsItsOwnCost() {
        let registry = MetricRegistry()
        ProcessMetrics.install(in: registry)
        let values = rendered(registry).split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(values.count == 5)
        for line in values where !line.hasPrefix("log_lines_lost_total") {
            let number = line.split(separator: " ").last.flatMap { Double($0) }
            #expect((number ?? 0) > 0, "\(line)")
        }
    }
}
