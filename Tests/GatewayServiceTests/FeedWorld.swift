import Bytes
import GRPCRuntime
import JSONWire
import ProtobufWire
import Reactor
import ReactorSim
import RideAPI
import RideDomain

@testable import GatewayService

/// A driver service in memory: answers after a while, or not at all.
final class FakeAreas: AreaSource {
    let loop: EventLoop
    var drivers: [String: Driver_V1_Driver] = [:]
    var revision: UInt64 = 0
    var isAway = false
    /// Nanoseconds that an answer takes.
    var delay: UInt64 = 2_000_000
    private(set) var calls: [[Box]] = []
    private(set) var times: [UInt64] = []
    private(set) var underWay = 0
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

    func listDrivers(
        in areas: [Box], _ completion: @escaping (Result<Driver_V1_ListDriversInAreasResponse, RPCError>) -> Void
    ) {
        calls.append(areas)
        times.append(loop.now)
        underWay += 1
        mostUnderWay = max(mostUnderWay, underWay)
        loop.schedule(after: delay) { [self] in
            underWay -= 1
            if isAway { return completion(.failure(RPCError(code: .unavailable, message: "away"))) }
            var response = Driver_V1_ListDriversInAreasResponse()
            for area in areas {
                let found = drivers.values.filter { area.contains(Position(lat: $0.lat, lon: $0.lon)) }
                response.areas.append(Driver_V1_DriversInArea(drivers: found.sorted { $0.id < $1.id }))
            }
            response.revision = revision
            response.asOf = Google_Protobuf_Timestamp(unixMilliseconds: loop.wallClockMilliseconds)
            completion(.success(response))
        }
    }
}

/// A shard that remembers.
final class FakeShard: FeedListener, @unchecked Sendable {
    // Proof: a simulation runs on one thread.
    var updates: [LiveUpdate] = []
    var locations: [DriverLocationUpdate] = []

    func deliver(_ update: LiveUpdate) { updates.append(update) }
    func deliver(_ update: DriverLocationUpdate) { locations.append(update) }

    /// The lists of one query, as text.
    func lists(_ number: UInt64) -> [String] {
        updates.flatMap { $0.lists }.filter { $0.number == number }.map { Self.text($0.frame) }
    }

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

/// A feed with a fake driver service and one shard.
struct FeedWorld {
    let network = SimulatedNetwork(seed: 1)
    let loop: EventLoop
    let areas: FakeAreas
    let feed: DriverFeed
    let shard = FakeShard()
    let index: Int

    init(_ configuration: DriverFeed.Configuration = .init()) throws {
        loop = try network.makeLoop()
        areas = FakeAreas(loop: loop)
        feed = DriverFeed(loop: loop, source: areas, configuration: configuration)
        index = feed.add(shard)
    }

    /// Runs for so many virtual seconds.
    func run(_ seconds: Double) { network.run(for: UInt64(seconds * 1e9)) }

    func subscribe(_ number: UInt64, _ query: AreaQuery, interval: Int? = 100) {
        feed.setInterval(index, interval)
        feed.subscribe(index, number, query)
    }

    /// A driver moves: the driver service knows, and Kafka says so.
    func move(_ id: String, _ lat: Double, _ lon: Double) {
        loop.execute {
            areas.put(id, lat, lon)
            tell(id, lat, lon)
        }
    }

    /// A record of `driver_locations`.
    func tell(_ id: String, _ lat: Double, _ lon: Double, _ status: Driver_V1_DriverStatus = .available) {
        let update = DriverLocationUpdate(
            eventID: "e", seq: areas.revision, at: loop.wallClockMilliseconds, driverID: id, lat: lat, lon: lon,
            status: status, reason: .location)
        feed.receive(update, timestamp: loop.wallClockMilliseconds)
    }
}
