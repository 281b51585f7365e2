import Foundation
import TestSupport
import Testing

/// What the real programs write, as who collects it reads it.
@Suite struct LogTests {
    private struct Line {
        let members: [String: Any]
        func text(_ name: String) -> String { members[name] as? String ?? "" }
    }

    /// Every line that a program wrote, to either stream. Fails for one that is not an object with the four members.
    private func lines(_ process: ChildProcess) throws -> [Line] {
        try (process.output + process.errors).split(separator: "\n").map { text in
            let object = try JSONSerialization.jsonObject(with: Data(text.utf8))
            let line = Line(members: try #require(object as? [String: Any], "\(text)"))
            let time = try #require(line.members["time"] as? String, "\(text)")
            let parsed = try? Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(time)
            #expect(parsed != nil, "\(time)")
            let levels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
            #expect(levels.contains(line.text("level")), "\(text)")
            #expect(!line.text("message").isEmpty && !line.text("label").isEmpty, "\(text)")
            return line
        }
    }

    private let traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
    private let origin = [
        "x-request-id": "book-1", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ]
    private let booking = """
        {"rider_id":"grace","pickup":{"lat":52.5,"lon":13.4},"dropoff":{"lat":52.6,"lon":13.4}}
        """

    /// One booking goes through three programs; its identifiers stand in the lines of all three.
    @Test func aBookingsLinesInEveryProgramCarryItsIdentifiers() throws {
        let kafka = try RunningCabstand()
        let fleet = try Fleet(
            bootstrapServers: kafka.kafka, extra: ["CABSTAND_LOG_FORMAT": "json", "CABSTAND_LOG_LEVEL": "debug"])
        let answer = fleet.connection().request("POST", "/trips", booking, headers: origin)
        #expect(answer?.status == 409)
        let wanted = [
            (Fleet.Service.gateway, "request", "/trips"), (.trip, "call", "/trip.v1.TripService/CreateTrip"),
            (.driver, "call", "/driver.v1.DriverService/FindAvailableDrivers"),
        ]
        for (service, message, path) in wanted {
            let process = try #require(fleet.process(service))
            var found: [Line] = []
            _ = waitUntil(10) {
                let all = (try? lines(process)) ?? []
                found = all.filter {
                    $0.text("request_id") == "book-1" && $0.text(service == .gateway ? "route" : "method") == path
                }
                return !found.isEmpty
            }
            let line = try #require(found.first, "\(service): \(fleet.logs)")
            #expect(line.text("level") == "debug")
            #expect(line.text("message") == message)
            #expect(line.text("trace_id") == traceID)
            #expect(line.text("span_id") == "00f067aa0ba902b7")
            #expect(line.members["duration_ms"] is Double)
            if service == .gateway { #expect(line.members["status"] as? Int == 409) }
        }
        for service in Fleet.Service.allCases {
            let process = try #require(fleet.process(service))
            #expect(fleet.terminate(service) == 0)
            #expect(try lines(process).contains { $0.text("message") == "ending" })
        }
    }

    /// At the level that is in force by default a good request leaves no line, and one that failed leaves one.
    @Test func whatFailsIsAWarningWithMethodRouteStatusAndIdentifiers() throws {
        let kafka = try RunningCabstand()
        let fleet = try Fleet(bootstrapServers: kafka.kafka, extra: ["CABSTAND_LOG_FORMAT": "json"])
        #expect(
            fleet.connection().request("GET", "/drivers/available", headers: ["x-request-id": "good-1"])?.status == 200)
        fleet.kill(.trip)
        var status = 0
        _ = waitUntil(20) {
            status = fleet.connection().request("POST", "/trips", booking, headers: origin)?.status ?? 0
            return status == 503
        }
        #expect(status == 503)
        let process = try #require(fleet.process(.gateway))
        var all: [Line] = []
        _ = waitUntil(10) {
            all = (try? lines(process)) ?? []
            return all.contains { $0.text("request_id") == "book-1" && $0.members["status"] as? Int == 503 }
        }
        let line = try #require(
            all.first { $0.text("request_id") == "book-1" && $0.members["status"] as? Int == 503 }, "\(fleet.logs)")
        #expect(line.text("level") == "warning")
        #expect(line.text("message") == "failed request")
        #expect(line.text("method") == "POST")
        #expect(line.text("route") == "/trips")
        #expect(line.text("trace_id") == traceID)
        #expect(!all.contains { $0.text("request_id") == "good-1" })
    }

    @Test func theAllInOneProgramSaysWhereItIsInTheSameForm() throws {
        let folder = TemporaryFolder()
        let cabstand = try ChildProcess(
            Tool.program("cabstand"),
            environment: [
                "CABSTAND_HTTP_PORT": "0", "CABSTAND_DRIVER_SERVICE": "127.0.0.1:\(freePort())",
                "CABSTAND_TRIP_SERVICE": "127.0.0.1:\(freePort())", "CABSTAND_LOG_FORMAT": "json",
                "CABSTAND_DATABASE_URL": "sqlite:" + folder.file("data"),
                "CABSTAND_PUBLIC_DIR": Tool.repository + "/public",
            ], directory: folder.path)
        try cabstand.waitForOutput("the map is at")
        #expect(cabstand.terminate() == 0)
        #expect(try lines(cabstand).count > 3)
    }
}
