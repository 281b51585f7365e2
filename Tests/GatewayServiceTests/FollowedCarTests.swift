import Bytes
import ProtobufWire
import ReactorSim
import RideAPI
import RideDomain
import Testing

@testable import GatewayService

/// A followed car stood still, unmarked, while Kafka was away.
@Suite struct FollowedCarTests {
    private func positions(_ browser: Browser) -> [String] {
        browser.messages.compactMap { message in
            message.range(of: "\"position\":").map { String(message[$0.upperBound...].dropLast()) }
        }
    }

    /// An event says its instant, and a clock its own: no difference of the two ends anything.
    @Test func instantsAtTheEndsOfNumbersMakeACarFreshOrStale() {
        for at in [.min, -1, 0, .max] as [Int64] {
            for wall in [.min, -1, 0, .max] as [Int64] {
                for now in [0, .max] as [UInt64] {
                    var car = FollowedCar()
                    let update = DriverLocationUpdate(
                        eventID: "e", seq: .max, at: at, driverID: "d", lat: 1, lon: 1, status: .available,
                        reason: .location)
                    let isNews = car.take(update, now: now, wall: wall)
                    #expect(isNews)
                    _ = car.take(update, now: now, wall: wall)
                    _ = car.isDue(now: .max)
                }
            }
        }
    }

    @Test func issue10_whileNoRecordComesACarIsAskedForEverySecond() throws {
        let world = try LiveWorld()
        world.putDriver("ada", 1, 1, trip: "t1")
        world.putTrip("t1", driver: "ada")
        let browser = world.open("/ws/trips/t1")
        world.run(1)
        #expect(positions(browser).last?.contains("\"lat\":1,") == true)
        // Kafka was never there.
        for step in 2...5 {
            world.onServices {
                world.putDriver("ada", Double(step), 1, trip: "t1")
                world.drivers["ada"]?.updatedAt = Google_Protobuf_Timestamp(
                    unixMilliseconds: 1_700_000_000_000 + Int64(step) * 1_000)
            }
            world.run(1.6)
            #expect(positions(browser).last?.contains("\"lat\":\(step),") == true)
            #expect(positions(browser).last?.contains("stale") == false)
        }
        // Records come and go: what is older than what is known is not shown.
        world.gateway.execute { world.feed.positioned() }
        world.record("ada", 40, 1, seq: 9, at: 1_700_000_060_000)
        world.run(0.1)
        #expect(positions(browser).last?.contains("\"lat\":40,") == true)
        world.record("ada", 39, 1, seq: 8, at: 1_700_000_070_000)
        world.run(1)
        #expect(positions(browser).last?.contains("\"lat\":40,") == true)
    }

    @Test func issue10_aPositionThatNothingNewerFollowsIsMarkedOnce() throws {
        let world = try LiveWorld()
        world.putDriver("ada", 1, 1, trip: "t1")
        world.putTrip("t1", driver: "ada")
        let browser = world.open("/ws/trips/t1")
        world.run(1)
        world.record("ada", 2, 1, seq: 1)
        world.run(9)
        #expect(positions(browser).last?.contains("stale") == false)
        world.run(3)
        #expect(positions(browser).last?.contains("\"lat\":2,") == true)
        #expect(positions(browser).last?.hasSuffix("\"stale\":true}") == true)
        let messages = browser.messages.count
        // A status says nothing of where he is; nor does an outage of the driver service.
        world.gateway.execute {
            world.feed.receive(
                DriverLocationUpdate(
                    eventID: "", seq: 2, at: 1_700_000_900_000, driverID: "ada", lat: 2, lon: 1, heading: 90,
                    status: .unavailable, reason: .status), timestamp: nil)
        }
        world.run(20)
        #expect(browser.messages.count == messages)
        // He moves again.
        world.record("ada", 2, 1, seq: 3)
        world.run(1)
        #expect(positions(browser).last?.contains("stale") == false)
        #expect(browser.messages.count == messages + 1)
    }

    /// A second trip with the same car on the same loop knows at once what the first one knows.
    @Test func whoeverFollowsACarThatIsFollowedAlreadyGetsItsPlaceAtOnce() throws {
        let world = try LiveWorld()
        world.putDriver("ada", 1, 1, trip: "t1")
        world.putTrip("t1", driver: "ada")
        world.putTrip("t2", driver: "ada")
        _ = world.open("/ws/trips/t1")
        world.run(1)
        world.record("ada", 2, 1, seq: 5)
        world.run(0.5)
        let second = world.open("/ws/trips/t2")
        world.run(0.5)
        #expect(positions(second).first?.contains("\"lat\":2,") == true)
    }

    @Test func issue10_askingIsBoundedAndEveryCarGetsItsTurn() throws {
        let world = try FeedWorld()
        let cars = (0..<2_000).map { "d\($0)" }
        for car in cars { world.areas.put(car, 1, 1) }
        for car in cars { world.feed.follow(car, world.index) }
        world.run(3)
        #expect(Set(world.lists.locations.map(\.driverID)).count == 2_000)
        #expect(world.areas.mostCarsUnderWay <= FollowedCars.Limits.callsInFlight)
        world.areas.asked = []
        world.run(10)
        // A thousand a second at most, and nobody twice before everybody once.
        #expect((8_000...11_000).contains(world.areas.asked.count))
        let counts = Dictionary(grouping: world.areas.asked) { $0 }.mapValues(\.count)
        #expect(counts.count == 2_000 && counts.values.max()! - counts.values.min()! <= 1)
        // Records come: who is heard of is not asked for.
        world.feed.positioned()
        world.run(1)
        world.areas.asked = []
        for _ in 0..<10 {
            world.run(1)
            world.loop.execute { for car in cars.prefix(1_900) { world.tell(car, 1, 1) } }
        }
        #expect(Set(world.areas.asked).count <= 100)
        for car in cars { world.feed.unfollow(car, world.index) }
        world.areas.asked = []
        world.run(10)
        #expect(world.areas.asked == [])
    }

    @Test func issue10_aDriverServiceThatIsAwayIsAskedLessAndLessOften() throws {
        let world = try FeedWorld()
        for car in 0..<1_000 { world.feed.follow("d\(car)", world.index) }
        world.areas.isAway = true
        world.run(5)
        world.areas.asked = []
        world.run(20)
        #expect((4...FollowedCars.Limits.callsInFlight * 7).contains(world.areas.asked.count))
        world.areas.isAway = false
        for car in 0..<1_000 { world.areas.put("d\(car)", 1, 1) }
        world.run(9)
        #expect(Set(world.lists.locations.map(\.driverID)).count == 1_000)
    }

    /// Nothing that a record or an answer says may trap or be believed: no place, no number, no instant.
    @Test func absurdPlacesAndInstantsAreNothing() throws {
        for at in [Int64.min, .max, 0, -1] {
            for wall in [Int64.min, .max, 0, 1_700_000_000_000] {
                var car = FollowedCar()
                let update = DriverLocationUpdate(
                    eventID: "", seq: .max, at: at, driverID: "a", lat: 1, lon: 1, heading: 1e300, speed: -1e300,
                    status: .available, reason: .location)
                _ = car.take(update, now: .max - 5, wall: wall)
                _ = car.take(update, now: 0, wall: wall)
                var buffer = ByteBuffer()
                car.position?.append(to: &buffer)
                #expect(buffer.count > 0)
            }
        }
        let world = try FeedWorld()
        world.areas.put("a", .nan, 500)
        world.feed.follow("a", world.index)
        world.run(3)
        #expect(world.lists.locations.isEmpty)
    }
}
