import Basics
import Bytes
import GRPCRuntime
import JSONWire
import ProtobufWire
import Reactor
import ReactorSim
import RideAPI
import RideDomain

@testable import GatewayService

/// A driver service in memory: answers after a while, in part, or not at all.
final class FakeAreas: AreaSource, CarSource {
    let loop: EventLoop
    var drivers: [String: Driver_V1_Driver] = [:] { didSet { sorted = nil } }
    private var sorted: [Driver_V1_Driver]?
    var revision: UInt64 = 0
    var isAway = false
    /// Any call about this place fails, whatever else it asks for.
    var poison: Position?
    var poisonCode = StatusCode.internal
    /// This place fails alone.
    var failing: Position?
    /// Drivers in one answer; areas beyond are not reached.
    var driversPerAnswer = 5_000
    /// Nanoseconds that an answer takes.
    var delay: UInt64 = 2_000_000
    private(set) var calls: [[Box]] = []
    private(set) var times: [UInt64] = []
    private(set) var exactCalls: [AreaQuery] = []
    private(set) var exactTimes: [UInt64] = []
    /// Drivers that were sent.
    private(set) var sent = 0
    private(set) var underWay = 0
    /// Drivers whose cars were asked for.
    var asked: [String] = []
    private var carsUnderWay = 0
    private(set) var mostCarsUnderWay = 0
    private(set) var mostUnderWay = 0

    init(loop: EventLoop) { self.loop = loop }

    func put(_ id: String, _ lat: Double, _ lon: Double) {
        revision += 1
        drivers[id] = Driver_V1_Driver(
            id: id, name: "Driver \(id)", vehicle: Driver_V1_Vehicle(make: "VW", model: "ID.3"), lat: lat, lon: lon,
            status: .available, updatedAt: Google_Protobuf_Timestamp(unixMilliseconds: Int64(revision)), present: true)
    }

    func remove(_ id: String) {
        revision += 1
        drivers[id] = nil
    }

    /// By id.
    private var all: [Driver_V1_Driver] {
        if let sorted { return sorted }
        let new = drivers.values.sorted { $0.id < $1.id }
        sorted = new
        return new
    }

    /// What `GET /drivers/available` answers.
    func list(_ query: AreaQuery) -> (drivers: [Driver_V1_Driver], truncated: Bool) {
        var found = all.filter { query.area.contains(Position(lat: $0.lat, lon: $0.lon)) }
        if let center = query.area.center {
            let placed = found.map { (center.distance(to: Position(lat: $0.lat, lon: $0.lon)), $0) }
            found = placed.sorted { ($0.0, $0.1.id) < ($1.0, $1.1.id) }.map { distance, driver in
                var driver = driver
                if case .around = query.area { driver.distanceM = distance }
                return driver
            }
        }
        return (Array(found.prefix(query.limit)), found.count > query.limit)
    }

    func driver(_ id: String, _ completion: @escaping (Result<Driver_V1_GetDriverResponse, RPCError>) -> Void) {
        asked.append(id)
        carsUnderWay += 1
        mostCarsUnderWay = max(mostCarsUnderWay, carsUnderWay)
        loop.schedule(after: delay) { [self] in
            carsUnderWay -= 1
            if isAway { return completion(.failure(RPCError(code: .unavailable, message: "away"))) }
            guard let driver = drivers[id] else {
                return completion(.failure(RPCError(code: .notFound, message: "unknown")))
            }
            // Each driver's last change has the number that the service had then.
            let revision = UInt64(driver.updatedAt?.unixMilliseconds ?? 0)
            completion(.success(Driver_V1_GetDriverResponse(driver: driver, revision: revision)))
        }
    }

    func listDrivers(
        in areas: [Box], maximumDrivers: Int, _ completion: @escaping (Result<AreasAnswer, RPCError>) -> Void
    ) {
        calls.append(areas)
        times.append(loop.now)
        later { [self] in
            if isAway { return completion(.failure(RPCError(code: .unavailable, message: "away"))) }
            if let poison, areas.contains(where: { $0.contains(poison) }) {
                return completion(.failure(RPCError(code: poisonCode, message: "not this")))
            }
            var response = Driver_V1_ListDriversInAreasResponse()
            var count = 0
            for area in areas {
                let found = all.filter { area.contains(Position(lat: $0.lat, lon: $0.lon)) }
                if let failing, area.contains(failing) {
                    response.areas.append(Driver_V1_DriversInArea(outcome: .failed))
                } else if found.count > maximumDrivers {
                    response.areas.append(Driver_V1_DriversInArea(outcome: .tooMany))
                } else if count > 0 && count + found.count > driversPerAnswer {
                    response.areas.append(Driver_V1_DriversInArea(outcome: .notReached))
                } else {
                    count += found.count
                    response.areas.append(Driver_V1_DriversInArea(drivers: found))
                }
            }
            sent += count
            response.revision = revision
            response.asOf = Google_Protobuf_Timestamp(unixMilliseconds: loop.wallClockMilliseconds)
            do {
                completion(.success(try AreasAnswer(decoding: response.encoded())))
            } catch {
                completion(.failure(RPCError(code: .internal, message: "\(error)")))
            }
        }
    }

    func find(_ query: AreaQuery, _ completion: @escaping (Result<FoundAnswer, RPCError>) -> Void) {
        exactCalls.append(query)
        exactTimes.append(loop.now)
        later { [self] in
            if isAway { return completion(.failure(RPCError(code: .unavailable, message: "away"))) }
            let list = list(query)
            sent += list.drivers.count
            let response = Driver_V1_FindAvailableDriversResponse(
                drivers: list.drivers, revision: revision,
                asOf: Google_Protobuf_Timestamp(unixMilliseconds: loop.wallClockMilliseconds),
                truncated: list.truncated)
            do {
                completion(.success(try FoundAnswer(decoding: response.encoded())))
            } catch {
                completion(.failure(RPCError(code: .internal, message: "\(error)")))
            }
        }
    }

    private func later(_ work: @escaping () -> Void) {
        underWay += 1
        mostUnderWay = max(mostUnderWay, underWay)
        loop.schedule(after: delay) { [self] in
            underWay -= 1
            work()
        }
    }

    /// Every call so far, of either kind.
    var callCount: Int { calls.count + exactCalls.count }
}

/// A loop's lists, remembered by what the test calls their query.
final class FakeLoop: FeedListener, @unchecked Sendable {
    // Proof: a simulation runs on one thread.
    var live: LoopLists!
    var updates: [LiveUpdate] = []
    var locations: [DriverLocationUpdate] = []
    var frames: [(number: UInt64, frame: SharedBytes, cause: Int64, at: UInt64)] = []
    /// Views that are gone.
    var gone: [UInt64] = []

    func deliver(_ update: LiveUpdate) {
        updates.append(LiveUpdate(news: [], snapshot: update.snapshot))
        live.take(update)
    }
    func deliver(_ update: DriverLocationUpdate) { locations.append(update) }

    /// The payload of a text frame.
    static func text(_ frame: SharedBytes) -> String {
        frame.withSpan { span in
            let header = span[1] < 126 ? 2 : span[1] == 126 ? 4 : 10
            return unsafe span.extracting(header..<span.count).withUnsafeBufferPointer {
                unsafe String(decoding: $0, as: UTF8.self)
            }
        }
    }
}

/// The ids of a list, in its order.
func ids(_ list: String) -> [String] {
    list.split(separator: "{\"id\":\"").dropFirst().map { String($0.prefix { $0 != "\"" }) }
}

/// A feed with a fake driver service and one loop.
final class FeedWorld {
    let network = SimulatedNetwork(seed: 1)
    let loop: EventLoop
    let areas: FakeAreas
    let feed: DriverFeed
    let lists = FakeLoop()
    let index: Int
    /// What the test calls a subscriber: its view, its interval.
    private var subscribers: [UInt64: (view: UInt64, interval: Int)] = [:]

    init(_ configuration: DriverFeed.Configuration = .init()) throws {
        loop = try network.makeLoop()
        areas = FakeAreas(loop: loop)
        feed = DriverFeed(loop: loop, source: areas, cars: areas, configuration: configuration)
        index = feed.add(lists)
        let live = LoopLists(loop: loop, limits: configuration.limits) { [unowned self] requests in
            loop.execute { self.feed.take(requests, from: self.index) }
        }
        live.onList = { [unowned self] in lists.frames.append(($0, $1, $2, loop.now)) }
        live.onGone = { [unowned self] in lists.gone.append($0) }
        lists.live = live
    }

    /// Runs for so many virtual seconds.
    func run(_ seconds: Double) { network.run(for: UInt64(seconds * 1e9)) }

    func subscribe(_ number: UInt64, _ query: AreaQuery, interval: Int = 100) {
        loop.execute { [self] in
            do {
                subscribers[number] = (try lists.live.add(query, interval: interval), interval)
            } catch {
                refusals.append(error)
            }
        }
        run(0)
    }

    private(set) var refusals: [any Error] = []

    func unsubscribe(_ number: UInt64) {
        loop.execute { [self] in
            guard let subscriber = subscribers.removeValue(forKey: number) else { return }
            lists.live.remove(subscriber.view, interval: subscriber.interval)
        }
        run(0)
    }

    /// The lists of one subscriber's view, as text.
    func lists(_ number: UInt64) -> [String] { frames(number).map { FakeLoop.text($0.frame) } }

    func frames(_ number: UInt64) -> [(number: UInt64, frame: SharedBytes, cause: Int64, at: UInt64)] {
        lists.frames.filter { $0.number == subscribers[number]?.view }
    }

    /// Whether the last list shows what `GET /drivers/available` answers now.
    func isCurrent(_ number: UInt64, _ query: AreaQuery) -> Bool {
        guard let list = frames(number).last.map({ FakeLoop.text($0.frame) }) else { return false }
        let expected = areas.list(query)
        return ids(list) == expected.drivers.map(\.id) && !list.contains("\"stale\"")
            && list.contains("\"truncated\":\(expected.truncated)")
    }

    /// A driver moves: the driver service knows, and Kafka says so.
    func move(_ id: String, _ lat: Double, _ lon: Double) {
        loop.execute { [self] in
            areas.put(id, lat, lon)
            tell(id, lat, lon)
        }
    }

    /// A record of `driver_locations`.
    func tell(_ id: String, _ lat: Double, _ lon: Double, _ status: DriverStatus = .available) {
        let update = DriverLocationUpdate(
            eventID: "e", seq: areas.revision, at: loop.wallClockMilliseconds, driverID: id, lat: lat, lon: lon,
            status: status, reason: .location)
        feed.receive(update, timestamp: loop.wallClockMilliseconds)
    }

    /// Free cars all over a town of about 20 by 20 km.
    func fillTown(_ count: Int, seed: UInt64 = 11) {
        var random = SplitMix(seed: seed)
        for number in 0..<count {
            areas.put(
                "d\(100_000 + number)", 52.4 + Double.random(in: 0...0.2, using: &random),
                13.2 + Double.random(in: 0...0.3, using: &random))
        }
    }
}
