import TestSupport
import Testing

/// Simulated drivers where everybody is asked who they are, with real programs.
@Suite(.serialized) struct SimulatorTests {
    /// What a program has counted; nil: it has no such line.
    private func counted(_ series: String, _ port: UInt16) -> Double? {
        let page = HTTPConnection(port: port).request("GET", "/metrics")?.body ?? ""
        let line = page.split(separator: "\n").first { $0.hasPrefix(series + " ") }
        return line.flatMap { Double($0.dropFirst(series.count + 1)) }
    }

    private let enrolled = "cabstand_enrolments_total{event=\"used\"}"

    /// The line labelled `audit` of what somebody has done.
    private func audit(_ subject: String, _ operation: String, in words: String) -> Substring? {
        words.split(separator: "\n").first {
            $0.contains("subject=\(subject) ") && $0.contains(operation) && $0.contains("done")
        }
    }

    @Test func theyDriveByTokensOfTheirOwnAndSignInAgainWhenRevoked() throws {
        // The test asks more often than riders do.
        let cabstand = try RunningCabstand(
            simulatedDrivers: 3, extra: ["CABSTAND_AUTH": "required", "CABSTAND_RATE_LIMIT": "read=off"])
        let http = HTTPConnection(port: cabstand.port)
        #expect(waitUntil(30) { counted(enrolled, cabstand.port) == 3 }, "\(cabstand.words.suffix(3000))")
        let guest = try #require(http.request("POST", "/auth/guest")?.text("access_token"))
        let rider = ["Authorization": "Bearer \(guest)"]
        let boss = ["Authorization": "Bearer \(cabstand.operatorToken)"]
        func car(_ id: String = "sim-0002") -> HTTPConnection.Response? {
            http.request("GET", "/drivers/\(id)", headers: rider)
        }
        func number(_ name: String, _ answer: HTTPConnection.Response?) -> Double? {
            let parts = (answer?.body ?? "").split(separator: "\"\(name)\":")
            return parts.count > 1 ? Double(parts[1].prefix { $0 != "," && $0 != "}" }) : nil
        }
        func moves(_ id: String = "sim-0002") -> Bool {
            let start = number("lat", car(id))
            return waitUntil(30) { number("lat", car(id)).map { $0 != start } ?? false }
        }
        #expect(moves(), "it stands still")

        // From where the car is to a place round the corner.
        let (lat, lon) = (try #require(number("lat", car())), try #require(number("lon", car())))
        let trip = http.request(
            "POST", "/trips",
            "{\"driver_id\":\"sim-0002\",\"pickup\":{\"lat\":\(lat),\"lon\":\(lon)},\"dropoff\":{\"lat\":\(lat + 0.0005),\"lon\":\(lon)}}",
            headers: rider)
        let id = try #require(trip?.text("id"), "\(trip?.body ?? "none")")
        func status() -> String? { http.request("GET", "/trips/\(id)", headers: rider)?.text("status") }
        #expect(waitUntil(180) { status() == "completed" }, "\(status() ?? "none"): \(cabstand.words.suffix(3000))")
        for operation in ["PickUpTrip", "CompleteTrip"] {
            #expect(audit("sim-0002", operation, in: cabstand.words) != nil, "\(operation)")
        }

        let revocation = http.request(
            "POST", "/auth/revocations", #"{"subject":"sim-0002","reason":"test"}"#, headers: boss)
        #expect(revocation?.status == 201, "\(revocation?.body ?? "none")")
        #expect(waitUntil(30) { counted(enrolled, cabstand.port) == 4 }, "\(cabstand.words.suffix(3000))")
        #expect(moves(), "it does not come back: \(cabstand.words.suffix(3000))")

        // Who is suspended stands, and goes on duty when restored.
        for (deed, status) in [("suspend", "offline"), ("restore", "available")] {
            let answer = http.request("POST", "/drivers/sim-0003/\(deed)", #"{"reason":"test"}"#, headers: boss)
            #expect(answer?.status == 200, "\(answer?.body ?? "none")")
            #expect(waitUntil(30) { car("sim-0003")?.text("status") == status }, "\(car("sim-0003")?.body ?? "none")")
        }
        #expect(moves("sim-0003"), "it does not come back: \(cabstand.words.suffix(3000))")

        // Whom an operator deletes does not come back.
        #expect(http.request("DELETE", "/drivers/sim-0001", headers: boss)?.status == 204)
        #expect(waitUntil(30) { cabstand.words.contains("it goes off the road") })
        #expect(car()?.status == 200 && car("sim-0001")?.status == 404)
        #expect(counted(enrolled, cabstand.port) == 4)
        #expect(cabstand.terminate() == 0)
    }

    /// The certificate is for the name by which browsers know the gateway.
    @Test func theySignInOverTLSAtTheProgramsOwnGateway() throws {
        let certificate = TestCertificate("rides.example", names: "DNS:rides.example")
        let cabstand = try RunningCabstand(
            simulatedDrivers: 2,
            extra: [
                "CABSTAND_AUTH": "required", "CABSTAND_TLS_CERT": certificate.certificatePath,
                "CABSTAND_TLS_KEY": certificate.keyPath,
            ])
        func page() -> String {
            (try? ChildProcess.run("curl", ["-s", "-k", "\(cabstand.url)/metrics"], timeout: 10))?.output ?? ""
        }
        #expect(waitUntil(30) { page().contains("\(enrolled) 2\n") }, "\(cabstand.words.suffix(3000))")
    }

    /// The driver service brings its drivers along, and is there before the gateway.
    @Test(.enabled(if: Fleet.isBuilt, "skipped: the programs are not built beside the tests"))
    func theyWaitForAGatewayThatComesLater() throws {
        let kafka = try RunningCabstand()
        let fleet = try Fleet(bootstrapServers: kafka.kafka, extra: ["CABSTAND_SIMULATED_DRIVERS": "20"])
        let port = fleet.metricsPort(.driver)
        #expect(waitUntil(30) { counted(enrolled, port) == 20 }, "\(fleet.logs)")
        // It comes back, and so do those that signed in by it: nobody has to.
        #expect(fleet.terminate(.gateway) == 0)
        try fleet.start(.gateway)
        try fleet.waitUntilReady()
        #expect(counted(enrolled, port) == 20)
    }
}
