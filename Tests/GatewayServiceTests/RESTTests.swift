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

/// What the services of the REST tests know.
let car = Driver_V1_Driver(
    id: "d1", name: "Ada", vehicle: .init(make: "VW", model: "ID.3", color: "blue", plate: "B-1", category: "standard"),
    lat: 52.5, lon: 13.4, status: .available, distanceM: 12.34,
    updatedAt: Google_Protobuf_Timestamp(unixMilliseconds: 1_700_000_000_123))

let ride = Trip_V1_Trip(
    id: "t1", riderID: "r1", driverID: "d1", driver: .init(id: "d1", name: "Ada", vehicle: car.vehicle),
    status: .inProgress, pickup: .init(lat: 1, lon: 2), dropoff: .init(lat: 3, lon: 4),
    createdAt: Google_Protobuf_Timestamp(unixMilliseconds: 1_700_000_000_000))

let booking = #"{"rider_id":"r1","driver_id":"d1","pickup":{"lat":1,"lon":2},"dropoff":{"lat":3,"lon":4}}"#

@Suite struct RESTDrivers {
    @Test(arguments: ["", "/v1"])
    func availableDriversAreAList(_ prefix: String) throws {
        let world = try RESTWorld()
        let asked = Mutex<Driver_V1_FindAvailableDriversRequest?>(nil)
        world.scripts.set {
            $0.find = { request, _ in
                asked.withLock { $0 = request }
                return .success(
                    .init(
                        drivers: [car, car], revision: 42,
                        asOf: Google_Protobuf_Timestamp(unixMilliseconds: 1_700_000_000_000), truncated: true))
            }
        }
        let answer = world.send(
            "GET", prefix + "/drivers/available?lat=52.5&lon=13.4&radius_m=500&limit=2&category=van")
        #expect(answer.status == 200)
        #expect(answer.field("content-type") == "application/json")
        let one =
            #"{"id":"d1","name":"Ada","vehicle":{"make":"VW","model":"ID.3","color":"blue","plate":"B-1","#
            + #""category":"standard"},"lat":52.5,"lon":13.4,"status":"available","distance_m":12.3,"#
            + #""updated_at":"2023-11-14T22:13:20.123Z"}"#
        #expect(
            answer.body == "{\"drivers\":[\(one),\(one)],\"version\":42,"
                + "\"as_of\":\"2023-11-14T22:13:20.000Z\",\"truncated\":true}")
        let request = asked.withLock { $0 }
        #expect(request?.lat == 52.5 && request?.lon == 13.4 && request?.radiusM == 500 && request?.limit == 2)
        #expect(request?.category == "van")
    }

    /// Behaviour 51: a long list is written over many turns. It is the same list.
    @Test func behaviour51_aLongListIsWrittenInParts() throws {
        let world = try RESTWorld()
        let count = 3_000
        world.scripts.set {
            $0.find = { _, _ in
                .success(
                    .init(
                        drivers: [Driver_V1_Driver](repeating: car, count: count), revision: 42,
                        asOf: Google_Protobuf_Timestamp(unixMilliseconds: 1_700_000_000_000), truncated: true))
            }
        }
        let short = world.send("GET", "/drivers/available?limit=1")
        let one =
            #"{"id":"d1","name":"Ada","vehicle":{"make":"VW","model":"ID.3","color":"blue","plate":"B-1","#
            + #""category":"standard"},"lat":52.5,"lon":13.4,"status":"available","distance_m":12.3,"#
            + #""updated_at":"2023-11-14T22:13:20.123Z"}"#
        let body = "{\"drivers\":[" + [String](repeating: one, count: count).joined(separator: ",")
        #expect(
            short.body == body + "],\"version\":42,\"as_of\":\"2023-11-14T22:13:20.000Z\",\"truncated\":true}")
        // What can't be read in a later part is no list.
        world.scripts.set {
            $0.find = { _, _ in
                var broken = Driver_V1_FindAvailableDriversResponse()
                broken.drivers = [Driver_V1_Driver](repeating: car, count: count)
                // Field 1 as a message that is cut off inside.
                broken.unknownFields = [10, 1, 10]
                return .success(broken)
            }
        }
        let broken = world.send("GET", "/drivers/available")
        #expect(broken.status == 502 && broken.body.contains("backend-broken"))
    }

    /// A service that answers without what it promised is broken; that is no empty driver, and no empty trip.
    @Test func aPromiseThatIsNotKeptIs502() throws {
        let world = try RESTWorld()
        world.scripts.set {
            $0.get = { _, _ in .success(.init()) }
            $0.register = { _, _ in .success(.init(created: true)) }
            $0.setStatus = { _, _ in .success(.init()) }
            $0.createTrip = { _, _ in .success(.init()) }
            $0.getTrip = { _, _ in .success(.init()) }
            $0.pickUp = { _, _ in .success(.init()) }
            $0.complete = { _, _ in .success(.init()) }
            $0.cancel = { _, _ in .success(.init()) }
            $0.update = { _, _ in .success(.init()) }
            $0.suspend = { _, _ in .success(.init()) }
            $0.restore = { _, _ in .success(.init()) }
            $0.end = { _, _ in .success(.init()) }
        }
        let profile =
            #"{"name":"Ada","lat":1,"lon":2,"vehicle":{"make":"m","model":"m","color":"c","plate":"p","category":"standard"}}"#
        for (method, path, body) in [
            ("GET", "/drivers/d1", nil), ("POST", "/drivers", profile),
            ("PATCH", "/drivers/d1/status", #"{"status":"offline"}"#), ("POST", "/trips", booking),
            ("GET", "/trips/t1", nil),
            ("POST", "/trips/t1/pickup", nil), ("POST", "/trips/t1/complete", nil), ("POST", "/trips/t1/cancel", nil),
            ("PATCH", "/drivers/d1", "{}"), ("POST", "/drivers/d1/suspend", #"{"reason":"a"}"#),
            ("POST", "/drivers/d1/restore", #"{"reason":"a"}"#), ("POST", "/trips/t1/end", #"{"reason":"a"}"#),
        ] as [(String, String, String?)] {
            let answer = world.send(method, path, body: body)
            #expect(answer.status == 502 && answer.body.contains("backend-broken"), "\(method) \(path): \(answer.body)")
        }
    }

    @Test func aBoxIsPassedOn() throws {
        let world = try RESTWorld()
        let asked = Mutex<Driver_V1_Box?>(nil)
        world.scripts.set {
            $0.find = { request, _ in
                asked.withLock { $0 = request.box }
                return .success(.init())
            }
        }
        #expect(world.send("GET", "/drivers/available?bbox=13,52,14,53").status == 200)
        #expect(asked.withLock { $0 } == .init(west: 13, south: 52, east: 14, north: 53))
    }

    @Test(arguments: [
        ("lat=91&lon=1", "lat"), ("lat=1", "lon"), ("lon=1", "lat"), ("lat=1&lon=1&bbox=1,2,3,4", "bbox"),
        ("radius_m=5", "radius_m"), ("limit=0", "limit"), ("limit=10001", "limit"), ("lat=1&lat=1&lon=1", "lat"),
        ("bbox=1,2,3", "bbox"), ("bbox=1,53,2,52", "bbox"), ("lat=nan&lon=1", "lat"), ("limit=1.5", "limit"),
        ("radius_m=0&lat=1&lon=1", "radius_m"), ("color=red", "color"), ("interval_ms=100", "interval_ms"),
        ("lat=&lon=1", "lat"), ("lat=0x1&lon=1", "lat"), ("category=", "category"),
        ("category=a&category=b", "category"),
    ])
    func badParametersAreNamed(_ query: String, _ parameter: String) throws {
        let answer = try RESTWorld().send("GET", "/drivers/available?" + query)
        #expect(answer.status == 400)
        #expect(answer.body.contains(#""code":"invalid-parameter""#))
        #expect(answer.body.contains(#""errors":[{"pointer":"/\#(parameter)""#))
    }

    @Test func registeringADriver() throws {
        let world = try RESTWorld()
        world.scripts.set {
            $0.register = { request, _ in
                if request.id == "taken" {
                    return .failure(.domain(.alreadyExists, .init(code: "driver-exists", detail: "Another profile.")))
                }
                var driver = car
                driver.id = request.id ?? "none"
                return .success(.init(driver: driver, created: request.id != "known"))
            }
        }
        let body =
            #""name":"Ada","vehicle":{"make":"a","model":"b","color":"c","plate":"d","category":"e"},"lat":1,"lon":2}"#
        let minted = world.send("POST", "/drivers", body: "{" + body)
        #expect(minted.status == 201)
        #expect(minted.field("location")?.utf8.count == "/drivers/".utf8.count + 36)
        let named = world.send("POST", "/drivers", body: #"{"id":"d7","# + body)
        #expect(named.status == 201)
        #expect(named.field("location") == "/drivers/d7")
        #expect(world.send("POST", "/drivers", body: #"{"id":"known","# + body).status == 200)
        let taken = world.send("POST", "/drivers", body: #"{"id":"taken","# + body)
        #expect(taken.status == 409 && taken.body.contains(#""code":"driver-exists""#))
        let bad = world.send("POST", "/drivers", body: #"{"name":"","speed":1}"#)
        #expect(bad.status == 422)
        #expect(bad.body.contains(#"{"pointer":"/speed","#))
    }

    @Test func anIdentifierThatCouldNotBeAskedForIs422() throws {
        let world = try RESTWorld()
        let driver =
            #""name":"Ada","vehicle":{"make":"a","model":"b","color":"c","plate":"d","category":"e"},"lat":1,"lon":2}"#
        let places = #""pickup":{"lat":1,"lon":2},"dropoff":{"lat":1,"lon":2}}"#
        for word in Identifier.reserved {
            let refusals = [
                ("/id", world.send("POST", "/drivers", body: #"{"id":"\#(word)",\#(driver)"#)),
                ("/rider_id", world.send("POST", "/trips", body: #"{"rider_id":"\#(word)",\#(places)"#)),
                (
                    "/driver_id",
                    world.send("POST", "/trips", body: #"{"rider_id":"r","driver_id":"\#(word)",\#(places)"#)
                ),
            ]
            for (pointer, answer) in refusals {
                #expect(answer.status == 422 && answer.body.contains(#""code":"invalid-body""#))
                #expect(answer.body.contains(#"{"pointer":"\#(pointer)","#) && answer.body.contains("in a path"))
            }
        }
    }

    /// A route that is added below `/drivers/` or `/trips/` takes a word away from the identifiers.
    @Test func everyRouteThatStandsWhereAnIdentifierDoesIsReserved() throws {
        let loop = try EventLoopGroup(count: 1).loops[0]
        let backends = Backends(loop: loop, driverService: "127.0.0.1:1", tripService: "127.0.0.1:1", timeout: 1)
        let router = Router()
        DriverRoutes(backends: backends).register(on: GuardedRoutes(router.group()))
        TripRoutes(backends: backends).register(on: GuardedRoutes(router.group()))
        let paths = router.routes.map { $0.pattern.dropFirst().split(separator: "/") }
        let words = paths.filter { $0.count == 2 && $0[1] != "{id}" }.map { String($0[1]) }
        #expect(words == ["available"] && words.allSatisfy(Identifier.reserved.contains))
        #expect(paths.filter { $0.count > 2 }.allSatisfy { $0[1] == "{id}" })
    }

    @Test func oneDriverAndHisStatus() throws {
        let world = try RESTWorld()
        world.scripts.set {
            $0.get = { request, _ in
                request.driverID == "d1"
                    ? .success(.init(driver: car))
                    : .failure(.domain(.notFound, .init(code: "driver-not-found", detail: "There is no driver.")))
            }
            $0.setStatus = { request, _ in
                request.driverID == "d1"
                    ? .success(.init(driver: car))
                    : .failure(.domain(.failedPrecondition, .init(code: "driver-on-trip", detail: "On a trip.")))
            }
        }
        #expect(world.send("GET", "/drivers/d1").status == 200)
        #expect(world.send("GET", "/drivers/d2").status == 404)
        #expect(world.send("GET", "/drivers/d%202").body.contains("driver-not-found"))
        #expect(world.send("PATCH", "/drivers/d1/status", body: #"{"status":"offline"}"#).status == 200)
        #expect(world.send("PATCH", "/drivers/d2/status", body: #"{"status":"available"}"#).status == 409)
        #expect(world.send("PATCH", "/drivers/d1/status", body: #"{"status":"unavailable"}"#).status == 422)
        #expect(world.send("PUT", "/drivers/d1/status", body: "{}").field("allow") == "PATCH, OPTIONS")
    }

    @Test func whatOperatorsDoWithADriver() throws {
        let world = try RESTWorld()
        let asked = Mutex<[Driver_V1_UpdateDriverRequest]>([])
        var suspended = car
        suspended.suspension = Driver_V1_Suspension(reason: "storm", at: .init(unixMilliseconds: 0))
        let answer = suspended
        world.scripts.set {
            $0.update = { request, _ in
                asked.withLock { $0.append(request) }
                return .success(.init(driver: car))
            }
            $0.delete = { request, _ in
                request.driverID == "d1"
                    ? .success(.init())
                    : .failure(
                        .domain(
                            .failedPrecondition,
                            .init(code: "driver-on-trip", detail: "On a trip.", metadata: ["active_trip_id": "t1"])))
            }
            $0.suspend = { request, _ in
                request.reason == "storm" ? .success(.init(driver: answer)) : .success(.init(driver: car))
            }
            $0.restore = { _, _ in .success(.init(driver: car)) }
            $0.setStatus = { _, _ in
                .failure(
                    .domain(
                        .failedPrecondition,
                        .init(code: "driver-suspended", detail: "Suspended.", metadata: ["reason": "storm"])))
            }
        }
        let patch = #"{"name":"Ada L","vehicle":{"plate":"NB-X 1"}}"#
        #expect(world.send("PATCH", "/drivers/d1", body: patch).status == 200)
        #expect(world.send("PATCH", "/v1/drivers/d1", body: "{}").status == 200)
        #expect(
            asked.withLock { $0 } == [
                .init(driverID: "d1", name: "Ada L", plate: "NB-X 1"), .init(driverID: "d1"),
            ])
        // RFC 7396: null removes, and what is no object takes the place of all; nothing here can go.
        let removed = world.send("PATCH", "/drivers/d1", body: #"{"name":null,"vehicle":{"plate":null},"id":"d2"}"#)
        #expect(removed.status == 422)
        for pointer in ["/name", "/vehicle/plate", "/id"] {
            #expect(removed.body.contains("{\"pointer\":\"\(pointer)\""), "\(removed.body)")
        }
        for bad in ["[]", "null", #"{"vehicle":null}"#, #"{"vehicle":"VW"}"#] {
            #expect(world.send("PATCH", "/drivers/d1", body: bad).status == 422, "\(bad)")
        }
        // RFC 5789 §2.2
        #expect(
            world.send("PATCH", "/drivers/d1").field("accept-patch") == "application/merge-patch+json, application/json"
        )
        #expect(world.send("DELETE", "/drivers/d1").status == 204)
        let busy = world.send("DELETE", "/drivers/d2")
        #expect(busy.status == 409 && busy.body.contains(#""active_trip_id":"t1""#))
        #expect(world.send("DELETE", "/drivers/d%202").status == 404)
        let storm = world.send("POST", "/drivers/d1/suspend", body: #"{"reason":"storm"}"#)
        #expect(storm.status == 200)
        #expect(storm.body.contains(#""suspension":{"reason":"storm","at":"1970-01-01T00:00:00.000Z"}"#))
        #expect(!world.send("POST", "/drivers/d1/restore", body: #"{"reason":"over"}"#).body.contains("suspension"))
        for action in ["suspend", "restore"] {
            for bad in ["{}", #"{"reason":""}"#, #"{"reason":"a","why":"b"}"#] {
                #expect(world.send("POST", "/drivers/d1/\(action)", body: bad).status == 422, "\(bad)")
            }
        }
        let off = world.send("PATCH", "/drivers/d1/status", body: #"{"status":"available"}"#)
        #expect(off.status == 409 && off.body.contains(#""code":"driver-suspended""#))
        #expect(off.body.contains(#""reason":"storm""#))
    }

    @Test func anOperatorEndsATrip() throws {
        let world = try RESTWorld()
        world.scripts.set {
            $0.end = { request, _ in
                var trip = ride
                trip.status = .cancelled
                trip.endReason = request.reason
                return request.tripID == "t1"
                    ? .success(.init(trip: trip))
                    : .failure(.domain(.failedPrecondition, .init(code: "trip-already-ended", detail: "x")))
            }
        }
        let ended = world.send("POST", "/trips/t1/end", body: #"{"reason":"storm"}"#)
        #expect(ended.status == 200 && ended.body.contains(#""end_reason":"storm"}"#))
        #expect(world.send("POST", "/v1/trips/t2/end", body: #"{"reason":"storm"}"#).status == 409)
        #expect(world.send("POST", "/trips/t1/end", body: "{}").status == 422)
        #expect(world.send("POST", "/trips/t1/end").status == 415)
        #expect(world.send("PATCH", "/trips/t1/end", body: #"{"reason":"storm"}"#).status == 405)
    }

    @Test func driversPageByPage() throws {
        let world = try RESTWorld()
        world.scripts.set {
            $0.list = { request, _ in
                request.pageToken == "p2"
                    ? .success(.init(drivers: [car])) : .success(.init(drivers: [car], nextPageToken: "p2"))
            }
        }
        let first = world.send("GET", "/drivers?status=offline&page_size=1")
        #expect(first.body.hasSuffix(#"],"next_page_token":"p2"}"#))
        #expect(world.send("GET", "/drivers?page_token=p2").body.hasSuffix("]}"))
        #expect(world.send("GET", "/drivers?status=asleep").status == 400)
        #expect(world.send("GET", "/drivers?page_size=101").status == 400)
        #expect(world.send("GET", "/drivers?rider_id=x").status == 400)
    }
}
