import Access
import AccessTokens
import GRPCRuntime
import HTTP1
import RideAPI
import Synchronization
import TestSupport
import Testing

@testable import GatewayService

/// Makes tokens as an issuer does.
struct TestIssuer {
    let name: String
    let key: SigningKey

    init(_ name: String = "https://id.example") throws {
        self.name = name
        key = try #require(SigningKey())
    }

    var trusted: TrustedIssuer {
        TrustedIssuer(name: name, audience: "cabstand", keys: JSONWebKeySet([key.publicKey]))
    }

    /// The field line that carries a token.
    func field(
        _ subject: String, _ roles: String..., expires: Int64 = 4_000_000_000, audience: String = "cabstand",
        issued: Int64 = 1_000
    ) -> String {
        let token = AccessToken(
            issuer: name, subject: subject, audience: [audience], expires: expires, issuedAt: issued,
            identifier: "\(subject)-\(roles)", client: "test", scopes: Set(roles))
        return "Authorization: Bearer \(key.sign(token) ?? "")\r\n"
    }
}

extension AccessConfiguration {
    static func trusting(_ issuers: TestIssuer..., publicLists: Bool = true) -> Self {
        Self(
            verifier: TokenVerifier(issuers.map(\.trusted)), firstIssuer: issuers[0].name, publicLists: publicLists,
            keySet: "{\"keys\":[\(issuers[0].key.json)]}")
    }

    /// An installation with a key of its own.
    static func own(_ key: SigningKey) -> Self {
        let issuer = TrustedIssuer(
            name: OwnIssuer.name, audience: "cabstand", keys: JSONWebKeySet([key.publicKey]))
        return Self(
            verifier: TokenVerifier([issuer]), firstIssuer: OwnIssuer.name, publicLists: true,
            signer: TokenSigner(key: key, audience: "cabstand"), keySet: "{\"keys\":[\(key.json)]}")
    }
}

@Suite struct AccessTests {
    private static let place = "\"pickup\":{\"lat\":1,\"lon\":2},\"dropoff\":{\"lat\":3,\"lon\":4}"

    /// Services to which everything belongs to Ada, who is a rider and a driver.
    private func world(_ issuers: TestIssuer..., publicLists: Bool = true) throws -> RESTWorld {
        let world = try RESTWorld(
            access: .init(
                verifier: TokenVerifier(issuers.map(\.trusted)), firstIssuer: issuers[0].name, publicLists: publicLists,
                keySet: "{\"keys\":[\(issuers[0].key.json)]}"))
        let trip = Trip_V1_Trip(id: "t", riderID: "ada", driverID: "ada", status: .inProgress)
        let driver = Driver_V1_Driver(id: "ada", name: "Ada")
        world.scripts.set {
            $0.find = { _, _ in .success(Driver_V1_FindAvailableDriversResponse()) }
            $0.list = { _, _ in .success(Driver_V1_ListDriversResponse()) }
            $0.get = { _, _ in .success(Driver_V1_GetDriverResponse(driver: driver)) }
            $0.register = { _, _ in .success(Driver_V1_RegisterDriverResponse(driver: driver, created: true)) }
            $0.setStatus = { _, _ in .success(Driver_V1_UpdateDriverStatusResponse(driver: driver)) }
            $0.createTrip = { _, _ in .success(Trip_V1_CreateTripResponse(trip: trip)) }
            $0.getTrip = { _, _ in .success(Trip_V1_GetTripResponse(trip: trip)) }
            $0.listTrips = { _, _ in .success(Trip_V1_ListTripsResponse()) }
            $0.pickUp = { _, _ in .success(Trip_V1_PickUpTripResponse(trip: trip)) }
            $0.complete = { _, _ in .success(Trip_V1_CompleteTripResponse(trip: trip)) }
            $0.cancel = { _, _ in .success(Trip_V1_CancelTripResponse(trip: trip)) }
            $0.update = { _, _ in .success(Driver_V1_UpdateDriverResponse(driver: driver)) }
            $0.delete = { _, _ in .success(Driver_V1_DeleteDriverResponse()) }
            $0.suspend = { _, _ in .success(Driver_V1_SuspendDriverResponse(driver: driver)) }
            $0.restore = { _, _ in .success(Driver_V1_RestoreDriverResponse(driver: driver)) }
            $0.end = { _, _ in .success(Trip_V1_EndTripResponse(trip: trip)) }
        }
        return world
    }

    private func body(_ operation: Operation) -> String? {
        switch operation {
        case .registerDriver:
            "{\"name\":\"Ada\",\"lat\":1,\"lon\":2,\"vehicle\":{\"make\":\"a\",\"model\":\"b\",\"color\":\"c\",\"plate\":\"d\",\"category\":\"e\"}}"
        case .setDriverStatus: "{\"status\":\"offline\"}"
        case .createTrip: "{\"rider_id\":\"ada\",\(Self.place)}"
        case .createTicket: "{\"path\":\"/ws/trips/t\"}"
        case .updateDriver: "{\"name\":\"Ada L\"}"
        case .suspendDriver, .restoreDriver, .endTrip: "{\"reason\":\"storm\"}"
        case .revoke: "{\"subject\":\"ada\",\"reason\":\"lost phone\"}"
        default: nil
        }
    }

    private func status(_ response: String) -> Int { Int(response.split(separator: " ")[1]) ?? 0 }

    /// Every route of REST, each method, with every role and with none, against the table.
    @Test func everyRouteIsForWhomTheTableSays() throws {
        let issuer = try TestIssuer()
        let world = try world(issuer)
        let callers: [(Role?, String)] =
            [(nil, "")] + Role.allCases.map { ($0, issuer.field("ada", $0.rawValue)) }
        var refused = 0
        for operation in Operation.allCases {
            let (methods, pattern) = operation.route
            // Sockets, and signing in and out, have tests of their own.
            guard !operation.isSocket, !operation.isForEverybody else { continue }
            let path = pattern.replacing("{id}", with: pattern.hasPrefix("/trips") ? "t" : "ada")
            for method in methods {
                for (role, fields) in callers {
                    for prefix in ["", "/v1"] {
                        let words: [HTTP1Method: String] = [.get: "GET", .post: "POST", .delete: "DELETE"]
                        let word = words[method] ?? "PATCH"
                        let response = world.send(word, prefix + path, body: body(operation), fields: fields)
                        let mayDo = role.map { $0 == .operator || operation.roles.contains($0) }
                        let expected = mayDo ?? operation.isPublicList
                        let status = status(response)
                        refused += expected ? 0 : 1
                        #expect(
                            expected ? (200...204).contains(status) : status == (role == nil ? 401 : 403),
                            "\(word) \(path) as \(role?.rawValue ?? "nobody"): \(response)")
                    }
                }
            }
        }
        #expect(refused > 30)
    }

    @Test func listsAreForEverybodyOnlyIfTheOperatorSaysSo() throws {
        let world = try world(try TestIssuer(), publicLists: false)
        #expect(status(world.send("GET", "/drivers/available")) == 401)
    }

    /// Somebody else's trips are not there; somebody else's name is refused.
    @Test func nobodyTouchesWhatIsSomebodyElses() throws {
        let issuer = try TestIssuer()
        let world = try world(issuer)
        let eve = issuer.field("eve", "rider", "driver")
        for (method, path) in [
            ("GET", "/trips/t"), ("POST", "/trips/t/cancel"), ("POST", "/trips/t/pickup"),
            ("PATCH", "/trips/t/complete"),
            ("GET", "/trips/none%00"),
        ] {
            #expect(status(world.send(method, path, fields: eve)) == 404, "\(path)")
        }
        let book = body(.createTrip)
        #expect(world.send("POST", "/trips", body: book, fields: eve).contains("\"code\":\"not-yours\""))
        let offline = body(.setDriverStatus)
        #expect(
            world.send("PATCH", "/drivers/ada/status", body: offline, fields: eve).contains("\"code\":\"not-yours\""))
        #expect(status(world.send("GET", "/trips?rider_id=ada", fields: eve)) == 403)
        #expect(status(world.send("GET", "/trips?driver_id=ada", fields: eve)) == 403)
        // A rider is no driver of the same name.
        let rider = issuer.field("ada", "rider")
        #expect(status(world.send("GET", "/trips?driver_id=ada", fields: rider)) == 403)
        #expect(status(world.send("PATCH", "/drivers/ada/status", body: offline, fields: rider)) == 403)
    }

    @Test func servicesAreAskedInTheCallersNameAndSayNoInTheirOwnWords() throws {
        let issuer = try TestIssuer()
        let world = try world(issuer)
        let seen = Mutex<[String?]>([])
        world.scripts.set {
            $0.find = { _, metadata in
                seen.withLock { $0.append(metadata["authorization"]) }
                return .success(Driver_V1_FindAvailableDriversResponse())
            }
        }
        let field = issuer.field("ada", "rider")
        _ = world.send("GET", "/drivers/available", fields: field)
        _ = world.send("GET", "/drivers/available")
        #expect(seen.withLock { $0 } == [String(field.dropFirst(15).dropLast()), nil])

        @Sendable func refusal(_ code: StatusCode, _ reason: String) -> RPCError {
            let challenge = ["www_authenticate": "Bearer realm=\"cabstand\", error=\"invalid_token\""]
            return RPCError(ProblemDetails(code: reason, detail: "No.", metadata: challenge), code: code)
        }
        for (code, reason, expected) in [
            (.unauthenticated, "invalid-token", 401), (.permissionDenied, "insufficient-scope", 403),
            (.permissionDenied, "not-yours", 403),
        ] as [(StatusCode, String, Int)] {
            world.scripts.set { $0.find = { _, _ in .failure(refusal(code, reason)) } }
            let response = world.send("GET", "/drivers/available", fields: field)
            #expect(status(response) == expected && response.contains("\"code\":\"\(reason)\""))
            #expect(response.contains("WWW-Authenticate: Bearer realm=\"cabstand\", error=\"invalid_token\"\r\n"))
            #expect(!response.contains("www_authenticate"))
        }
        // Of the gateway's own token no caller can mend anything.
        world.scripts.set { $0.find = { _, _ in .failure(refusal(.unauthenticated, "invalid-token")) } }
        #expect(status(world.send("GET", "/drivers/available")) == 500)
    }

    /// While a service fetches the new key of an issuer it answers that it is busy: nobody who may is refused for it.
    @Test func aServiceThatIsBusyWithTokensIsAskedAgain() throws {
        let issuer = try TestIssuer()
        let world = try world(issuer)
        let asked = Mutex(0)
        @Sendable func busy() -> RPCError {
            .domain(.unavailable, ProblemDetails(code: "authentication-busy", detail: "Try again.", retryAfter: 1_000))
        }
        world.scripts.set {
            $0.createTrip = { request, _ in
                let number = asked.withLock { number in
                    number += 1
                    return number
                }
                if number < 3 { return .failure(busy()) }
                return .success(Trip_V1_CreateTripResponse(trip: Trip_V1_Trip(id: "t", riderID: request.riderID)))
            }
            $0.find = { _, _ in .failure(busy()) }
        }
        let booked = world.send("POST", "/trips", body: "{\(Self.place)}", fields: issuer.field("ada", "rider"))
        #expect(status(booked) == 201 && asked.withLock { $0 } == 3)
        // One that stays busy is not said to be away.
        let refused = world.send("GET", "/drivers/available", fields: issuer.field("ada", "rider"))
        #expect(status(refused) == 503 && refused.contains("\"code\":\"authentication-busy\""))
    }

    @Test func listsHaveOnesOwnTrips() throws {
        let issuer = try TestIssuer()
        let world = try world(issuer)
        let asked = Mutex<[Trip_V1_ListTripsRequest]>([])
        world.scripts.set {
            $0.listTrips = { request, _ in
                asked.withLock { $0.append(request) }
                return .success(Trip_V1_ListTripsResponse())
            }
        }
        _ = world.send("GET", "/trips", fields: issuer.field("ada", "rider"))
        _ = world.send("GET", "/trips", fields: issuer.field("bob", "driver"))
        _ = world.send("GET", "/trips?driver_id=bob&rider_id=ada", fields: issuer.field("bob", "driver"))
        _ = world.send("GET", "/trips", fields: issuer.field("olga", "operator"))
        let requests = asked.withLock { $0 }
        #expect(requests.map(\.riderID) == ["ada", nil, "ada", nil])
        #expect(requests.map(\.driverID) == [nil, "bob", "bob", nil])
    }

    /// Whose trip it is, and how it stands, is one question to the trip service, whoever asks.
    @Test func aTripIsFetchedOnce() throws {
        let issuer = try TestIssuer()
        let world = try world(issuer)
        let asked = Mutex(0)
        world.scripts.set {
            $0.getTrip = { _, _ in
                asked.withLock { $0 += 1 }
                return .success(Trip_V1_GetTripResponse(trip: Trip_V1_Trip(id: "t", riderID: "ada", driverID: "dan")))
            }
        }
        for (number, caller) in [("ada", "rider"), ("dan", "driver"), ("olga", "operator")].enumerated() {
            let response = world.send("GET", "/trips/t", fields: issuer.field(caller.0, caller.1))
            #expect(status(response) == 200 && response.contains("\"id\":\"t\""), "\(response)")
            #expect(asked.withLock { $0 } == number + 1)
        }
        #expect(status(world.send("GET", "/trips/t", fields: issuer.field("bob", "rider"))) == 404)
        #expect(asked.withLock { $0 } == 4)
    }

    @Test func aRiderBooksForThemselvesAndKeysAreTheirOwn() throws {
        let issuer = try TestIssuer()
        let other = try TestIssuer("https://other.example")
        let world = try world(issuer, other)
        let asked = Mutex<[Trip_V1_CreateTripRequest]>([])
        world.scripts.set {
            $0.createTrip = { request, _ in
                asked.withLock { $0.append(request) }
                return .success(Trip_V1_CreateTripResponse(trip: Trip_V1_Trip(id: "t", riderID: request.riderID)))
            }
        }
        let key = "Idempotency-Key: k1\r\n"
        let callers = [
            issuer.field("ada", "rider"), issuer.field("ada", "rider"), issuer.field("bob", "rider"),
            other.field("ada", "rider"), issuer.field("auth0|7", "rider"),
        ]
        for caller in callers {
            let response = world.send("POST", "/trips", body: "{\(Self.place)}", fields: caller + key)
            #expect(status(response) == 201, "\(response)")
        }
        let requests = asked.withLock { $0 }
        #expect(requests.prefix(3).map(\.riderID) == ["ada", "ada", "bob"])
        // Two issuers' Adas are two, and each has an identifier.
        #expect(Set(requests.map(\.riderID)).count == 4)
        #expect(requests.allSatisfy { (1...64).contains($0.riderID.utf8.count) && !$0.riderID.contains("|") })
        let keys = requests.map { $0.idempotencyKey ?? "" }
        #expect(keys[0] == keys[1])
        #expect(Set(keys).count == 4)
        #expect(keys.allSatisfy { (1...255).contains($0.utf8.count) })
        // An operator says whom it is for.
        let olga = issuer.field("olga", "operator")
        #expect(status(world.send("POST", "/trips", body: "{\(Self.place)}", fields: olga)) == 422)
        #expect(status(world.send("POST", "/trips", body: body(.createTrip), fields: olga)) == 201)
    }

    /// RFC 6750 §3.1: no error code where nothing was sent.
    @Test func refusalsAreThoseOfBearerTokens() throws {
        let issuer = try TestIssuer()
        let world = try world(issuer)
        func challenge(_ fields: String) -> (Int, String) {
            let response = world.send("GET", "/trips", fields: fields)
            let line = response.split(separator: "\r\n").first { $0.lowercased().hasPrefix("www-authenticate:") }
            return (status(response), line.map { String($0.dropFirst("www-authenticate: ".count)) } ?? "")
        }
        let realm = "Bearer realm=\"cabstand\""
        #expect(challenge("") == (401, realm))
        for other in ["Basic YTpi", "Bearer", "Bearer ", "Token x"] {
            #expect(challenge("Authorization: \(other)\r\n") == (401, realm), "\(other)")
        }
        #expect(
            challenge("Authorization: bearer x\r\n").1.hasPrefix(
                "\(realm), error=\"invalid_token\", error_description=\""))
        for bad in [
            issuer.field("ada", "rider", expires: 1_600_000_000), issuer.field("ada", "rider", audience: "maps"),
            try TestIssuer().field("ada", "rider"), try TestIssuer("https://evil.example").field("ada", "operator"),
        ] {
            let (status, line) = challenge(bad)
            #expect(status == 401 && line.contains("error=\"invalid_token\""), "\(line)")
        }
        let twice = issuer.field("ada", "rider") + issuer.field("ada", "rider")
        #expect(challenge(twice).0 == 400 && challenge(twice).1.contains("error=\"invalid_request\""))
        // A token for nothing.
        let nothing = challenge(issuer.field("ada"))
        #expect(nothing == (403, "\(realm), error=\"insufficient_scope\", scope=\"driver operator rider\""))
        // A token in the address is none (RFC 6750 §2.3).
        #expect(status(world.send("GET", "/trips?access_token=x")) == 401)
    }

    /// What an issuer says of time is a number like any other from outside.
    @Test func anInstantThatNobodyCanCalculateWithEndsNothing() throws {
        let issuer = try TestIssuer()
        let world = try world(issuer)
        for expires: Int64 in [.max, .max - 1, .max / 1000, 253_402_300_800] {
            let fields = issuer.field("ada", "rider", expires: expires)
            #expect(world.send("GET", "/auth/session", fields: fields).contains("\"expires_at\":\""))
            #expect(status(world.send("POST", "/ws/tickets", body: body(.createTicket), fields: fields)) == 201)
        }
    }

    @Test func aKeyThatIsGoneOpensNothing() throws {
        let (old, new) = (try TestIssuer(), try TestIssuer())
        let world = try world(old)
        let fields = old.field("ada", "rider")
        #expect(status(world.send("GET", "/trips", fields: fields)) == 200)
        #expect(world.send("GET", "/.well-known/jwks.json").contains(old.key.publicKey.identifier ?? "?"))
        world.use(.trusting(new))
        #expect(status(world.send("GET", "/trips", fields: fields)) == 401)
        #expect(status(world.send("GET", "/trips", fields: new.field("ada", "rider"))) == 200)
        #expect(world.send("GET", "/.well-known/jwks.json").contains(new.key.publicKey.identifier ?? "?"))
    }
}
