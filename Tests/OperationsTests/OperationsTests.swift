import Bytes
import HTTPServer
import Reactor
import Testing

@testable import Operations

/// What `/readyz` says while something is away.
@Suite struct OperationsTests {
    private func text(_ report: ServiceReadiness.Report) -> String {
        var buffer = ByteBuffer()
        report.write(to: &buffer)
        return String(decoding: buffer.array(), as: UTF8.self)
    }

    /// A health check, and a service that brings simulated drivers along, connect to what listens on every address.
    @Test(arguments: [
        ("0.0.0.0", "127.0.0.1:80"), ("::", "[::1]:80"), ("10.1.2.3", "10.1.2.3:80"), ("::1", "[::1]:80"),
    ])
    func whatListensEverywhereIsReachedByLoopback(ip: String, reached: String) throws {
        #expect(try #require(SocketAddress(ip: ip, port: 80)).reachableHere.description == reached)
    }

    @Test func readyz_startsWhenEachDependencyAnsweredOnceThenDegrades() throws {
        let readiness = ServiceReadiness(loops: [], dependencies: ["kafka", "database"], now: 0)
        #expect(!readiness.report(now: 1).isReady)
        readiness.set("kafka", .ok)
        #expect(text(readiness.report(now: 1)).contains("\"starting\""))
        readiness.set("database", .ok)
        #expect(text(readiness.report(now: 1)) == #"{"status":"ok","checks":{"kafka":"ok","database":"ok"}}"# + "\n")
        readiness.set("kafka", .failing("away"))
        let report = readiness.report(now: 2)
        #expect(report.isReady)
        #expect(text(report) == #"{"status":"degraded","checks":{"kafka":"away","database":"ok"}}"# + "\n")
        readiness.drain()
        #expect(!readiness.report(now: 3).isReady)
    }

    @Test func readyz_aDependencyThatNeverAnswersHoldsTheStartForThirtySeconds() throws {
        let readiness = ServiceReadiness(loops: [], dependencies: ["kafka"], now: 10)
        #expect(!readiness.report(now: 29_000_000_000).isReady)
        #expect(readiness.report(now: 31_000_000_000).isReady)
    }

    /// A page that is mounted later: requests for it would be 404.
    @Test func readyz_whatIsRequiredMustHaveBeenThereOnce() throws {
        let readiness = ServiceReadiness(loops: [], dependencies: ["kafka", "page"], required: ["page"], now: 0)
        readiness.set("kafka", .ok)
        readiness.set("page", .failing("There is none."))
        let late = ServiceReadiness.startTimeout * 100
        #expect(!readiness.report(now: late).isReady)
        #expect(readiness.report(now: late).status.description == "starting")
        readiness.set("page", .ok)
        #expect(readiness.report(now: late).isReady)
        readiness.set("page", .failing("It is gone."))
        #expect(readiness.report(now: late).isReady)
        #expect(readiness.report(now: late).status.description == "degraded")
    }

    @Test func readyz_aLoopThatDoesNotTurnForFiveSecondsIsStalled() throws {
        let loop = try EventLoop()
        let readiness = ServiceReadiness(loops: [loop], dependencies: [], now: 0)
        let start = ServiceReadiness.startTimeout
        #expect(readiness.report(now: start).isReady)
        #expect(readiness.report(now: start + 4_000_000_000).isReady)
        #expect(!readiness.report(now: start + 6_000_000_000).isReady)
        loop.turn()
        #expect(readiness.report(now: start + 7_000_000_000).isReady)
    }

    /// Whoever answers on the port may be anybody: what is printed is one line, without what moves a terminal.
    @Test(arguments: [
        "\u{1B}[31mHELO\u{7}\nsecond line", "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"\\u001b[2J\\n\",\"checks\":{\"a\":\"\\u009b1m\"}}",
        String(repeating: "x\u{1}", count: 50_000),
    ])
    func check_whatIsAnsweredIsPrintedAsText(answer: String) {
        let text = ReadinessQuestion.finding(Array(answer.utf8)).text
        #expect(text.utf8.count < 600 && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control })
    }

    @Test func check_aSilentServerIsOneThatDidNotAnswerInTime() throws {
        var findings: [HealthCheck.Finding] = []
        let address = try #require(SocketAddress(ip: "127.0.0.1", port: 80))
        for reason in [CloseReason.shutdown, .connectTimeout, .peer] {
            let question = try ReadinessQuestion(on: EventLoop(), at: address, isTLS: false) { findings.append($0) }
            question.connectionClosed(.none, reason)
        }
        #expect(
            findings.map(\.text) == [
                "no answer from http://127.0.0.1:80/readyz within 2500 ms",
                "no answer from http://127.0.0.1:80/readyz within 2500 ms",
                "no answer from http://127.0.0.1:80/readyz: closed by the peer",
            ])
    }
}
