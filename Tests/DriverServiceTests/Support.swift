import Bytes
import GRPCRuntime
import KafkaClient
import Operations
import ProtobufWire
import Reactor
import RideAPI
import RideDomain
import Settings
import Storage
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import DriverService

/// A trip service that says what the test tells it to. Served on the test's own loop.
final class FakeTripService: Trip_V1_TripServiceHandler {
    /// By id.
    var trips: [String: Trip_V1_Trip] = [:]
    /// The number of the last change.
    var seq: UInt64 = 0
    var lists = 0
    /// It answers UNAVAILABLE.
    var isAway = false
    var onChange: (Trip_V1_Trip, TripEventKind) -> Void = { _, _ in }

    func add(_ id: String, driver: String, pickup: Position = home, dropoff: Position = home) -> Trip_V1_Trip {
        seq += 1
        let trip = Trip_V1_Trip(
            id: id, riderID: "rider", driverID: driver, driver: Trip_V1_TripDriver(id: driver, name: "Ada"),
            status: .inProgress, pickup: Trip_V1_Place(pickup), dropoff: Trip_V1_Place(dropoff),
            createdAt: Google_Protobuf_Timestamp(unixMilliseconds: 1), seq: seq)
        trips[id] = trip
        return trip
    }

    func change(_ id: String, _ kind: TripEventKind) -> Trip_V1_Trip? {
        guard var trip = trips[id] else { return nil }
        seq += 1
        trip.seq = seq
        switch kind {
        case .created: break
        case .pickedUp: trip.pickedUpAt = Google_Protobuf_Timestamp(unixMilliseconds: 2)
        case .completed: trip.status = .completed
        case .cancelled: trip.status = .cancelled
        }
        trips[id] = trip
        onChange(trip, kind)
        return trip
    }

    func listTrips(_ request: Trip_V1_ListTripsRequest, _ call: UnaryServerCall<Trip_V1_ListTripsResponse>) {
        lists += 1
        if isAway { return call.fail(RPCError(code: .unavailable, message: "away")) }
        #expect(request.status == .inProgress)
        // Whether one driver is on a trip is asked before they are removed.
        #expect(request.settled == (request.driverID != nil))
        // Two trips a page: the pages are part of the test.
        let active = trips.values.filter {
            $0.status == .inProgress && request.driverID.map([$0.driverID].contains) ?? true
        }.sorted { $0.id < $1.id }
        let start = request.pageToken.flatMap(Int.init) ?? 0
        let page = active.dropFirst(start).prefix(2)
        let more = active.count > start + 2
        call.respond(
            Trip_V1_ListTripsResponse(
                trips: Array(page), nextPageToken: more ? String(start + 2) : nil, seq: seq))
    }

    func getTrip(_ request: Trip_V1_GetTripRequest, _ call: UnaryServerCall<Trip_V1_GetTripResponse>) {
        guard let trip = trips[request.tripID] else {
            return call.fail(RPCError(code: .notFound, message: "no such trip"))
        }
        call.respond(Trip_V1_GetTripResponse(trip: trip))
    }

    func pickUpTrip(_ request: Trip_V1_PickUpTripRequest, _ call: UnaryServerCall<Trip_V1_PickUpTripResponse>) {
        call.respond(Trip_V1_PickUpTripResponse(trip: change(request.tripID, .pickedUp)))
    }

    func completeTrip(_ request: Trip_V1_CompleteTripRequest, _ call: UnaryServerCall<Trip_V1_CompleteTripResponse>) {
        call.respond(Trip_V1_CompleteTripResponse(trip: change(request.tripID, .completed)))
    }

    func createTrip(_ request: Trip_V1_CreateTripRequest, _ call: UnaryServerCall<Trip_V1_CreateTripResponse>) {
        call.fail(RPCError(code: .unimplemented, message: "not here"))
    }

    func cancelTrip(_ request: Trip_V1_CancelTripRequest, _ call: UnaryServerCall<Trip_V1_CancelTripResponse>) {
        call.fail(RPCError(code: .unimplemented, message: "not here"))
    }

    func endTrip(_ request: Trip_V1_EndTripRequest, _ call: UnaryServerCall<Trip_V1_EndTripResponse>) {
        call.fail(RPCError(code: .unimplemented, message: "not here"))
    }

    func watchTrip(_ request: Trip_V1_WatchTripRequest, _ call: ServerStreamingServerCall<Trip_V1_WatchTripResponse>) {
        call.fail(RPCError(code: .unimplemented, message: "not here"))
    }
}

/// Storage for tests in which no operator does anything.
extension DriverRepository {
    func update(_ driverID: String, _ change: ProfileChange, deadline: UInt64?) async throws(StorageError) -> Bool {
        false
    }
    func suspend(_ driverID: String, _ suspension: Suspension?, deadline: UInt64?) async throws(StorageError) -> Bool {
        false
    }
    func delete(
        _ driverID: String, reason: String, at: Int64, deadline: UInt64?
    ) async throws(StorageError) -> DeletionOutcome { .unknown }
}

/// A trip service without trips.
private final class NoTrips: TripDirectory {
    func inProgress(page: String?) async throws(DriverError) -> TripListPage {
        TripListPage(trips: [], asOf: 0, epoch: 0, next: nil)
    }
    func trip(ofDriver id: String, deadline: UInt64) async throws(DriverError) -> String? { nil }
}

extension DriverRemoval {
    /// One that asks and tells nobody.
    static func offline(_ book: DriverBook) -> DriverRemoval {
        DriverRemoval(book: book, directory: NoTrips()) { _, _ in true }
    }
}

let home = Position(lat: 53.5573, lon: 13.2603)

/// The whole driver service on its own thread, reached over loopback, with an embedded broker and a fake trip service.
/// Everything of the test runs on the test's thread: a question turns the test's loop until its answer comes.
final class Station {
    let loop: EventLoop
    let trips = FakeTripService()
    let folder = TemporaryFolder()
    private(set) var broker: EmbeddedBroker
    private(set) var server: DriverServer
    private(set) var client: Driver_V1_DriverServiceClient
    private let tripServer: GRPCServer
    let tripAddress: SocketAddress
    private var environment: [String: String]
    private(set) var events: [DriverLocationUpdate] = []
    /// Of each of them.
    private(set) var traces: [TraceContext] = []
    private var consumer: KafkaConsumer?
    private var producer: KafkaProducer?

    init(_ settings: [String: String] = [:]) throws {
        loop = try EventLoop()
        broker = try Self.makeBroker()
        let registry = ServiceRegistry()
        Trip_V1_TripService.register(trips, in: registry)
        tripServer = GRPCServer(loop: loop, registry: registry)
        tripAddress = try tripServer.listen(.loopback(port: 0)).localAddress
        environment = [
            "CABSTAND_BIND": "127.0.0.1", "CABSTAND_GRPC_PORT": "0", "CABSTAND_TRIP_SERVICE": "\(tripAddress)",
            "CABSTAND_DATABASE_URL": "sqlite:\(folder.file("driver.db"))", "CABSTAND_GRACE_S": "4",
            "CABSTAND_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers,
            "CABSTAND_KAFKA_CONFIG": "fetch.wait.max.ms=10",
        ].merging(settings) { $1 }
        server = try Self.start(environment)
        client = Driver_V1_DriverServiceClient(
            channel: GRPCChannel(loop: loop, target: server.grpcAddress.description))
        try connectKafka()
    }

    private static func makeBroker() throws -> EmbeddedBroker {
        try EmbeddedBroker(
            topics: ["driver_locations", "trip_events", "auth_revocations", "audit_events"].map {
                TopicSpecification(name: $0, partitions: 2, replicationFactor: 1)
            })
    }

    private static func start(_ environment: [String: String]) throws -> DriverServer {
        let open = environment.merging(["CABSTAND_AUTH": "off"]) { given, _ in given }
        guard case .run(let values) = try SettingsDeclaration.driver.read(arguments: [], environment: open)
        else { preconditionFailure("a help text was not asked for") }
        let server = try DriverServer(settings: values)
        try server.start()
        return server
    }

    private func connectKafka() throws {
        let configuration = KafkaConfiguration(
            bootstrapServers: broker.bootstrapServers, properties: EmbeddedBroker.properties)
        let consumer = try KafkaConsumer(
            loop: loop, configuration: configuration, topic: "driver_locations", start: .beginning)
        consumer.onRecord = { [weak self] record in
            let event = try? RideEvent(decoding: record.value)
            if case .driverLocationUpdate(let update)? = event {
                self?.events.append(update)
                self?.traces.append(record.trace)
            }
        }
        self.consumer = consumer
        producer = try KafkaProducer(loop: loop, configuration: configuration)
    }

    // MARK: Life

    /// Ends the service in order. The test's own connections are closed first.
    func stop() {
        client.channel.close()
        let finished = Flag()
        server.drain { finished.set() }
        turn("the end") { finished.isSet }
    }

    /// Starts the service again, on a copy of its files as they are now (what kill −9 leaves), or on the same ones.
    func restart(afterKill: Bool = false, newCluster: Bool = false) throws {
        if afterKill {
            let copy = folder.file("after-kill.db")
            for suffix in ["", "-wal"] { Files.copy(folder.file("driver.db") + suffix, copy + suffix) }
            environment["CABSTAND_DATABASE_URL"] = "sqlite:\(copy)"
        }
        stop()
        if newCluster {
            closeKafka()
            broker.stop()
            broker = try Self.makeBroker()
            environment["CABSTAND_KAFKA_BOOTSTRAP_SERVERS"] = broker.bootstrapServers
            try connectKafka()
        }
        server = try Self.start(environment)
        client = Driver_V1_DriverServiceClient(
            channel: GRPCChannel(loop: loop, target: server.grpcAddress.description))
    }

    /// Starts the service again after the test has ended it.
    func restartAfterDrain() throws {
        client.channel.close()
        server = try Self.start(environment)
        client = Driver_V1_DriverServiceClient(
            channel: GRPCChannel(loop: loop, target: server.grpcAddress.description))
    }

    private func closeKafka() {
        var left = 2
        consumer?.close { left -= 1 }
        producer?.close(timeout: .seconds(1)) { _ in left -= 1 }
        turn { left == 0 }
        consumer = nil
        producer = nil
    }

    /// Ends everything. Called at the end of each test.
    func close() {
        stop()
        closeKafka()
        tripServer.close()
        broker.stop()
    }

    // MARK: Asking

    /// Turns the loop until `isDone`, at most 60 s.
    func turn(_ what: String = "it", until isDone: () -> Bool) {
        var isLate = false
        let timer = loop.schedule(after: 60_000_000_000) { isLate = true }
        // So that a wait for another thread's doing goes on.
        let tick = loop.schedule(every: 5_000_000) {}
        while !isDone() {
            if isLate {
                Issue.record("\(what) did not happen within 60 s")
                break
            }
            loop.turn()
        }
        loop.cancel(timer)
        loop.cancel(tick)
    }

    func answer<Value>(
        _ ask: (@escaping (Result<Value, RPCError>) -> Void) -> Void
    ) throws -> Value {
        var result: Result<Value, RPCError>?
        ask { result = $0 }
        turn("an answer") { result != nil }
        return try #require(result).get()
    }

    func refusal<Value>(_ ask: (@escaping (Result<Value, RPCError>) -> Void) -> Void) -> (StatusCode, ProblemDetails?) {
        do {
            _ = try answer(ask)
            return (.ok, nil)
        } catch {
            let error = error as? RPCError
            return (error?.code ?? .unknown, ProblemDetails(statusDetails: error?.statusDetails ?? []))
        }
    }

    static let vehicle = Driver_V1_Vehicle(
        make: "Skoda", model: "Octavia", color: "white", plate: "NB-C 12", category: "standard")

    @discardableResult
    func register(_ id: String?, at position: Position = home) throws -> Driver_V1_RegisterDriverResponse {
        try answer {
            client.registerDriver(
                Driver_V1_RegisterDriverRequest(
                    id: id, name: "Ada", vehicle: Self.vehicle, lat: position.lat, lon: position.lon), $0)
        }
    }

    func driver(_ id: String) throws -> Driver_V1_Driver {
        let response: Driver_V1_GetDriverResponse = try answer {
            client.getDriver(Driver_V1_GetDriverRequest(driverID: id), $0)
        }
        return try #require(response.driver)
    }

    /// Waits until the driver is as `condition` wants him.
    func wait(for id: String, _ condition: (Driver_V1_Driver) -> Bool) throws {
        for _ in 0..<2_000 where try !condition(driver(id)) { pause(10) }
        #expect(try condition(driver(id)))
    }

    func pause(_ milliseconds: UInt64) {
        var isOver = false
        loop.schedule(after: milliseconds * 1_000_000) { isOver = true }
        while !isOver { loop.turn() }
    }

    func availableIDs() throws -> [String] {
        let response: Driver_V1_FindAvailableDriversResponse = try answer {
            client.findAvailableDrivers(Driver_V1_FindAvailableDriversRequest(), $0)
        }
        return response.drivers.map(\.id)
    }

    func report(_ id: String, _ positions: [Position]) throws -> Driver_V1_ReportLocationsResponse {
        try answer { completion in
            let stream = client.reportLocations()
            for position in positions {
                stream.send(
                    Driver_V1_ReportLocationsRequest(driverID: id, lat: position.lat, lon: position.lon))
            }
            stream.finish(completion)
        }
    }

    // MARK: Kafka

    func publish(_ trip: Trip_V1_Trip, _ kind: TripEventKind, trace: TraceContext = .none) {
        let changed = Trip(
            id: trip.id, riderID: trip.riderID,
            driver: DriverProfile(id: trip.driverID, name: "Ada", vehicle: Vehicle(trip.driver?.vehicle)),
            status: TripStatus(trip.status) ?? .inProgress, pickup: home, dropoff: home, createdAt: 1, pickedUpAt: nil,
            endedAt: nil, seq: trip.seq)
        var value = ByteBuffer()
        TripEvent(kind: kind, eventID: "e\(trip.seq)", seq: trip.seq, at: 1, trip: changed).encode(into: &value)
        publish(value.array(), key: trip.driverID, trace: trace)
    }

    func publish(_ value: [UInt8], key: String, trace: TraceContext = .none) {
        var headers: [KafkaHeader] = []
        headers.add(trace)
        let isTaken = producer?.produce(topic: "trip_events", key: key, value: value, headers: headers)
        #expect(isTaken == true)
    }

    func events(of id: String) -> [DriverLocationUpdate] { events.filter { $0.driverID == id } }
}

/// Set by one thread, seen by another.
final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    func set() { value.store(true, ordering: .releasing) }
    var isSet: Bool { value.load(ordering: .acquiring) }
}
