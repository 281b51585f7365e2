import GRPCRuntime
import JSONWire
import KafkaClient
import RideAPI
import TestSupport
import Testing

@testable import Access

/// What is in the audit of calls that come to the services directly.
@Suite(.serialized) struct RPCAuditTests {
    private static let vehicle = Driver_V1_Vehicle(
        make: "VW", model: "Golf", color: "white", plate: "NB-A 1", category: "standard")
    private let pickup = Trip_V1_Place(lat: 53.55, lon: 13.26)

    /// The records of a house's topic as they come.
    private final class Topic {
        private let house: House
        private let consumer: KafkaConsumer
        /// Their members, without lists.
        private(set) var records: [[String: String]] = []
        private(set) var texts: [String] = []
        private(set) var broken = 0

        init(_ house: House) throws {
            self.house = house
            let configuration = KafkaConfiguration(
                bootstrapServers: house.bootstrapServers, properties: EmbeddedBroker.properties)
            consumer = try KafkaConsumer(
                loop: house.loop, configuration: configuration, topic: AuditRecord.topic, start: .beginning)
            consumer.onRecord = { [unowned self] record in
                let value = record.value
                texts.append(String(decoding: (0..<value.count).map { value[$0] }, as: UTF8.self))
                do throws(JSONError) { records.append(try Self.members(value)) } catch { broken += 1 }
            }
        }

        private static func members(_ value: Span<UInt8>) throws(JSONError) -> [String: String] {
            var members: [String: String] = [:]
            var json = JSONReader(value)
            try json.beginObject()
            while let name = try json.nextMember() {
                let key = json.isEqual(name, "roles") ? nil : json.string(of: name)
                if let key { members[key] = try json.readString() } else { try json.skipValue() }
            }
            try json.finish()
            return members
        }

        /// `subject method target outcome code` of each, as they were made, once there are so many.
        func lines(_ count: Int) -> [String] {
            house.turn { records.count >= count }
            // There would be more by now.
            let end = house.loop.now + 300_000_000
            house.turn { house.loop.now >= end }
            #expect(broken == 0)
            return records.sorted { ($0["event_id"] ?? "") < ($1["event_id"] ?? "") }.map { record in
                let method = record["operation"]?.split(separator: "/").last.map(String.init)
                return [record["subject"], method, record["target"], record["outcome"], record["code"]]
                    .map { $0 ?? "-" }.joined(separator: " ")
            }
        }

        func close() { consumer.close() }
    }

    private func drivers(_ house: House, _ ids: String...) {
        let boss = house.caller(house.token("boss", .operator))
        for id in ids {
            let driver = Driver_V1_RegisterDriverRequest(
                id: id, name: "Ada", vehicle: Self.vehicle, lat: pickup.lat, lon: pickup.lon)
            #expect(boss.refusal { $0.drivers.registerDriver(driver, $1) } == "OK")
        }
    }

    private func end(_ house: House, _ open: (@escaping (RPCError?) -> Void) -> Void) {
        var isOver = false
        open { _ in isOver = true }
        house.turn { isOver }
    }

    @Test func eachMethodSaysWhetherItChangesSomething() {
        let reading = ["Get", "List", "Find", "Watch", "Check", "ServerReflectionInfo"]
        for path in RPCRight.paths {
            let name = path.split(separator: "/").last ?? ""
            #expect(RPCRight.of(path)?.change == !reading.contains { name.hasPrefix($0) }, "\(path)")
        }
    }

    /// What somebody has done and was refused, at both services.
    private func drive(_ house: House) throws -> [String] {
        drivers(house, "d1", "d2")
        let ada = house.caller(house.token("ada", .rider))
        let (d1, d2) = (house.caller(house.token("d1", .driver)), house.caller(house.token("d2", .driver)))
        let boss = house.caller(house.token("boss", .operator))
        let request = Trip_V1_CreateTripRequest(driverID: "d1", pickup: pickup, dropoff: pickup)
        let trip = try #require(try ada.answer { $0.trips.createTrip(request, $1) }.get().trip).id
        // To look is nobody's business, nor is what is not there, and nor is who does not say who they are.
        _ = ada.refusal { $0.trips.getTrip(.init(tripID: trip), $1) }
        _ = d2.refusal { $0.trips.getTrip(.init(tripID: trip), $1) }
        _ = boss.refusal { $0.drivers.listDrivers(.init(), $1) }
        _ = house.caller(nil).refusal { $0.drivers.deleteDriver(.init(driverID: "d1"), $1) }
        _ = d1.refusal { $0.trips.pickUpTrip(.init(tripID: trip), $1) }
        _ = d2.refusal { $0.trips.completeTrip(.init(tripID: trip), $1) }
        _ = ada.refusal { $0.trips.completeTrip(.init(tripID: trip), $1) }
        _ = ada.refusal { $0.drivers.listDrivers(.init(), $1) }
        _ = ada.refusal { $0.trips.listTrips(.init(riderID: "eve"), $1) }
        end(house) { d2.drivers.watchDriver(.init(driverID: "d1"), onMessage: { _ in }, onEnd: $0) }
        _ = d1.refusal { $0.drivers.deleteDriver(.init(driverID: "d2"), $1) }
        _ = boss.refusal { $0.drivers.deleteDriver(.init(driverID: "d1"), $1) }
        _ = boss.refusal { $0.drivers.suspendDriver(.init(driverID: "d2", reason: "late"), $1) }
        end(house) {
            let stream = d1.drivers.streamLocations(onMessage: { _ in }, onEnd: $0)
            for number in 0..<3 { stream.send(.init(driverID: "d1", lat: 53.55, lon: 13.26 + Double(number) / 1e4)) }
            stream.finish()
        }
        end(house) {
            let stream = d1.drivers.streamLocations(onMessage: { _ in }, onEnd: $0)
            stream.send(.init(driverID: "d2", lat: 53.55, lon: 13.26))
        }
        return [
            "boss RegisterDriver d1 done -", "boss RegisterDriver d2 done -", "ada CreateTrip \(trip) done -",
            "d1 PickUpTrip \(trip) done -", "d2 CompleteTrip \(trip) rejected trip-not-found",
            "ada CompleteTrip - denied insufficient-scope", "ada ListDrivers - denied insufficient-scope",
            "ada ListTrips - denied not-yours", "d2 WatchDriver d1 denied not-yours",
            "d1 DeleteDriver - denied insufficient-scope", "boss DeleteDriver d1 rejected driver-on-trip",
            "boss SuspendDriver d2 done -", "d1 StreamLocations d1 done -", "d1 StreamLocations d2 denied not-yours",
        ]
    }

    @Test func whatComesPastTheGatewayIsRecordedOnce() throws {
        let house = try House()
        defer { house.close() }
        let topic = try Topic(house)
        defer { topic.close() }
        let expected = try drive(house)
        #expect(topic.lines(expected.count).sorted() == expected.sorted())
        for record in topic.records {
            #expect(record["address"] == "127.0.0.1" && record["type"] == "Audit")
            let isTrip = record["operation"]?.hasPrefix("/trip.v1.TripService/") == true
            #expect(record["service"] == (isTrip ? "trip" : "driver"))
        }
    }

    @Test(.enabled(if: KafkaBroker.isAvailable, "\(KafkaBroker.isMissing)"))
    func aRealBrokerKeepsTheRecords() throws {
        let broker = try KafkaBroker()
        defer { broker.stop() }
        let house = try House(kafka: broker.bootstrapServers)
        defer { house.close() }
        let expected = try drive(house)
        let topic = try Topic(house)
        defer { topic.close() }
        #expect(topic.lines(expected.count).sorted() == expected.sorted())
    }

    /// Every method that changes something, by an operator: each once, with the id that its request has.
    @Test func everyChangeIsRecordedWithWhatItIsAbout() throws {
        let house = try House()
        defer { house.close() }
        let topic = try Topic(house)
        defer { topic.close() }
        let boss = house.caller(house.token("boss", .operator))
        var expected: Set<String> = []
        for method in RPCAccessTests.paths where RPCRight.of("\(method)")?.change == true {
            let path = "\(method)"
            let channel = path.hasPrefix("/trip.") ? boss.trips.channel : boss.drivers.channel
            // The first field of their requests is the id, or the new one's.
            _ = boss.refusal { _, done in
                channel.unary(
                    method, Driver_V1_GetDriverRequest(driverID: "x1"),
                    options: CallOptions(timeout: .seconds(5))
                ) { (result: Result<Grpc_Health_V1_HealthCheckRequest, RPCError>) in done(result) }
            }
            let hasNone = ["Session", "RedeemEnrolment", "Ticket"].contains { path.hasSuffix($0) }
            let name = path.split(separator: "/").last ?? ""
            expected.insert("\(name) \(hasNone ? "-" : path.hasSuffix("Revoke") ? "subject/x1" : "x1")")
        }
        let lines = topic.lines(expected.count).map {
            $0.split(separator: " ").dropFirst().prefix(2).joined(separator: " ")
        }
        #expect(lines.count == expected.count && Set(lines) == expected)
    }

    @Test func whatTheGatewayPassesOnItHasRecorded() throws {
        let house = try House()
        defer { house.close() }
        let topic = try Topic(house)
        defer { topic.close() }
        let gateway = try house.token(ServiceName.gateway)
        let nobody = house.caller(nil)
        func delete(_ options: CallOptions) {
            _ = nobody.refusal { $0.drivers.deleteDriver(.init(driverID: "d1"), options: options, $1) }
        }
        let (boss, ada) = (house.token("boss", .operator), house.token("ada", .rider))
        delete(.relayed(boss, by: gateway))
        delete(.relayed(ada, by: gateway))
        // In its own name it begins sessions; another service has nobody who writes it down.
        let own = house.caller(gateway)
        let position = Driver_V1_ReportLocationsRequest(driverID: "d1", lat: 53.55, lon: 13.26)
        end(house) {
            let stream = own.drivers.streamLocations(onMessage: { _ in }, onEnd: $0)
            stream.send(position)
        }
        _ = own.refusal { $0.drivers.getDriver(.init(driverID: "d1"), $1) }
        let simulator = house.caller(try house.token(ServiceName.simulator))
        for id in ["sim-1", "d1"] { _ = simulator.refusal { $0.drivers.registerDriver(.init(id: id), $1) } }
        // What it may not do it can't have been asked for, and a proof that is none is none here, too.
        _ = own.refusal { $0.drivers.deleteDriver(.init(driverID: "d1"), $1) }
        delete(.relayed(boss, by: try house.token(ServiceName.trip)))
        delete(.relayed(boss, by: boss))
        let expected = [
            "simulator RegisterDriver sim-1 rejected invalid-body", "simulator RegisterDriver d1 denied not-yours",
            "gateway DeleteDriver - denied insufficient-scope",
            "boss DeleteDriver d1 rejected driver-not-found", "boss DeleteDriver d1 rejected driver-not-found",
        ]
        #expect(topic.lines(expected.count) == expected)
    }

    /// Who asks too much is not heard, and does not fill the topic; what a stream has sent before is.
    @Test func whoIsLimitedIsNotHeard() throws {
        let house = try House(settings: ["CABSTAND_RATE_LIMIT": "write=2/h,uplink=2/h"])
        defer { house.close() }
        let topic = try Topic(house)
        defer { topic.close() }
        drivers(house, "d1")
        let driver = house.caller(house.token("d1", .driver))
        for _ in 0..<9 {
            _ = driver.refusal { $0.drivers.updateDriverStatus(.init(driverID: "d1", status: .available), $1) }
        }
        end(house) {
            let stream = driver.drivers.streamLocations(onMessage: { _ in }, onEnd: $0)
            for _ in 0..<5 { stream.send(.init(driverID: "d1", lat: 53.55, lon: 13.26)) }
        }
        let expected = [
            "boss RegisterDriver d1 done -", "d1 UpdateDriverStatus d1 done -", "d1 UpdateDriverStatus d1 done -",
            "d1 StreamLocations d1 rejected rate-limited",
        ]
        #expect(topic.lines(expected.count) == expected)
    }

    /// Wherever a client puts its token, the audit has it nowhere; it has the request's id and trace.
    @Test func noTokenIsInAnyRecord() throws {
        let house = try House()
        defer { house.close() }
        let topic = try Topic(house)
        defer { topic.close() }
        let token = house.token("boss", .operator)
        let boss = house.caller(token)
        for id in [token, "d1"] {
            var options = CallOptions()
            options.metadata.add("x-request-id", id == "d1" ? "r1" : token)
            options.metadata.add("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            for reason in ["late", token] {
                _ = boss.refusal {
                    $0.drivers.suspendDriver(.init(driverID: id, reason: reason), options: options, $1)
                }
                _ = boss.refusal { $0.trips.endTrip(.init(tripID: id, reason: reason), options: options, $1) }
            }
        }
        #expect(topic.lines(8).count == 8)
        for (text, record) in zip(topic.texts, topic.records) {
            #expect(!text.contains("eyJ") && !text.contains(token.suffix(40)), "\(text)")
            #expect(record["trace_id"] == "0af7651916cd43dd8448eb211c80319c")
            #expect(record["request_id"] == (record["target"] == "d1" ? "r1" : nil))
        }
    }
}
