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

@Suite struct RESTAndItsServices {
    @Test func anAbsentServiceIs503() throws {
        let world = try RESTWorld(servesTrips: false)
        let answer = world.send("POST", "/trips", body: booking)
        #expect(answer.status == 503)
        #expect(answer.field("retry-after") == "1")
        #expect(answer.body.contains(#""code":"backend-unavailable""#))
    }

    @Test func aSilentServiceIs504() throws {
        let world = try RESTWorld(timeout: 100_000_000)
        let answer = world.send("GET", "/trips/t1")
        #expect(answer.status == 504)
        #expect(answer.body.contains(#""code":"backend-timeout""#))
    }

    @Test func aCallThatWasNotAnsweredIsTriedAgainWithTheSameID() throws {
        let world = try RESTWorld()
        let ids = Mutex<[String?]>([])
        world.scripts.set {
            $0.createTrip = { request, _ in
                let count = ids.withLock { ids in
                    ids.append(request.id)
                    return ids.count
                }
                return count < 3
                    ? .failure(RPCError(code: .unavailable, message: "gone")) : .success(.init(trip: ride))
            }
        }
        #expect(world.send("POST", "/trips", body: booking).status == 201)
        let seen = ids.withLock { $0 }
        #expect(seen.count == 3)
        #expect(Set(seen).count == 1)
    }

    @Test func anUnexpectedErrorIs500() throws {
        let world = try RESTWorld()
        world.scripts.set { $0.getTrip = { _, _ in .failure(RPCError(code: .dataLoss, message: "secret")) } }
        let answer = world.send("GET", "/trips/t1")
        #expect(answer.status == 500)
        #expect(!answer.body.contains("secret"))
    }
}

/// What a driver or trip service answers that is broken, of another version, or not ours.
@Suite struct HostileAnswers {
    private static let reals =
        [.nan, .infinity, -.infinity, 1e308, -1e308, .leastNonzeroMagnitude, 1e9, 9.3e18] as [Double]
    private static let instants = [
        Google_Protobuf_Timestamp(seconds: .min, nanos: .min), Google_Protobuf_Timestamp(seconds: .max, nanos: .max),
        Google_Protobuf_Timestamp(seconds: 253_402_300_799, nanos: .min),
    ]

    @Test func numbersAtTheirEndsBecomeAnAnswer() throws {
        let world = try RESTWorld()
        for real in Self.reals {
            for instant in Self.instants {
                let driver = Driver_V1_Driver(
                    id: "d1", name: "Ada", lat: real, lon: real, heading: real, speed: real, status: .UNRECOGNIZED(-1),
                    distanceM: real, updatedAt: instant)
                let trip = Trip_V1_Trip(
                    id: "t1", riderID: "r1", driverID: "d1", status: .UNRECOGNIZED(.max),
                    pickup: .init(lat: real, lon: real),
                    createdAt: instant, pickedUpAt: instant, endedAt: instant, seq: .max)
                world.scripts.set {
                    $0.find = { _, _ in
                        .success(.init(drivers: [driver], revision: .max, asOf: instant, truncated: true))
                    }
                    $0.get = { _, _ in .success(.init(driver: driver, revision: .max)) }
                    $0.getTrip = { _, _ in .success(.init(trip: trip)) }
                }
                for path in ["/drivers/available?lat=1&lon=1", "/drivers/d1", "/trips/t1"] {
                    let answer = world.send("GET", path)
                    #expect(answer.hasPrefix("HTTP/1.1 "), "\(path) \(real) \(instant)")
                    #expect(!answer.contains("nan") && !answer.contains("inf"))
                }
            }
        }
    }

    @Test(arguments: [.min, -1, 0, 1, 315_576_000_001, .max] as [Int64])
    func aDelayAtTheEndsOfNumbersIsShown(seconds: Int64) throws {
        let world = try RESTWorld()
        for nanos in [.min, -1, 0, .max] as [Int32] {
            let delay = Google_Protobuf_Duration(seconds: seconds, nanos: nanos)
            var status = Google_Rpc_Status(code: .max, message: "later")
            status.details = [
                Google_Protobuf_Any(
                    packing: Google_Rpc_ErrorInfo(reason: "backend-unavailable", domain: ProblemDetails.domain)),
                Google_Protobuf_Any(packing: Google_Rpc_RetryInfo(retryDelay: delay)),
            ]
            let bytes = status.encoded()
            world.scripts.set {
                $0.get = { _, _ in
                    .failure(RPCError(code: .resourceExhausted, message: "later", statusDetails: bytes))
                }
            }
            let answer = world.send("GET", "/drivers/d1")
            #expect(answer.status == 503)
            #expect((answer.field("retry-after").flatMap { Int($0) } ?? 0) >= 1)
        }
    }
}
