import HTTPServer
import RideDomain
import Testing

@testable import GatewayService

@Suite struct LiveMessageTests {
    private func read(_ text: String) -> Result<LiveMessage, Problem> {
        do throws(Problem) { return .success(try LiveMessage(Array(text.utf8).span)) } catch { return .failure(error) }
    }

    private func problem(_ text: String) -> Problem? {
        if case .failure(let problem) = read(text) { return problem }
        return nil
    }

    @Test func contract_pingAndView() {
        guard case .success(.ping) = read("{\"type\":\"ping\"}") else {
            Issue.record("a ping was refused")
            return
        }
        for text in [
            "{\"type\":\"view\",\"lat\":53.5,\"lon\":13.25,\"radius_m\":800,\"limit\":5,\"interval_ms\":250}",
            "{\"lat\":53.5,\"lon\":13.25,\"radius_m\":800,\"limit\":5,\"interval_ms\":250,\"type\":\"view\"}",
            "{\"type\":\"view\",\"lat\":\"53.5\",\"lon\":\"13.25\",\"radius_m\":800,\"limit\":5,\"interval_ms\":250,\"bbox\":null}",
        ] {
            guard case .success(.view(let query, let interval)) = read(text) else {
                Issue.record("a view was refused")
                return
            }
            #expect(query == AreaQuery(.around(Position(lat: 53.5, lon: 13.25), radius: 800), limit: 5))
            #expect(interval == 250)
        }
        guard case .success(.view(let query, let interval)) = read("{\"type\":\"view\",\"bbox\":[1,2,3,4]}") else {
            Issue.record("a box was refused")
            return
        }
        #expect(query == AreaQuery(.box(Box(west: 1, south: 2, east: 3, north: 4))))
        #expect(interval == nil)
    }

    @Test(arguments: [
        ("", "invalid-json"), ("{", "invalid-json"), ("{\"type\":\"ping\"}x", "invalid-json"), ("[]", "invalid-body"),
        ("42", "invalid-body"), ("{}", "invalid-body"), ("{\"type\":7}", "invalid-body"),
        ("{\"type\":\"dance\"}", "invalid-body"), ("{\"type\":\"view\",\"lat\":1}", "invalid-parameter"),
        ("{\"type\":\"view\",\"lat\":true,\"lon\":1}", "invalid-parameter"),
        ("{\"type\":\"view\",\"bbox\":[1,2,3]}", "invalid-parameter"),
        ("{\"type\":\"view\",\"bbox\":[1,2,3,\"4\"]}", "invalid-parameter"),
        ("{\"type\":\"view\",\"colour\":\"red\"}", "invalid-parameter"),
    ])
    func contract_aBadMessageGetsAProblem(text: String, code: String) {
        #expect(problem(text)?.code == code)
    }

    @Test(arguments: [
        ("{}", "missing"), ("{\"type\":[\"view\"]}", "an array"), ("{\"type\":7}", "a number"),
        ("{\"type\":null}", "null"),
        ("{\"type\":\"dance\"}", "\"dance\""), ("{\"type\":\"\"}", "\"\""), ("{\"type\":\"missing\"}", "\"missing\""),
    ])
    func whatTheTypeIsIsSaid(text: String, words: String) {
        #expect(problem(text)?.detail == "type is \(words); it must be \"ping\" or \"view\".")
    }

    /// Member names and words are compared and quoted by bytes.
    @Test(arguments: ["\u{301}", "\u{301}\u{327}"]) func whatIsSaidOfALongNameIsShort(marks: String) {
        let name = "a" + String(repeating: marks, count: 60_000 / marks.utf8.count)
        for text in [
            "{\"type\":\"view\",\"\(name)\":1}", "{\"type\":\"view\",\"\(name)\":[1]}", "{\"type\":\"\(name)\"}",
            "{\"type\":\"view\",\"lat\":\"\(name)\"}", "{\"type\":\"view\",\"bbox\":\"\(name)\"}",
        ] {
            let problem = problem(text)
            #expect(problem != nil && problem?.detail.utf8.count ?? 0 < 600)
            #expect(problem?.errors.allSatisfy { $0.pointer.utf8.count + $0.detail.utf8.count < 900 } == true)
        }
    }
}
