import AccessTokens
import GRPCRuntime
import Operations
import Reactor
import RideAPI
import RideDomain
import Settings
import TestSupport
import Testing

@testable import Access

/// Who may call what, at both services over real gRPC.
@Suite(.serialized) struct RPCAccessTests {
    private static let vehicle = Driver_V1_Vehicle(
        make: "VW", model: "Golf", color: "white", plate: "NB-A 1", category: "standard")
    private let pickup = Trip_V1_Place(lat: 53.55, lon: 13.26)

    /// Every method of the services that run here.
    static let paths: [StaticString] = [
        "/driver.v1.DriverService/RegisterDriver", "/driver.v1.DriverService/GetDriver",
        "/driver.v1.DriverService/ListDrivers", "/driver.v1.DriverService/FindAvailableDrivers",
        "/driver.v1.DriverService/ListDriversInAreas", "/driver.v1.DriverService/UpdateDriverStatus",
        "/driver.v1.DriverService/ReportLocations", "/driver.v1.DriverService/StreamLocations",
        "/driver.v1.DriverService/WatchDriver", "/driver.v1.DriverService/UpdateDriver",
        "/driver.v1.DriverService/DeleteDriver", "/driver.v1.DriverService/SuspendDriver",
        "/driver.v1.DriverService/RestoreDriver", "/auth.v1.AuthService/CreateSession",
        "/auth.v1.AuthService/RefreshSession", "/auth.v1.AuthService/EndSession",
        "/auth.v1.AuthService/CreateEnrolment", "/auth.v1.AuthService/RedeemEnrolment",
        "/auth.v1.AuthService/CreateTicket", "/auth.v1.AuthService/RedeemTicket", "/auth.v1.AuthService/Revoke",
        "/trip.v1.TripService/CreateTrip", "/trip.v1.TripService/GetTrip",
        "/trip.v1.TripService/ListTrips", "/trip.v1.TripService/WatchTrip", "/trip.v1.TripService/CancelTrip",
        "/trip.v1.TripService/PickUpTrip", "/trip.v1.TripService/CompleteTrip", "/trip.v1.TripService/EndTrip",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ]

    private func register(_ house: House, _ ids: String..., name: String = "Ada") throws {
        let boss = house.caller(house.token("boss", .operator))
        for id in ids {
            _ = try boss.answer {
                $0.drivers.registerDriver(
                    Driver_V1_RegisterDriverRequest(
                        id: id, name: name, vehicle: Self.vehicle, lat: pickup.lat, lon: pickup.lon), $1)
            }.get()
        }
    }

    private func book(_ rider: String, driver: String? = nil, key: String? = nil) -> Trip_V1_CreateTripRequest {
        Trip_V1_CreateTripRequest(
            riderID: rider, driverID: driver, pickup: pickup, dropoff: pickup, idempotencyKey: key)
    }

    /// The error with which a stream ends.
    private func end(
        _ house: House, _ open: (@escaping (RPCError?) -> Void) -> Void
    ) -> String {
        var end: RPCError??
        open { end = .some($0) }
        house.turn { end != nil }
        guard case .some(.some(let error)) = end else { return "OK" }
        return "\(error.code) \(error.problem?.code ?? error.message)"
    }

    @Test func everyMethodIsForThoseThatTheTableNames() throws {
        #expect(Set(RPCRight.paths) == Set(Self.paths.map { "\($0)" }))
        let house = try House()
        defer { house.close() }
        var callers: [(name: String, caller: Caller, roles: Role?, service: ServiceName?)] = [
            ("anonymous", house.caller(nil), nil, nil)
        ]
        for role in Role.ofTokens { callers.append((role.rawValue, house.caller(house.token("ada", role)), role, nil)) }
        // Nobody becomes a service by a word of an issuer's.
        callers.append(("claims", house.caller(house.token("gateway", .service)), nil, nil))
        for service in ServiceName.allCases {
            callers.append((service.rawValue, house.caller(try house.token(service)), nil, service))
        }
        for path in Self.paths {
            let right = try #require(RPCRight.of("\(path)"))
            let isTrip = "\(path)".hasPrefix("/trip.")
            for (name, caller, role, service) in callers {
                let channel = isTrip ? caller.trips.channel : caller.drivers.channel
                let refusal = caller.refusal { _, done in
                    channel.unary(
                        path, Driver_V1_GetDriverRequest(), options: CallOptions(timeout: .milliseconds(500))
                    ) { (result: Result<Grpc_Health_V1_HealthCheckRequest, RPCError>) in done(result) }
                }
                let isKnown = role != nil || service != nil || name == "claims"
                let mayCall =
                    right.isForAnyone || role == .operator && !right.isInternal
                    || role.map(right.roles.contains) ?? false
                    || service.map(right.services.contains) ?? false
                let isRefused =
                    refusal == (isKnown ? "PERMISSION_DENIED insufficient-scope" : "UNAUTHENTICATED unauthenticated")
                #expect(isRefused == !mayCall, "\(name) at \(path): \(refusal)")
            }
        }
    }

    @Test func programsRegisterAndEnrolSimulatedDriversOnly() throws {
        let house = try House()
        defer { house.close() }
        try register(house, "d1")
        let notYours = "PERMISSION_DENIED not-yours"
        for service in [ServiceName.driver, .simulator] {
            let caller = house.caller(try house.token(service))
            func registration(_ id: String?) -> String {
                caller.refusal {
                    $0.drivers.registerDriver(
                        .init(id: id, name: "Ada", vehicle: Self.vehicle, lat: pickup.lat, lon: pickup.lon), $1)
                }
            }
            func enrolment(_ id: String) -> String {
                caller.refusal {
                    Auth_V1_AuthServiceClient(channel: $0.drivers.channel).createEnrolment(.init(driverID: id), $1)
                }
            }
            #expect(registration("sim-0001") == "OK" && enrolment("sim-0001") == "OK")
            #expect(enrolment("sim-0002") == "NOT_FOUND driver-not-found")
            for id in ["d1", "d2", "sim", "Sim-0001", "xsim-0001", ""] {
                #expect(registration(id) == notYours && enrolment(id) == notYours, "\(service): \(id)")
            }
            #expect(registration(nil) == notYours)
        }
    }

    /// A session would outlive the operator's token, under any name, and whoever revokes the operator would not know of it.
    @Test func noOperatorBeginsASessionOrATicket() throws {
        let house = try House()
        defer { house.close() }
        let boss = house.caller(house.token("boss", .operator))
        let refused = "PERMISSION_DENIED insufficient-scope"
        let identity = Auth_V1_Identity(subject: "backdoor", roles: ["operator"])
        #expect(boss.refusal { $0.auth.createSession(.init(identity: identity), $1) } == refused)
        #expect(boss.refusal { $0.auth.createTicket(.init(identity: identity), $1) } == refused)
        #expect(boss.refusal { $0.auth.redeemTicket(.init(), $1) } == refused)
        #expect(boss.refusal { $0.auth.refreshSession(.init(), $1) } == refused)
    }

    @Test func nobodyReachesWhatIsSomebodyElses() throws {
        let house = try House()
        defer { house.close() }
        try register(house, "d1", "d2")
        let (ada, bob) = (house.caller(house.token("ada", .rider)), house.caller(house.token("bob", .rider)))
        let (d1, d2) = (house.caller(house.token("d1", .driver)), house.caller(house.token("d2", .driver)))
        let boss = house.caller(house.token("boss", .operator))
        // The trip service asks the driver service in its own name.
        let trip = try #require(try ada.answer { $0.trips.createTrip(book("", driver: "d1"), $1) }.get().trip)
        #expect(trip.riderID == "ada" && trip.driverID == "d1")

        let notYours = "PERMISSION_DENIED not-yours"
        let notThere = "NOT_FOUND trip-not-found"
        #expect(bob.refusal { $0.trips.createTrip(book("ada"), $1) } == notYours)
        for other in [bob, d2] {
            #expect(other.refusal { $0.trips.getTrip(.init(tripID: trip.id), $1) } == notThere)
            #expect(other.refusal { $0.trips.cancelTrip(.init(tripID: trip.id), $1) } == notThere)
            #expect(other.refusal { $0.trips.listTrips(.init(riderID: "ada"), $1) } == notYours)
            #expect(other.refusal { $0.trips.listTrips(.init(driverID: "d1"), $1) } == notYours)
            #expect(try other.answer { $0.trips.listTrips(.init(), $1) }.get().trips.isEmpty)
            #expect(
                end(house) { other.trips.watchTrip(.init(tripID: trip.id), onMessage: { _ in }, onEnd: $0) } == notThere
            )
        }
        #expect(d2.refusal { $0.trips.pickUpTrip(.init(tripID: trip.id), $1) } == notThere)
        #expect(d2.refusal { $0.trips.completeTrip(.init(tripID: trip.id), $1) } == notThere)
        // Who is both may still not drive their own ride.
        let both = house.caller(house.token("ada", .rider, .driver))
        #expect(both.refusal { $0.trips.pickUpTrip(.init(tripID: trip.id), $1) } == notYours)
        #expect(d2.refusal { $0.drivers.updateDriverStatus(.init(driverID: "d1", status: .offline), $1) } == notYours)
        #expect(
            end(house) { d2.drivers.watchDriver(.init(driverID: "d1"), onMessage: { _ in }, onEnd: $0) } == notYours)
        let position = Driver_V1_ReportLocationsRequest(driverID: "d1", lat: 53.55, lon: 13.26)
        #expect(
            end(house) {
                let stream = d2.drivers.streamLocations(onMessage: { _ in }, onEnd: $0)
                stream.send(position)
            } == notYours)
        #expect(
            d2.refusal {
                let report = $0.drivers.reportLocations()
                report.send(position)
                report.finish($1)
            } == notYours)
        // A stream has one driver, the one that its first message names.
        #expect(
            end(house) {
                let stream = d2.drivers.streamLocations(onMessage: { _ in }, onEnd: $0)
                stream.send(.init(driverID: "d2", lat: 53.55, lon: 13.26))
                stream.send(position)
            } == "INVALID_ARGUMENT invalid-body")

        for own in [ada, d1, boss] {
            #expect(try own.answer { $0.trips.getTrip(.init(tripID: trip.id), $1) }.get().trip?.id == trip.id)
        }
        #expect(try ada.answer { $0.trips.listTrips(.init(), $1) }.get().trips.map(\.id) == [trip.id])
        #expect(try d1.answer { $0.trips.listTrips(.init(), $1) }.get().trips.map(\.id) == [trip.id])
        #expect(d1.refusal { $0.trips.pickUpTrip(.init(tripID: trip.id), $1) } == "OK")
        #expect(boss.refusal { $0.trips.completeTrip(.init(tripID: trip.id), $1) } == "OK")
        #expect(d2.refusal { $0.drivers.updateDriverStatus(.init(driverID: "d2", status: .offline), $1) } == "OK")
        let counted = try d2.answer { (caller, done) in
            let report = caller.drivers.reportLocations()
            report.send(.init(driverID: "d2", lat: 53.55, lon: 13.26))
            report.finish(done)
        }.get()
        #expect(counted.accepted + counted.dropped.values.reduce(0, +) == 1)
    }

    @Test func strangersSeeACarAndAGivenName() throws {
        let house = try House()
        defer { house.close() }
        try register(house, "d1", "d2", name: "Ada Lovelace")
        let ada = house.caller(house.token("ada", .rider))
        let whole: Set<String> = ["Ada Lovelace, NB-A 1"]
        let short: Set<String> = ["Ada, "]
        func seen(_ drivers: [Driver_V1_Driver]) -> Set<String> {
            Set(drivers.map { "\($0.name), \($0.vehicle?.plate ?? "?")" })
        }
        func get(_ caller: Caller, _ id: String) throws -> Set<String> {
            seen([try #require(try caller.answer { $0.drivers.getDriver(.init(driverID: id), $1) }.get().driver)])
        }
        func find(_ caller: Caller) throws -> Set<String> {
            let drivers = try caller.answer { $0.drivers.findAvailableDrivers(.init(), $1) }.get().drivers
            #expect(drivers.count == 2)
            return seen(drivers)
        }
        let driver = house.caller(house.token("d1", .driver))
        let boss = house.caller(house.token("boss", .operator))
        let gateway = house.caller(try house.token(ServiceName.gateway))
        let trips = house.caller(try house.token(ServiceName.trip))
        #expect(try get(ada, "d1") == short && find(ada) == short)
        #expect(try get(driver, "d1") == whole && get(driver, "d2") == short && find(driver) == short)
        #expect(try get(boss, "d1") == whole && find(boss) == whole)
        // What it shows to many.
        #expect(try get(gateway, "d1") == short && find(gateway) == short)
        let everywhere = Driver_V1_ListDriversInAreasRequest(areas: [
            Driver_V1_Box(west: 13, south: 53, east: 14, north: 54)
        ])
        let areas = try gateway.answer { $0.drivers.listDriversInAreas(everywhere, $1) }.get().areas
        #expect(areas.count == 1 && seen(areas[0].drivers) == short)
        // What it puts into the trip.
        #expect(try get(trips, "d1") == whole && find(trips) == whole)

        // Chosen or found, the driver of one's own trip has a plate; those that may be booked instead have none.
        let trip = try #require(try ada.answer { $0.trips.createTrip(book(""), $1) }.get().trip)
        #expect(trip.driver?.name == "Ada Lovelace" && trip.driver?.vehicle?.plate == "NB-A 1")
        let other = house.caller(house.token("bob", .rider))
        guard case .failure(let error) = other.answer({ $0.trips.createTrip(book("", driver: trip.driverID), $1) })
        else {
            Issue.record("booked twice")
            return
        }
        #expect(seen(error.problem?.alternatives ?? []) == short)
    }

    /// A driver who can't be booked is seen by themselves, by operators, and by the gateway, which tells the rider on the trip.
    @Test func aCarThatNobodyCanBookIsFollowedByNoStranger() throws {
        let house = try House()
        defer { house.close() }
        try register(house, "d1", "d2")
        let ada = house.caller(house.token("ada", .rider))
        let bob = house.caller(house.token("bob", .rider))
        let (d1, d2) = (house.caller(house.token("d1", .driver)), house.caller(house.token("d2", .driver)))
        let boss = house.caller(house.token("boss", .operator))
        let gateway = house.caller(try house.token(ServiceName.gateway))
        func get(_ caller: Caller) throws -> Driver_V1_GetDriverResponse {
            try caller.answer { $0.drivers.getDriver(.init(driverID: "d1"), $1) }.get()
        }
        func see(_ status: Driver_V1_DriverStatus, at lat: Double, isHidden: Bool, trip: String? = nil) throws {
            _ = try d1.answer { (caller, done) in
                let report = caller.drivers.reportLocations()
                report.send(.init(driverID: "d1", lat: lat, lon: 13.26, heading: 90, speed: 8))
                report.finish(done)
            }.get()
            for stranger in [ada, bob, d2] {
                let seen = try get(stranger)
                let driver = try #require(seen.driver)
                #expect(driver.status == status && driver.name == "Ada" && driver.activeTripID == nil)
                #expect((driver.updatedAt == nil) == isHidden && (seen.revision == 0) == isHidden)
                guard isHidden else { continue }
                #expect(driver.lat == 0 && driver.lon == 0 && driver.heading == nil && driver.speed == nil)
                #expect(!driver.present && driver.suspension == nil)
            }
            let shown = try get(gateway)
            #expect(shown.driver?.updatedAt != nil && shown.driver?.lat != 0 && shown.revision > 0)
            #expect(shown.driver?.activeTripID == nil && shown.driver?.vehicle?.plate == "")
            for caller in [boss, d1] {
                let whole = try get(caller)
                #expect(whole.driver?.lat == shown.driver?.lat && whole.revision >= shown.revision)
                #expect(whole.driver?.activeTripID == trip && whole.driver?.status == status)
            }
        }
        try see(.available, at: 53.5501, isHidden: false)
        _ = try d1.answer { $0.drivers.updateDriverStatus(.init(driverID: "d1", status: .offline), $1) }.get()
        try see(.offline, at: 53.5502, isHidden: true)
        _ = try d1.answer { $0.drivers.updateDriverStatus(.init(driverID: "d1", status: .available), $1) }.get()
        let trip = try #require(try bob.answer { $0.trips.createTrip(book("", driver: "d1"), $1) }.get().trip)
        house.turn { (try? get(boss).driver?.activeTripID) == trip.id }
        try see(.unavailable, at: 53.5503, isHidden: true, trip: trip.id)
        _ = try d1.answer { $0.trips.completeTrip(.init(tripID: trip.id), $1) }.get()
        house.turn { (try? get(boss).driver?.status) == .available }
        let before = try get(boss).driver?.lat
        _ = try boss.answer { $0.drivers.suspendDriver(.init(driverID: "d1", reason: "storm"), $1) }.get()
        for stranger in [ada, d2] { #expect(try get(stranger).driver?.updatedAt == nil) }
        #expect(try get(gateway).driver?.lat == before)
    }

    @Test func anIdempotencyKeyBelongsToWhoeverUsesIt() throws {
        let house = try House()
        defer { house.close() }
        try register(house, "d1", "d2")
        let (ada, bob) = (house.caller(house.token("ada", .rider)), house.caller(house.token("bob", .rider)))
        let first = try ada.answer { $0.trips.createTrip(book("ada", key: "k"), $1) }.get()
        let other = try bob.answer { $0.trips.createTrip(book("bob", key: "k"), $1) }.get()
        let again = try ada.answer { $0.trips.createTrip(book("ada", key: "k"), $1) }.get()
        #expect(!other.replayed && other.trip?.id != first.trip?.id)
        #expect(again.replayed && again.trip?.id == first.trip?.id)
    }

    @Test func badTokensAreRefusedWithTheReason() throws {
        let house = try House()
        defer { house.close() }
        let other = try #require(SigningKey())
        let foreign = TokenSigner(key: other, audience: "cabstand").token(
            for: "ada", [.operator], seconds: 60, at: house.loop.wallClockMilliseconds / 1000, id: "1", client: "test")
        let service = try house.token(.gateway)
        let invalid = "UNAUTHENTICATED invalid-token"
        for (token, expected) in [
            (foreign, invalid), (house.token("ada", .operator, seconds: -31), invalid),

            (String(service.dropLast()), invalid), ("cabstand1.gateway.9999999999.AAAA", invalid),
        ] {
            let caller = house.caller(token)
            #expect(caller.refusal { $0.drivers.listDrivers(.init(), $1) } == expected, "\(token ?? "")")
        }
        // The challenge is RFC 6750's.
        let answer = house.caller(foreign).answer { $0.drivers.listDrivers(.init(), $1) }
        guard case .failure(let error) = answer else {
            Issue.record("a foreign token was taken")
            return
        }
        #expect(
            error.problem?.metadata["www_authenticate"]
                == "Bearer realm=\"cabstand\", error=\"invalid_token\", error_description=\"The token's issuer has no key of that kid.\""
        )
        var basic = CallOptions()
        basic.metadata.add("authorization", "Basic YWRhOmFkYQ")
        #expect(
            house.caller(nil).refusal { $0.drivers.listDrivers(.init(), options: basic, $1) }
                == "UNAUTHENTICATED unauthenticated")
        // Two are none.
        let caller = house.caller(house.token("boss", .operator))
        var options = CallOptions()
        options.metadata.add("authorization", "Bearer \(house.token("boss", .operator))")
        #expect(
            caller.refusal { $0.drivers.listDrivers(.init(), options: options, $1) }
                == "INVALID_ARGUMENT invalid-request")
    }

    @Test func aStreamEndsWhenItsTokenDoes() throws {
        let house = try House()
        defer { house.close() }
        try register(house, "d1")
        // Clocks may differ by 30 s: it is good for one second or two more.
        let caller = house.caller(house.token("d1", .driver, seconds: -28))
        var messages = 0
        let end = end(house) {
            caller.drivers.watchDriver(.init(driverID: "d1"), onMessage: { _ in messages += 1 }, onEnd: $0)
        }
        #expect(end == "UNAUTHENTICATED invalid-token" && messages == 1)
    }

    @Test func withoutAuthenticationEverybodyMayDoEverything() throws {
        let house = try House(required: false)
        defer { house.close() }
        try register(house, "d1")
        let anybody = house.caller(nil)
        let trip = try #require(try anybody.answer { $0.trips.createTrip(book("ada"), $1) }.get().trip)
        #expect(anybody.refusal { $0.trips.completeTrip(.init(tripID: trip.id), $1) } == "OK")
    }

    @Test func aServerWithAMethodThatTheTableDoesNotHaveDoesNotStart() throws {
        let loop = try EventLoop()
        let registry = ServiceRegistry()
        registry.unary(service: "driver.v1.DriverService", method: "Forget") {
            (_: Driver_V1_GetDriverRequest, call: UnaryServerCall<Driver_V1_GetDriverResponse>) in
            call.respond(.init())
        }
        let server = GRPCServer(loop: loop, registry: registry)
        #expect(throws: AccessSettingError.self) { try RPCAccess.guarding(server, nil) }
    }

    @Test func aServiceThatCouldVerifyNobodyDoesNotStart() throws {
        let folder = TemporaryFolder()
        let key = folder.write("key.pem", House.publicKey)
        func start(_ settings: [String: String]) throws(AccessSettingError) -> AccessConfiguration? {
            guard
                case .run(let values)? = try? SettingsDeclaration.trip.read(
                    arguments: [], environment: settings.merging(["CABSTAND_AUTH": "required"]) { $1 })
            else { preconditionFailure("a help text was not asked for") }
            return try .ofService(values)
        }
        func refusal(_ settings: [String: String]) -> String {
            do throws(AccessSettingError) {
                _ = try start(settings)
                return ""
            } catch {
                return error.description
            }
        }
        #expect(refusal([:]).contains("CABSTAND_AUTH_KEY"))
        #expect(refusal(["CABSTAND_AUTH_KEY": key]).contains("CABSTAND_SERVICE_SECRET"))
        let short = folder.write("short", "0123456789\n")
        #expect(
            refusal(["CABSTAND_AUTH_KEY": key, "CABSTAND_SERVICE_SECRET": short]).contains("at least 32 characters"))
        #expect(refusal(["CABSTAND_AUTH_KEY": short]).contains("-pubout"))
        let secret = folder.write("secret", String(repeating: "0123456789", count: 4) + "\n")
        #expect(refusal(["CABSTAND_AUTH_KEY": key, "CABSTAND_SERVICE_SECRET": secret]) == "")
        // A private key has its public half in it.
        let own = folder.write("own.pem", House.privateKey)
        #expect(refusal(["CABSTAND_AUTH_KEY": own, "CABSTAND_SERVICE_SECRET": secret]) == "")
    }

    @Test func metadataInLogLinesHaveNoToken() {
        var metadata = Metadata()
        metadata.add("authorization", "Bearer secret-word")
        metadata.add("\(RelayedCall.key)", "Bearer secret-word")
        metadata.add("x-name", "ada")
        #expect(!"\(metadata)".contains("secret-word") && "\(metadata)".contains("x-name: ada"))
        var options = CallOptions()
        options.metadata = metadata
        var dumped = ""
        dump(options, to: &dumped)
        #expect(!dumped.contains("secret-word") && !"\(options)".contains("secret-word"))
    }
}
