import Access
import GRPCRuntime
import Glibc
import HTTP1
import HTTPServer
import Reactor
import RideAPI
import Synchronization
import TestSupport

@testable import GatewayService

/// What a test wants the services to answer. The closures run on the loop.
final class Scripts: Sendable {
    typealias Answer<Request, Response> = @Sendable (Request, Metadata) -> Result<Response, RPCError>

    struct All: Sendable {
        var find: Answer<Driver_V1_FindAvailableDriversRequest, Driver_V1_FindAvailableDriversResponse>?
        var list: Answer<Driver_V1_ListDriversRequest, Driver_V1_ListDriversResponse>?
        var get: Answer<Driver_V1_GetDriverRequest, Driver_V1_GetDriverResponse>?
        var register: Answer<Driver_V1_RegisterDriverRequest, Driver_V1_RegisterDriverResponse>?
        var setStatus: Answer<Driver_V1_UpdateDriverStatusRequest, Driver_V1_UpdateDriverStatusResponse>?
        var createTrip: Answer<Trip_V1_CreateTripRequest, Trip_V1_CreateTripResponse>?
        var getTrip: Answer<Trip_V1_GetTripRequest, Trip_V1_GetTripResponse>?
        var listTrips: Answer<Trip_V1_ListTripsRequest, Trip_V1_ListTripsResponse>?
        var pickUp: Answer<Trip_V1_PickUpTripRequest, Trip_V1_PickUpTripResponse>?
        var complete: Answer<Trip_V1_CompleteTripRequest, Trip_V1_CompleteTripResponse>?
        var cancel: Answer<Trip_V1_CancelTripRequest, Trip_V1_CancelTripResponse>?
        var update: Answer<Driver_V1_UpdateDriverRequest, Driver_V1_UpdateDriverResponse>?
        var delete: Answer<Driver_V1_DeleteDriverRequest, Driver_V1_DeleteDriverResponse>?
        var suspend: Answer<Driver_V1_SuspendDriverRequest, Driver_V1_SuspendDriverResponse>?
        var restore: Answer<Driver_V1_RestoreDriverRequest, Driver_V1_RestoreDriverResponse>?
        var end: Answer<Trip_V1_EndTripRequest, Trip_V1_EndTripResponse>?
    }

    private let all = Mutex(All())

    func set(_ change: (inout All) -> Void) { all.withLock { change(&$0) } }

    func answer<Request, Response>(
        _ request: Request, _ call: UnaryServerCall<Response>, _ script: (All) -> Answer<Request, Response>?
    ) {
        guard let script = script(all.withLock { $0 }) else { return }  // silent: the deadline decides
        switch script(request, call.metadata) {
        case .success(let response): call.respond(response)
        case .failure(let error): call.fail(error)
        }
    }
}

private final class DriverStub: Driver_V1_DriverServiceHandler {
    let scripts: Scripts
    init(_ scripts: Scripts) { self.scripts = scripts }

    func registerDriver(
        _ request: Driver_V1_RegisterDriverRequest, _ call: UnaryServerCall<Driver_V1_RegisterDriverResponse>
    ) { scripts.answer(request, call) { $0.register } }
    func getDriver(_ request: Driver_V1_GetDriverRequest, _ call: UnaryServerCall<Driver_V1_GetDriverResponse>) {
        scripts.answer(request, call) { $0.get }
    }
    func listDrivers(_ request: Driver_V1_ListDriversRequest, _ call: UnaryServerCall<Driver_V1_ListDriversResponse>) {
        scripts.answer(request, call) { $0.list }
    }
    func findAvailableDrivers(
        _ request: Driver_V1_FindAvailableDriversRequest,
        _ call: UnaryServerCall<Driver_V1_FindAvailableDriversResponse>
    ) { scripts.answer(request, call) { $0.find } }
    func listDriversInAreas(
        _ request: Driver_V1_ListDriversInAreasRequest, _ call: UnaryServerCall<Driver_V1_ListDriversInAreasResponse>
    ) {}
    func updateDriverStatus(
        _ request: Driver_V1_UpdateDriverStatusRequest, _ call: UnaryServerCall<Driver_V1_UpdateDriverStatusResponse>
    ) { scripts.answer(request, call) { $0.setStatus } }
    func reportLocations(
        _ call: ClientStreamingServerCall<Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse>
    ) {}
    func streamLocations(
        _ call: BidirectionalServerCall<Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse>
    ) {}
    func watchDriver(
        _ request: Driver_V1_WatchDriverRequest, _ call: ServerStreamingServerCall<Driver_V1_WatchDriverResponse>
    ) {}
    func updateDriver(
        _ request: Driver_V1_UpdateDriverRequest, _ call: UnaryServerCall<Driver_V1_UpdateDriverResponse>
    ) { scripts.answer(request, call) { $0.update } }
    func deleteDriver(
        _ request: Driver_V1_DeleteDriverRequest, _ call: UnaryServerCall<Driver_V1_DeleteDriverResponse>
    ) { scripts.answer(request, call) { $0.delete } }
    func suspendDriver(
        _ request: Driver_V1_SuspendDriverRequest, _ call: UnaryServerCall<Driver_V1_SuspendDriverResponse>
    ) { scripts.answer(request, call) { $0.suspend } }
    func restoreDriver(
        _ request: Driver_V1_RestoreDriverRequest, _ call: UnaryServerCall<Driver_V1_RestoreDriverResponse>
    ) { scripts.answer(request, call) { $0.restore } }
}

private final class TripStub: Trip_V1_TripServiceHandler {
    let scripts: Scripts
    init(_ scripts: Scripts) { self.scripts = scripts }

    func createTrip(_ request: Trip_V1_CreateTripRequest, _ call: UnaryServerCall<Trip_V1_CreateTripResponse>) {
        scripts.answer(request, call) { $0.createTrip }
    }
    func getTrip(_ request: Trip_V1_GetTripRequest, _ call: UnaryServerCall<Trip_V1_GetTripResponse>) {
        scripts.answer(request, call) { $0.getTrip }
    }
    func listTrips(_ request: Trip_V1_ListTripsRequest, _ call: UnaryServerCall<Trip_V1_ListTripsResponse>) {
        scripts.answer(request, call) { $0.listTrips }
    }
    func pickUpTrip(_ request: Trip_V1_PickUpTripRequest, _ call: UnaryServerCall<Trip_V1_PickUpTripResponse>) {
        scripts.answer(request, call) { $0.pickUp }
    }
    func completeTrip(_ request: Trip_V1_CompleteTripRequest, _ call: UnaryServerCall<Trip_V1_CompleteTripResponse>) {
        scripts.answer(request, call) { $0.complete }
    }
    func cancelTrip(_ request: Trip_V1_CancelTripRequest, _ call: UnaryServerCall<Trip_V1_CancelTripResponse>) {
        scripts.answer(request, call) { $0.cancel }
    }
    func endTrip(_ request: Trip_V1_EndTripRequest, _ call: UnaryServerCall<Trip_V1_EndTripResponse>) {
        scripts.answer(request, call) { $0.end }
    }
    func watchTrip(_ request: Trip_V1_WatchTripRequest, _ call: ServerStreamingServerCall<Trip_V1_WatchTripResponse>) {}
}

private final class AuditRecords: Sendable {
    let all = Mutex<[AuditRecord]>([])
}

/// REST in front of scripted services, all on one loop with real sockets.
final class RESTWorld: Sendable {
    let scripts = Scripts()
    let port: UInt16
    private let group: EventLoopGroup
    private let control: LoopBound<AccessControl>?
    private let records = AuditRecords()
    /// What the audit has of requests that were answered.
    var audit: [AuditRecord] { records.all.withLock { $0 } }

    /// - Parameters:
    ///   - servesTrips: whether there is a trip service at all.
    ///   - timeout: nanoseconds of a request.
    ///   - access: who may do what; nil: everybody everything.
    init(
        servesTrips: Bool = true, timeout: UInt64 = 5_000_000_000, origins: [String] = [],
        access: AccessConfiguration? = nil
    ) throws {
        group = try EventLoopGroup(count: 1)
        let loop = group.loops[0]
        let registry = ServiceRegistry()
        Driver_V1_DriverService.register(DriverStub(scripts), in: registry)
        Auth_V1_AuthService.register(AuthStub(), in: registry)
        if servesTrips { Trip_V1_TripService.register(TripStub(scripts), in: registry) }
        let services = GRPCServer(loop: loop, registry: registry)
        let address = try services.listen(.loopback(port: 0)).localAddress
        // Port 1 refuses: nobody may listen there.
        let backends = Backends(
            loop: loop, driverService: "\(address)", tripService: servesTrips ? "\(address)" : "127.0.0.1:1",
            timeout: timeout)
        let router = Router()
        let policy = try OriginPolicy(origins)
        let records = records
        let metrics = AccessMetrics()
        let control = access.map {
            AccessControl(
                backends: backends, configuration: $0, origins: policy, metrics: metrics,
                audit: Audit(
                    loop: loop, metrics: metrics, publish: { record in records.all.withLock { $0.append(record) } }))
        }
        self.control = control.map { LoopBound($0, loop: loop) }
        let api = GuardedRoutes(router.group(["", "/v1"]), access: control)
        if let control {
            WellKnownRoutes(access: control).register(on: router)
            let signIn = SignIn(backends: backends, access: control)
            SignInRoutes(signIn).register(on: api)
            ProviderRoutes(signIn, provider: nil).register(on: api)
        }
        DriverRoutes(backends: backends).register(on: api)
        TripRoutes(backends: backends).register(on: api)
        let server = HTTPServer(loop: loop, router: router, cors: .gateway(policy))
        port = try server.listen(.loopback(port: 0)).localAddress.port
        try group.start { _ in }
    }

    deinit {
        group.stop()
        group.join()
    }

    /// Other keys are believed from now on.
    func use(_ access: AccessConfiguration) {
        guard let control else { return }
        control.loop.submit { control.value.use(access) }
    }

    /// One request on a connection of its own.
    func send(_ method: String, _ path: String, body: String? = nil, fields: String = "") -> String {
        var script = "\(method) \(path) HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\n\(fields)"
        if let body {
            script += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        } else {
            script += "\r\n"
        }
        return Client(port).send(script).response()
    }
}

extension RPCError {
    /// A domain error as the services send it.
    static func domain(_ code: StatusCode, _ details: ProblemDetails) -> RPCError {
        RPCError(
            code: code, message: details.detail, statusDetails: details.statusDetails(grpcCode: code.rawValue))
    }
}
