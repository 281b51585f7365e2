import GRPCRuntime
import ProtobufWire
import Reactor
import RideAPI
import RideDomain
import Synchronization
import TestSupport
import Testing

@testable import GatewayService
@testable import HTTPServer

@Suite struct RESTTrips {
    @Test func bookingADriver() throws {
        let world = try RESTWorld()
        let asked = Mutex<(Trip_V1_CreateTripRequest, Metadata)?>(nil)
        world.scripts.set {
            $0.createTrip = { request, metadata in
                asked.withLock { $0 = (request, metadata) }
                return .success(.init(trip: ride, replayed: request.idempotencyKey == "again"))
            }
        }
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let answer = world.send("POST", "/trips", body: booking, fields: "traceparent: \(parent)\r\n")
        #expect(answer.status == 201)
        #expect(answer.field("location") == "/trips/t1")
        #expect(answer.field("idempotent-replayed") == nil)
        #expect(answer.body.hasPrefix(#"{"id":"t1","rider_id":"r1","driver_id":"d1","driver":{"id":"d1","name":"Ada""#))
        let (request, metadata) = try #require(asked.withLock { $0 })
        #expect(request.id?.utf8.count == 36)
        #expect(request.riderID == "r1" && request.driverID == "d1" && request.idempotencyKey == nil)
        #expect(metadata["x-request-id"] == "r1")
        #expect(metadata["traceparent"] == parent)
        let again = world.send("POST", "/trips", body: booking, fields: "Idempotency-Key: again\r\n")
        #expect(again.field("idempotent-replayed") == "true")
    }

    @Test(arguments: ["", "é", String(repeating: "k", count: 256)])
    func badIdempotencyKeys(_ key: String) throws {
        let answer = try RESTWorld().send("POST", "/trips", body: booking, fields: "Idempotency-Key: \(key)\r\n")
        #expect(answer.status == 400)
        #expect(answer.body.contains(#""pointer":"/Idempotency-Key""#))
    }

    @Test(
        arguments: [
            (
                StatusCode.failedPrecondition, ProblemDetails(code: "driver-unavailable", detail: "x"), 409,
                #""alternatives":[]"#
            ),
            (
                .failedPrecondition, .init(code: "driver-unavailable", detail: "x", alternatives: [car]), 409,
                #""alternatives":[{"id":"d1""#
            ),
            (
                .failedPrecondition,
                .init(code: "rider-has-active-trip", detail: "x", metadata: ["active_trip_id": "t9"]), 409,
                #""active_trip_id":"t9""#
            ),
            (
                .invalidArgument,
                .init(code: "unknown-driver", detail: "x", violations: [.init(pointer: "/driver_id", detail: "y")]),
                422, #""errors":[{"pointer":"/driver_id","detail":"y"}]"#
            ),
            (.failedPrecondition, .init(code: "driver-too-far", detail: "x"), 422, #""code":"driver-too-far""#),
            (.failedPrecondition, .init(code: "wrong-category", detail: "x"), 422, #""code":"wrong-category""#),
            (
                .failedPrecondition, .init(code: "no-driver-available", detail: "x"), 409,
                #""code":"no-driver-available""#
            ),
            (
                .aborted, .init(code: "key-in-progress", detail: "x", retryAfter: 1500), 409,
                #""code":"key-in-progress""#
            ),
            (.alreadyExists, .init(code: "key-reused", detail: "x"), 422, #""code":"key-reused""#),
            (.unavailable, .init(code: "backend-unavailable", detail: "x"), 503, #""code":"backend-unavailable""#),
        ] as [(StatusCode, ProblemDetails, Int, String)])
    func theServicesErrorsBecomeProblems(
        _ code: StatusCode, _ details: ProblemDetails, _ status: Int, _ text: String
    ) throws {
        let world = try RESTWorld()
        world.scripts.set { $0.createTrip = { _, _ in .failure(.domain(code, details)) } }
        let answer = world.send("POST", "/trips", body: booking)
        #expect(answer.status == status)
        #expect(answer.body.contains(text))
        #expect(answer.body.contains(#""request_id":"r1""#))
        if details.retryAfter != nil { #expect(answer.field("retry-after") == "2") }
        if status == 503 { #expect(answer.field("retry-after") == "1") }
    }

    @Test func alternativesAreThreeAtMost() throws {
        let world = try RESTWorld()
        let details = ProblemDetails(code: "driver-unavailable", detail: "x", alternatives: [car, car, car, car])
        world.scripts.set { $0.createTrip = { _, _ in .failure(.domain(.failedPrecondition, details)) } }
        #expect(world.send("POST", "/trips", body: booking).body.ranges(of: #"{"id":"d1""#).count == 3)
    }

    @Test func badBodies() throws {
        let world = try RESTWorld()
        #expect(world.send("POST", "/trips", body: #"{"rider_id":"#).body.contains(#""code":"invalid-json""#))
        let invalid = world.send("POST", "/trips", body: #"{"rider_id":"r","pickup":{"lat":91,"lon":0},"x":1}"#)
        #expect(invalid.status == 422)
        for pointer in ["/pickup/lat", "/x", "/dropoff"] {
            #expect(invalid.body.contains("\"pointer\":\"\(pointer)\""))
        }
        let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b"
        let answer = Client(world.port).send("POST /trips HTTP/1.1\r\nHost: h\r\n\(form)").response()
        #expect(answer.status == 415)
    }

    @Test func stepsOfATripByPostAndByPatch() throws {
        let world = try RESTWorld()
        world.scripts.set {
            $0.pickUp = { _, _ in .success(.init(trip: ride)) }
            $0.complete = { _, _ in .success(.init(trip: ride)) }
            $0.cancel = { _, _ in
                .failure(.domain(.failedPrecondition, .init(code: "trip-already-ended", detail: "x")))
            }
        }
        for method in ["POST", "PATCH"] {
            #expect(world.send(method, "/trips/t1/pickup").status == 200)
            #expect(world.send(method, "/v1/trips/t1/complete").status == 200)
            #expect(world.send(method, "/trips/t1/cancel").status == 409)
        }
        #expect(world.send("GET", "/trips/t1/pickup").field("allow") == "POST, PATCH, OPTIONS")
        #expect(world.send("POST", "/trips/t1/explode").status == 404)
    }

    @Test func aForeignPageChangesNothing() throws {
        let world = try RESTWorld()
        world.scripts.set { $0.cancel = { _, _ in .success(.init(trip: ride)) } }
        #expect(world.send("POST", "/trips/t1/cancel", fields: "Origin: https://evil.example\r\n").status == 403)
        #expect(world.send("POST", "/trips/t1/cancel", fields: "Origin: http://h\r\n").status == 200)
    }

    @Test func tripsByRiderDriverAndStatus() throws {
        let world = try RESTWorld()
        let asked = Mutex<Trip_V1_ListTripsRequest?>(nil)
        world.scripts.set {
            $0.listTrips = { request, _ in
                asked.withLock { $0 = request }
                return .success(.init(trips: [ride, ride], nextPageToken: "n"))
            }
        }
        let answer = world.send("GET", "/trips?rider_id=r1&driver_id=d1&status=completed&page_size=7&page_token=abc")
        #expect(answer.body.hasPrefix(#"{"trips":[{"id":"t1","#))
        #expect(answer.body.hasSuffix(#"],"next_page_token":"n"}"#))
        let request = asked.withLock { $0 }
        #expect(request?.riderID == "r1" && request?.driverID == "d1" && request?.status == .completed)
        #expect(request?.pageSize == 7 && request?.pageToken == "abc")
        #expect(world.send("GET", "/trips?rider_id=a%20b").status == 400)
        #expect(world.send("GET", "/trips?status=open").status == 400)
    }
}
