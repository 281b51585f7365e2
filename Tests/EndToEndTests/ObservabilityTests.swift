import Foundation
import TestSupport
import Testing

/// What operators look at: metrics pages, alert rules, dashboard and runbook speak of the same things.
@Suite struct ObservabilityTests {
    private static let promtool = Tool.find("promtool")
    private static let folder = Tool.repository + "/deploy/prometheus"
    private static let rules = TemporaryFolder.read(folder + "/rules.yml")
    private static let dashboard = TemporaryFolder.read(Tool.repository + "/deploy/grafana/dashboards/cabstand.json")
    private static let runbook =
        DocumentTests.operations.components(separatedBy: "\n## ").first { $0.hasPrefix("Runbook") } ?? ""
    private static let alerts = rules.matches(of: /- alert: (\w+)/).map { String($0.1) }

    private static func expressions() throws -> [String] {
        struct Dashboard: Decodable {
            struct Panel: Decodable {
                struct Target: Decodable { let expr: String }
                let targets: [Target]?
            }
            let panels: [Panel]
        }
        let decoded = try JSONDecoder().decode(Dashboard.self, from: Data(dashboard.utf8))
        return decoded.panels.flatMap { $0.targets ?? [] }.map(\.expr)
    }

    // MARK: promtool

    @Test(
        .enabled(if: promtool != nil, "needs promtool, of Debian's prometheus"),
        arguments: [
            ["check", "rules", "rules.yml"], ["check", "config", "prometheus.yml"],
            ["test", "rules", "rules_test.yml"],
        ])
    func promtoolAcceptsWhatIsInDeploy(command: [String]) throws {
        let result = try ChildProcess.run(try #require(Self.promtool), command, directory: Self.folder)
        #expect(result.status == 0, "\(result.output)\(result.errors)")
    }

    // MARK: Pages

    @Test(.enabled(if: promtool != nil, "needs promtool, of Debian's prometheus"))
    func everyMetricsPageIsWithoutAComplaint() throws {
        let cabstand = try BusyCabstand()
        cabstand.work()
        for page in try cabstand.pages() {
            let result = try ChildProcess.run(try #require(Self.promtool), ["check", "metrics"], input: page.text)
            #expect(result.status == 0 && result.output.isEmpty && result.errors.isEmpty, "\(page.name): \(result)")
        }
    }

    @Test func rulesAndDashboardNameWhatIsExposed() throws {
        let cabstand = try BusyCabstand()
        cabstand.work()
        let metrics = Metrics(try cabstand.pages().map(\.text))
        for text in try [Self.rules] + Self.expressions() {
            for match in text.matches(of: /\b((?:cabstand|http|process)_[a-z0-9_]+)(?:\{([^}]*)\})?/) {
                let name = String(match.1)
                guard let labels = metrics.labels(name) else {
                    Issue.record("\(name) is on no page")
                    continue
                }
                for label in (match.2 ?? "").matches(of: /([a-z_]+)\s*[=!]/) {
                    #expect(labels.contains(String(label.1)), "\(name) has no label \(label.1)")
                }
            }
            for match in text.matches(of: /\bby \(([^)]*)\)/) {
                for label in match.1.split(separator: ",").map({ $0.trimmingCharacters(in: .whitespaces) }) {
                    #expect(metrics.allLabels.contains(label), "no metric has the label \(label): \(text)")
                }
            }
        }
        // And the runbook explains what is there, and nothing that is not.
        let explained = Set(
            Self.runbook.matches(of: /`((?:cabstand|http|process)_[a-z0-9_]+)/).map { String($0.1) })
        #expect(Set(metrics.families.keys).subtracting(explained) == [])
        #expect(explained.filter { metrics.labels($0) == nil } == [])
    }

    @Test func theRunbookHasARowForEveryAlertCheckAndState() throws {
        #expect(Self.alerts.count > 10)
        for alert in Self.alerts { #expect(Self.runbook.contains("| `\(alert)` |"), "\(alert)") }
        for match in Self.runbook.matches(of: /\| `(Cabstand\w+)` \|/) {
            #expect(Self.alerts.contains(String(match.1)), "\(match.1)")
        }
        for block in Self.rules.components(separatedBy: "- alert: ").dropFirst() {
            for part in ["summary: ", "description: ", "runbook_url: deploy/README.md#alerts", "severity: "] {
                #expect(block.contains(part), "\(block.prefix(40)) lacks \(part)")
            }
        }
        let cabstand = try BusyCabstand()
        for service in Fleet.Service.allCases {
            let answer = HTTPConnection(port: cabstand.fleet.metricsPort(service)).request("GET", "/readyz")?.body ?? ""
            let report = try JSONSerialization.jsonObject(with: Data(answer.utf8)) as? [String: Any]
            let checks = try #require(report?["checks"] as? [String: String])
            // The gateway has its page, too.
            #expect(checks.count == (service == .gateway ? 4 : 3))
            for check in checks.keys { #expect(Self.runbook.contains("| `\(check)` |"), "\(check)") }
        }
        for state in ["ok", "degraded", "starting", "draining", "stalled"] {
            #expect(Self.runbook.contains("| `\(state)` |"), "\(state)")
        }
    }

    // MARK: A real Prometheus

    /// Prometheus with the files of deploy/, on this machine's ports, against working services.
    @Test(
        .enabled(
            if: Tool.find("prometheus") != nil && Tool.find("curl") != nil, "needs Debian's prometheus, and curl"))
    func prometheusEvaluatesEveryRuleAndAnswersEveryQueryOfTheDashboard() throws {
        let cabstand = try BusyCabstand()
        let folder = TemporaryFolder()
        let port = freePort()
        let targets = Fleet.Service.allCases.map { "\"127.0.0.1:\(cabstand.fleet.metricsPort($0))\"" }
        let configuration = TemporaryFolder.read(Self.folder + "/prometheus.yml")
            .replacing(#/targets: \[.*\]/#, with: "targets: [\(targets.joined(separator: ", "))]")
            .replacing("- rules.yml", with: "- \(Self.folder)/rules.yml")
            .replacing(#/_interval: \d+s/#, with: "_interval: 1s")
        let prometheus = try ChildProcess(
            "prometheus",
            [
                "--config.file=" + folder.write("prometheus.yml", configuration),
                "--storage.tsdb.path=" + folder.file("data"), "--web.listen-address=127.0.0.1:\(port)",
            ])
        defer { prometheus.terminate() }
        struct Answer: Decodable {
            struct Result: Decodable {}
            struct Body: Decodable {
                struct Group: Decodable {
                    struct Rule: Decodable {
                        let name: String
                        let health: String
                        let lastError: String?
                        let state: String
                    }
                    let rules: [Rule]
                }
                let groups: [Group]?
                let result: [Result]?
            }
            let status: String
            let data: Body?
        }
        func ask(_ path: String, _ query: String? = nil) throws -> Answer? {
            let parameters = query.map { ["--data-urlencode", "query=\($0)"] } ?? []
            let result = try ChildProcess.run(
                "curl", ["-sG", "http://127.0.0.1:\(port)/api/v1/\(path)"] + parameters, timeout: 20)
            return try? JSONDecoder().decode(Answer.self, from: Data(result.output.utf8))
        }

        // A rate needs two scrapes with something in between.
        var unanswered = try Self.expressions().map { $0.replacing("$__rate_interval", with: "1m") }
        #expect(unanswered.count > 25)
        _ = waitUntil(60) {
            cabstand.work()
            unanswered = unanswered.filter { ((try? ask("query", $0))?.data?.result ?? []).isEmpty }
            return unanswered.isEmpty
        }
        #expect(unanswered == [], "\(prometheus.errors.suffix(2000))")

        let rules = try #require(try ask("rules")?.data?.groups).flatMap(\.rules)
        #expect(rules.map(\.name).sorted() == Self.alerts.sorted())
        for rule in rules { #expect(rule.health == "ok", "\(rule.name): \(rule.lastError ?? rule.health)") }
        // Healthy services wake nobody.
        #expect(rules.filter { $0.state == "firing" }.map(\.name) == [])
    }
}

/// The families of several metrics pages.
private struct Metrics {
    /// Type and labels by family.
    private(set) var families: [String: (type: String, labels: Set<String>)] = [:]
    private(set) var allLabels: Set<String> = ["instance", "job", "le"]

    init(_ pages: [String]) {
        for line in pages.joined(separator: "\n").split(separator: "\n") {
            if let match = line.wholeMatch(of: /# TYPE (\S+) (\S+)/) {
                let known = families[String(match.1)]?.labels ?? ["instance", "job"]
                families[String(match.1)] = (String(match.2), known)
            } else if let match = line.wholeMatch(of: /([a-z0-9_]+)\{(.*)\} \S+/), let family = family(String(match.1))
            {
                let names = match.2.matches(of: /([a-z_]+)="/).map { String($0.1) }
                families[family]?.labels.formUnion(names)
                allLabels.formUnion(names)
            }
        }
    }

    /// The family that a series belongs to: a histogram's series are its buckets, sum and count, and never its bare name.
    private func family(_ series: String) -> String? {
        if let found = families[series] { return found.type == "histogram" ? nil : series }
        for suffix in ["_bucket", "_sum", "_count"] where series.hasSuffix(suffix) {
            let name = String(series.dropLast(suffix.count))
            if families[name]?.type == "histogram" { return name }
        }
        return nil
    }

    /// The labels of a series, or of a family that is named in a text; nil if it is on no page.
    func labels(_ name: String) -> Set<String>? {
        (family(name) ?? (families[name] == nil ? nil : name)).flatMap { families[$0]?.labels }
    }
}

/// Working services: subscribers, bookings, refusals, clients that make mistakes.
private final class BusyCabstand {
    private let kafka: RunningCabstand
    let fleet: Fleet
    private var subscribers: [Client] = []
    private var count = 0

    init() throws {
        kafka = try RunningCabstand()
        fleet = try Fleet(
            bootstrapServers: kafka.kafka, access: .off, extra: ["CABSTAND_SIMULATED_DRIVERS": "50"])
        subscribers = (0..<3).map { _ in subscribe() }
        _ = waitUntil(20) {
            fleet.connection().request("GET", "/drivers/available?limit=1")?.body.contains("\"id\"") ?? false
        }
    }

    private func subscribe() -> Client {
        let client = Client(fleet.httpPort).send(
            "GET /ws/drivers/available HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        _ = client.response(hasBody: false)
        return client
    }

    /// About a second of it.
    func work() {
        count += 1
        let connection = fleet.connection()
        for place in [(53.557, 13.26), (0, 0)] {
            let position = "{\"lat\":\(place.0),\"lon\":\(place.1)}"
            let body = "{\"rider_id\":\"r\(count)\",\"pickup\":\(position),\"dropoff\":\(position)}"
            if let trip = connection.request("POST", "/trips", body), trip.status == 201, let id = trip.text("id") {
                _ = connection.request("POST", "/trips/\(id)/complete")
            }
        }
        _ = connection.request("GET", "/drivers/available?lat=91&lon=0")
        // A frame with a reserved bit, and HTTP/1 where gRPC is spoken.
        subscribe().send("\u{e9}")
        _ = Client(fleet.driverPort).send("GET / HTTP/1.1\r\n\r\n").all()
        usleep(1_000_000)
    }

    /// Every program's page.
    func pages() throws -> [(name: String, text: String)] {
        let ports = Fleet.Service.allCases.map { ($0.rawValue, fleet.metricsPort($0)) } + [("cabstand", kafka.port)]
        return try ports.map { name, port in
            let page = HTTPConnection(port: port).request("GET", "/metrics")
            return (name, try #require(page?.status == 200 ? page?.body : nil, "\(name) has no page"))
        }
    }
}
