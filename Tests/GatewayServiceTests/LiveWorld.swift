import Access
import Bytes
import GRPCRuntime
import HTTPServer
import ProtobufWire
import Reactor
import ReactorSim
import RideAPI
import RideDomain
import WebSocketServer
import WebSockets

@testable import GatewayService

/// The live part of a gateway in a simulated world, between fake services and browsers.
final class LiveWorld {
    let network: SimulatedNetwork
    let gateway: EventLoop
    let services: EventLoop
    let browsers: EventLoop
    let feed: DriverFeed
    let live: LiveEndpoints
    let counts: ConnectionCounts?
    private let address: SocketAddress
    private let http: HTTPServer
    private var grpc: GRPCServer?

    /// What the driver service knows.
    var drivers: [String: Driver_V1_Driver] = [:]
    var driverWatches: [(id: String, call: ServerStreamingServerCall<Driver_V1_WatchDriverResponse>)] = []
    var reports: [[Driver_V1_ReportLocationsRequest]] = []
    /// Calls of `StreamLocations`, for as long as they are open, and whether the service knows the method.
    var locationStreams: [LocationCall] = []
    var hasLocationStreams: Bool
    typealias LocationCall = BidirectionalServerCall<
        Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse
    >
    /// Positions are acknowledged.
    var acknowledges = true
    /// What the trip service knows.
    var trips: [String: Trip_V1_Trip] = [:]
    var tripWatches: [(id: String, call: ServerStreamingServerCall<Trip_V1_WatchTripResponse>)] = []

    /// Bookings that the trip service has made, by the rider.
    var bookings: [String: String] = [:]
    private let backends: Backends
    private let access: AccessControl?

    init(
        servicesAreUp: Bool = true, limits: FeedLimits = .init(), seed: UInt64 = 3,
        options: SimulationOptions = .init(), hasLocationStreams: Bool = true,
        access: AccessConfiguration? = nil, rates: ClientLimits? = nil, proxies: TrustedProxies = .init(),
        counts: ConnectionCounts? = nil
    ) throws {
        self.hasLocationStreams = hasLocationStreams
        self.counts = counts
        network = SimulatedNetwork(seed: seed, options: options)
        gateway = try network.makeLoop()
        services = try network.makeLoop()
        browsers = try network.makeLoop()
        let channel = GRPCChannel(loop: gateway, target: "127.0.0.1:50051")
        let driverClient = Driver_V1_DriverServiceClient(channel: channel)
        feed = DriverFeed(
            loop: gateway, source: DriverServiceAreas(client: driverClient, timeout: 2_000_000_000),
            cars: DriverServiceCars(client: driverClient, timeout: 2_000_000_000),
            configuration: .init(limits: limits))
        let loop = gateway
        let loopLimits = rates.map { LoopLimits($0, loop: loop) }
        let door = counts.map { LoopDoor(loop: loop, counts: $0, limits: loopLimits) }
        let links = FeedLink.links(feed, loops: [gateway])
        live = LiveEndpoints(
            link: links[0].value, drivers: driverClient, trips: Trip_V1_TripServiceClient(channel: channel),
            configuration: .init(limits: limits), limits: loopLimits,
            door: door)
        let router = Router()
        let backends = Backends(
            loop: gateway, driverService: "127.0.0.1:50051", tripService: "127.0.0.1:50051", timeout: 5_000_000_000)
        self.backends = backends
        let control = access.map { AccessControl(backends: backends, configuration: $0, limits: loopLimits) }
        self.access = control
        let api = GuardedRoutes(router.group(["", "/v1"]), access: control, limits: loopLimits)
        live.register(on: api)
        TripRoutes(backends: backends).register(on: api)
        DriverRoutes(backends: backends).register(on: api)
        if let control { SignInRoutes(SignIn(backends: backends, access: control)).register(on: api) }
        http = HTTPServer(loop: gateway, router: router, proxies: proxies)
        address = try http.listen(.loopback(port: 8080), gate: door).localAddress
        if servicesAreUp { try startServices() }
    }

    func startServices() throws {
        let registry = ServiceRegistry()
        registry.unary(service: Driver_V1_DriverService.name, method: "ListDriversInAreas") {
            [unowned self]
            (request: Driver_V1_ListDriversInAreasRequest, call: UnaryServerCall<Driver_V1_ListDriversInAreasResponse>)
            in
            var response = Driver_V1_ListDriversInAreasResponse(revision: 7)
            response.asOf = Google_Protobuf_Timestamp(unixMilliseconds: 1_700_000_000_000)
            for area in request.areas {
                let found = drivers.values.filter { Box(area).contains(Position(lat: $0.lat, lon: $0.lon)) }
                response.areas.append(Driver_V1_DriversInArea(drivers: found.sorted { $0.id < $1.id }))
            }
            call.respond(response)
        }
        registry.unary(service: Driver_V1_DriverService.name, method: "FindAvailableDrivers") {
            [unowned self]
            (
                request: Driver_V1_FindAvailableDriversRequest,
                call: UnaryServerCall<Driver_V1_FindAvailableDriversResponse>
            ) in
            let found = drivers.values.sorted { $0.id < $1.id }
            let limit = request.limit.map { Int($0) } ?? 1_000
            call.respond(
                Driver_V1_FindAvailableDriversResponse(
                    drivers: Array(found.prefix(limit)), revision: 7,
                    asOf: Google_Protobuf_Timestamp(unixMilliseconds: 1_700_000_000_000),
                    truncated: found.count > limit))
        }
        registry.unary(service: Driver_V1_DriverService.name, method: "GetDriver") {
            [unowned self] (request: Driver_V1_GetDriverRequest, call: UnaryServerCall<Driver_V1_GetDriverResponse>) in
            guard let driver = drivers[request.driverID] else {
                return call.fail(RPCError(code: .notFound, message: "unknown"))
            }
            call.respond(Driver_V1_GetDriverResponse(driver: driver))
        }
        registry.serverStreaming(service: Driver_V1_DriverService.name, method: "WatchDriver") {
            [unowned self]
            (request: Driver_V1_WatchDriverRequest, call: ServerStreamingServerCall<Driver_V1_WatchDriverResponse>) in
            guard let driver = drivers[request.driverID] else {
                return call.fail(RPCError(code: .notFound, message: "unknown"))
            }
            driverWatches.append((request.driverID, call))
            call.send(Driver_V1_WatchDriverResponse(driverID: driver.id, activeTripID: driver.activeTripID))
        }
        registry.clientStreaming(service: Driver_V1_DriverService.name, method: "ReportLocations") {
            [unowned self]
            (call: ClientStreamingServerCall<Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse>) in
            let place = reports.count
            reports.append([])
            call.onMessage = { [unowned self] in reports[place].append($0) }
            call.onEnd = { [unowned self] in call.respond(counts(place)) }
        }
        if hasLocationStreams {
            registry.bidirectional(service: Driver_V1_DriverService.name, method: "StreamLocations") {
                [unowned self] (call: LocationCall) in
                let place = reports.count
                reports.append([])
                locationStreams.append(call)
                call.onMessage = { [unowned self] in
                    reports[place].append($0)
                    if acknowledges { call.send(counts(place)) }
                }
                call.onEnd = { [unowned self] in
                    locationStreams.removeAll { $0 === call }
                    call.finish()
                }
            }
        }
        registry.unary(service: Trip_V1_TripService.name, method: "CreateTrip") {
            [unowned self] (request: Trip_V1_CreateTripRequest, call: UnaryServerCall<Trip_V1_CreateTripResponse>) in
            let id = request.id ?? ""
            putTrip(id, driver: "car")
            bookings[request.riderID] = id
            call.respond(Trip_V1_CreateTripResponse(trip: trips[id]))
        }
        registry.unary(service: Trip_V1_TripService.name, method: "GetTrip") {
            [unowned self] (request: Trip_V1_GetTripRequest, call: UnaryServerCall<Trip_V1_GetTripResponse>) in
            guard let trip = trips[request.tripID] else {
                return call.fail(RPCError(code: .notFound, message: "unknown"))
            }
            call.respond(Trip_V1_GetTripResponse(trip: trip))
        }
        registry.serverStreaming(service: Trip_V1_TripService.name, method: "WatchTrip") {
            [unowned self]
            (request: Trip_V1_WatchTripRequest, call: ServerStreamingServerCall<Trip_V1_WatchTripResponse>) in
            guard let trip = trips[request.tripID] else {
                return call.fail(RPCError(code: .notFound, message: "unknown"))
            }
            tripWatches.append((request.tripID, call))
            call.send(Trip_V1_WatchTripResponse(trip: trip))
            if trip.hasEnded { call.finish() }
        }
        Auth_V1_AuthService.register(AuthStub(), in: registry)
        let server = GRPCServer(loop: services, registry: registry)
        try server.listen(.loopback(port: 50051))
        grpc = server
    }

    /// What became of the positions of one stream: those that say when are stale.
    private func counts(_ place: Int) -> Driver_V1_ReportLocationsResponse {
        let stale = reports[place].filter { $0.at != nil }.count
        return Driver_V1_ReportLocationsResponse(
            accepted: UInt64(reports[place].count - stale), dropped: stale > 0 ? ["stale": UInt64(stale)] : [:])
    }

    /// The services die; what was open breaks.
    func killServices() {
        grpc?.close()
        grpc = nil
        network.resetConnections(of: services)
    }

    /// A connection of its own to the gateway's port, without a loop.
    func connect(from local: SocketAddress? = nil) -> SimulatedPeer { network.connect(to: address, from: local) }

    /// As the gateway's node does with what its reader reads.
    func revoke(_ revocation: Revocation) {
        access?.authenticator.revoke([revocation])
        live.expiry.revoke([revocation])
    }

    func run(_ seconds: Double) { network.run(for: UInt64(seconds * 1e9)) }

    /// A request of REST and its answer.
    func ask(_ method: String, _ path: String, body: String, fields: String = "") -> String {
        let peer = connect()
        peer.send(
            Array(
                ("\(method) \(path) HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n"
                    + "Content-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)").utf8))
        run(1)
        defer { peer.close() }
        return String(decoding: peer.takeReceived(), as: UTF8.self)
    }

    func open(_ path: String, fields: String = "") -> Browser {
        Browser(loop: browsers, address: address, path: path, fields: fields)
    }

    /// Something happens on the services' loop.
    func onServices(_ work: @escaping () -> Void) { services.execute(work) }

    func putDriver(_ id: String, _ lat: Double, _ lon: Double, trip: String? = nil) {
        drivers[id] = Driver_V1_Driver(
            id: id, name: "Driver \(id)", lat: lat, lon: lon, status: trip == nil ? .available : .unavailable,
            updatedAt: Google_Protobuf_Timestamp(unixMilliseconds: 1_700_000_000_000), activeTripID: trip)
    }

    func putTrip(_ id: String, driver: String, _ status: Trip_V1_TripStatus = .inProgress, seq: UInt64 = 1) {
        trips[id] = Trip_V1_Trip(
            id: id, riderID: "rider", driverID: driver, status: status, pickup: Trip_V1_Place(lat: 1, lon: 2),
            dropoff: Trip_V1_Place(lat: 3, lon: 4), createdAt: Google_Protobuf_Timestamp(unixMilliseconds: 0), seq: seq)
    }

    /// The trip as it is known now goes to all who watch it.
    func tellTrip(_ id: String) {
        onServices { [self] in
            guard let trip = trips[id] else { return }
            for watch in tripWatches where watch.id == id {
                watch.call.send(Trip_V1_WatchTripResponse(trip: trip))
                if trip.hasEnded { watch.call.finish() }
            }
        }
    }

    /// A record of `driver_locations`.
    func record(_ id: String, _ lat: Double, _ lon: Double, seq: UInt64, at: Int64 = 1_700_000_000_000) {
        gateway.execute { [self] in
            feed.receive(
                DriverLocationUpdate(
                    eventID: "", seq: seq, at: at, driverID: id, lat: lat, lon: lon, heading: 90, status: .available,
                    reason: .location), timestamp: nil)
        }
    }
}

/// A browser's WebSocket.
final class Browser: ConnectionHandler {
    private let loop: EventLoop
    private(set) var id = ConnectionID.none
    private let request: [UInt8]
    private var parser = FrameParser(role: .client)
    private var isOpen = false
    private(set) var head = ""
    private(set) var messages: [String] = []
    private(set) var closeCode: UInt16?
    private(set) var hasEnded = false
    private var waiting: [UInt8] = []

    init(loop: EventLoop, address: SocketAddress, path: String, fields: String) {
        self.loop = loop
        request = Array(
            ("GET \(path) HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\(fields)\r\n").utf8)
        super.init()
        id = loop.connect(address, timeout: 5_000_000_000, handler: self)
    }

    var status: Int { Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0 }

    func send(_ text: String) { send(.text, Array(text.utf8)) }

    func send(_ opcode: Opcode, _ payload: [UInt8]) {
        var buffer = ByteBuffer()
        FrameWriter.append(opcode, payload.span, mask: 0x0102_0304, to: &buffer)
        if isOpen { unsafe loop.output(id)?.pointee.append(buffer.array()) } else { waiting += buffer.array() }
    }

    func close() { loop.close(id) }

    override func connectionOpened(_ id: ConnectionID) { unsafe loop.output(id)?.pointee.append(request) }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        var offset = 0
        while offset < bytes.count && !isOpen {
            unsafe head.unicodeScalars.append(Unicode.Scalar(bytes[offset]))
            offset += 1
            if head.hasSuffix("\r\n\r\n") && status == 101 {
                isOpen = true
                parser = FrameParser(role: .client, deflates: head.contains("permessage-deflate"))
                unsafe loop.output(id)?.pointee.append(waiting)
            }
        }
        var message: [UInt8] = []
        while isOpen {
            var input = unsafe MutableSpan<UInt8>(_unsafeBytes: bytes)
            switch parser.next(&input, &offset, WebSocketLimits(maximumMessageSize: 1 << 24)) {
            case .needsMoreBytes: return offset
            case .message(let piece):
                unsafe message += bytes[piece.offset..<(piece.offset + piece.count)]
                assembled += message
                message = []
                if piece.isLast {
                    messages.append(String(decoding: assembled, as: UTF8.self))
                    assembled = []
                }
            case .deflated(let piece):
                let payload = unsafe Array(bytes[piece.offset..<(piece.offset + piece.count)])
                if piece.isFirst { inflater.reset() }
                _ = inflater.inflate(payload.span, isLast: piece.isLast, limit: 1 << 24, into: &inflated)
                guard piece.isLast else { continue }
                messages.append(String(decoding: inflated.array(), as: UTF8.self))
                inflated.removeAll()
                deflatedMessages += 1
            case .ping(let start, let count): send(.pong, unsafe Array(bytes[start..<(start + count)]))
            case .pong: break
            case .close(let code, _, _):
                closeCode = code.rawValue
                send(.close, [UInt8(code.rawValue >> 8), UInt8(code.rawValue & 255)])
            case .violation: loop.close(id)
            }
        }
        return bytes.count
    }

    private var assembled: [UInt8] = []
    private var inflater = Inflater()
    private var inflated = ByteBuffer()
    /// Messages that came compressed.
    private(set) var deflatedMessages = 0

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) { hasEnded = true }
}
