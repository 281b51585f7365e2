#if TESTABLE
    import GRPCRuntime
    import Reactor
    import ReactorSim
    import RideAPI
    import RideDomain

    @testable import GatewayService

    /// The driver service and the trip service, as good or as bad as the input wants them.
    final class FuzzServices {
        enum Mode: UInt8 {
            case prompt, late, failing, strange
        }

        private let network: SimulatedNetwork
        private let loop: EventLoop
        private var server: GRPCServer?
        private var mode = Mode.prompt
        private var drivers: [String: Driver_V1_Driver] = [:]
        private(set) var revision = 1
        /// Answers that are late: some are never asked for.
        private var waiting: [() -> Void] = []
        private var watches: [ServerStreamingServerCall<Trip_V1_WatchTripResponse>] = []

        init(_ network: SimulatedNetwork) throws {
            self.network = network
            loop = try network.makeLoop()
            try start()
        }

        func put(_ name: String, _ lat: Double, _ lon: Double) {
            revision += 1
            drivers[name] = Driver_V1_Driver(id: name, name: name, lat: lat, lon: lon, status: .available)
        }

        func act(_ input: inout FuzzInput) {
            let choice = input.byte()
            switch choice % 8 {
            case 0: mode = Mode(rawValue: choice >> 6) ?? .prompt
            case 1, 2: if !waiting.isEmpty { answer(waiting.remove(at: Int(choice >> 3) % waiting.count)) }
            case 3: answerAll()
            case 4: drivers["car\(choice >> 5)"] = nil
            case 5: tellTrip(hasEnded: choice & 0x80 != 0)
            case 6:
                for number in 0..<Int(choice >> 3) { put("many\(number)", 53.55, 13.25 + Double(number) / 10_000) }
            default: if server == nil { try? start() } else { kill() }
            }
        }

        func become(_ mode: Mode) throws {
            self.mode = mode
            if server == nil { try start() }
        }

        func answerAll() {
            let all = waiting
            waiting = []
            for work in all { answer(work) }
        }

        private func answer(_ work: @escaping () -> Void) { loop.execute(work) }

        private func tellTrip(hasEnded: Bool) {
            loop.execute { [self] in
                for watch in watches {
                    watch.send(Trip_V1_WatchTripResponse(trip: trip("trip0", hasEnded: hasEnded)))
                    if hasEnded { watch.finish() }
                }
            }
        }

        /// The services are killed: what was open breaks.
        private func kill() {
            loop.execute { [self] in
                server?.close()
                server = nil
            }
            network.resetConnections(of: loop)
        }

        func close() throws {
            answerAll()
            let old = server
            loop.execute { old?.close() }
            network.run(for: 10_000_000_000)
            try promise(old?.callCount ?? 0 == 0, "\(old?.callCount ?? 0) calls of the services are left")
            try promise(loop.statistics.connections == 0, "connections of the services are left")
            waiting = []
            watches = []
            server = nil
        }

        // MARK: Answering

        private func start() throws {
            let registry = ServiceRegistry()
            let driverService = Driver_V1_DriverService.name
            let tripService = Trip_V1_TripService.name
            registry.unary(service: driverService, method: "ListDriversInAreas") {
                [unowned self]
                (
                    request: Driver_V1_ListDriversInAreasRequest,
                    call: UnaryServerCall<Driver_V1_ListDriversInAreasResponse>
                ) in respond(call) { [self] in areas(request) }
            }
            registry.unary(service: driverService, method: "FindAvailableDrivers") {
                [unowned self]
                (
                    request: Driver_V1_FindAvailableDriversRequest,
                    call: UnaryServerCall<Driver_V1_FindAvailableDriversResponse>
                ) in
                respond(call) { [self] in
                    let limit = request.limit.map { Int($0) } ?? 1000
                    return .init(
                        drivers: Array(sorted().prefix(limit)), revision: UInt64(revision),
                        truncated: drivers.count > limit)
                }
            }
            registry.unary(service: driverService, method: "GetDriver") {
                [unowned self]
                (request: Driver_V1_GetDriverRequest, call: UnaryServerCall<Driver_V1_GetDriverResponse>) in
                guard let driver = drivers[request.driverID] else {
                    return call.fail(RPCError(code: .notFound, message: "unknown"))
                }
                respond(call) { .init(driver: driver) }
            }
            registry.clientStreaming(service: driverService, method: "ReportLocations") {
                [unowned self]
                (call: ClientStreamingServerCall<Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse>)
                in
                var count: UInt64 = 0
                call.onMessage = { _ in count += 1 }
                call.onEnd = { [unowned self, unowned call] in
                    if mode == .failing { return call.fail(RPCError(code: .unavailable, message: "no")) }
                    call.respond(.init(accepted: count, dropped: mode == .strange ? ["stale": .max] : [:]))
                }
            }
            registry.bidirectional(service: driverService, method: "StreamLocations") {
                [unowned self]
                (call: BidirectionalServerCall<Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse>)
                in
                var count: UInt64 = 0
                call.onMessage = { [unowned self, unowned call] _ in
                    if mode == .failing { return call.fail(RPCError(code: .unavailable, message: "no")) }
                    count += 1
                    call.send(.init(accepted: count, dropped: mode == .strange ? ["stale": .max] : [:]))
                }
                call.onEnd = { [unowned call] in call.finish() }
            }
            registry.unary(service: tripService, method: "CreateTrip") {
                [unowned self] (request: Trip_V1_CreateTripRequest, call: UnaryServerCall<Trip_V1_CreateTripResponse>)
                in respond(call) { [self] in .init(trip: trip(request.id ?? "", hasEnded: false)) }
            }
            registry.unary(service: tripService, method: "GetTrip") {
                [unowned self] (request: Trip_V1_GetTripRequest, call: UnaryServerCall<Trip_V1_GetTripResponse>) in
                respond(call) { [self] in .init(trip: trip(request.tripID, hasEnded: false)) }
            }
            registry.serverStreaming(service: tripService, method: "WatchTrip") {
                [unowned self]
                (request: Trip_V1_WatchTripRequest, call: ServerStreamingServerCall<Trip_V1_WatchTripResponse>) in
                guard request.tripID == "trip0", mode != .failing else {
                    return call.fail(RPCError(code: mode == .failing ? .unavailable : .notFound, message: "unknown"))
                }
                watches.append(call)
                call.onCancel = { [unowned self, unowned call] in watches.removeAll { $0 === call } }
                if mode != .late { call.send(.init(trip: trip("trip0", hasEnded: false))) }
            }
            let server = GRPCServer(loop: loop, registry: registry)
            // Services that can't listen do not start: that is not what is looked at here.
            let failures = network.options.systemCallFailures
            network.options.systemCallFailures = 0
            defer { network.options.systemCallFailures = failures }
            try server.listen(.loopback(port: 50_051))
            self.server = server
        }

        private func respond<Response>(_ call: UnaryServerCall<Response>, _ make: @escaping () -> Response) {
            switch mode {
            case .late: waiting.append { call.respond(make()) }
            case .failing: call.fail(RPCError(code: .unavailable, message: "away"))
            case .prompt, .strange: call.respond(make())
            }
        }

        private func sorted() -> [Driver_V1_Driver] { drivers.values.sorted { $0.id < $1.id } }

        private func areas(_ request: Driver_V1_ListDriversInAreasRequest) -> Driver_V1_ListDriversInAreasResponse {
            var response = Driver_V1_ListDriversInAreasResponse(revision: UInt64(revision))
            for area in request.areas {
                let found = sorted().filter { Box(area).contains(Position(lat: $0.lat, lon: $0.lon)) }
                if let most = request.maxDriversPerArea, found.count > Int(most), request.partial {
                    response.areas.append(.init(outcome: .tooMany))
                } else {
                    response.areas.append(.init(drivers: found))
                }
            }
            guard mode == .strange else { return response }
            // Areas that are missing, that failed, that were not reached; drivers who are nowhere.
            if !response.areas.isEmpty { response.areas.removeLast() }
            for index in response.areas.indices {
                switch index % 3 {
                case 0: response.areas[index] = .init(outcome: .failed)
                case 1: response.areas[index] = .init(outcome: .notReached)
                default: response.areas[index].drivers.append(.init(id: "nowhere", lat: .nan, lon: .infinity))
                }
            }
            return response
        }

        private func trip(_ id: String, hasEnded: Bool) -> Trip_V1_Trip {
            .init(
                id: id, riderID: "rider", driverID: "car0", status: hasEnded ? .completed : .inProgress,
                pickup: .init(lat: 1, lon: 2), dropoff: .init(lat: 3, lon: 4), seq: hasEnded ? 2 : 1)
        }
    }
#endif
