import Basics
import Bytes
import GRPCRuntime
import HTTPClient
import HTTPServer
import JSONWire
import Reactor
import ReactorSim
import RideAPI
import RideDomain
import Testing

@testable import DriverSimulator

/// Simulated drivers, and a gateway and a driver service that ask who they are, in virtual time. Both say what the test tells them to.
final class SignInWorld: ServerInterceptor {
    let network: SimulatedNetwork
    private let host: EventLoop
    private let loop: EventLoop
    private let fleet: SimulatedFleet
    private var gateway: HTTPServer?
    private var gatewayListener: Listener?
    private var service: GRPCServer?
    private var count = 0

    // MARK: What the test says

    /// Seconds that access tokens live.
    var life = 900
    /// The driver service takes the gateway's tokens.
    var believesTokens = true
    /// The driver service lets the simulator register drivers.
    var takesRegistrations = true
    /// What the gateway answers instead of signing anybody in.
    var gatewayAnswer: (status: Int, fields: HTTPFields)?
    /// The gateway takes a refresh token, and its answer is lost.
    var losesRefreshes = false
    /// What the gateway lets one address ask.
    var quota: RateQuota?
    private var arrival: UInt64 = 0
    /// Drivers that an operator has deleted, or suspended.
    var deleted: Set<String> = []
    private(set) var suspended: Set<String> = []

    // MARK: What was asked

    /// Enrolment codes, by driver.
    private(set) var codes: [String] = []
    private(set) var registrations = 0
    /// What came to the gateway: instant and path.
    private(set) var requests: [(at: UInt64, path: String)] = []
    /// Refresh tokens that were shown.
    private(set) var refreshed: [String] = []
    /// What is left of the quota after each request.
    private(set) var left: [UInt64] = []
    /// Refused calls: paths.
    private(set) var refusals: [String] = []
    /// Instants of a driver's positions.
    private(set) var positions: [String: [UInt64]] = [:]
    /// Drivers that went on duty by themselves.
    private(set) var returned: [String] = []
    /// Calls in the simulator's own name that brought a driver's token.
    private(set) var strange = 0

    private var codesInForce: [String: String] = [:]
    private var accessTokens: [String: (driver: String, end: UInt64)] = [:]
    private var refreshTokens: [String: String] = [:]
    private var open: [(call: InterceptedCall, token: String)] = []

    struct Caller {
        let driver: String
    }

    init(drivers: Int, signsIn: Bool = true, listens: Bool = true) throws {
        network = SimulatedNetwork(seed: 7)
        host = try network.makeLoop()
        loop = try network.makeLoop()
        fleet = SimulatedFleet(
            loop: loop, count: drivers, graph: square, driverService: "localhost:50051", tripService: "localhost:50052",
            options: (.betweenServices, .betweenServices, .betweenServices),
            gateway: signsIn ? try HTTPURL("http://localhost:8080").origin : nil, client: HTTPClient(loop: loop))
        try serve(asks: signsIn)
        if listens { try openGateway() }
        loop.execute { [fleet] in fleet.start() }
    }

    func run(_ seconds: Double) { network.run(for: UInt64(seconds * 1e9)) }

    /// On the loop of the services.
    func act(_ work: @escaping () -> Void) {
        host.execute(work)
        run(0.01)
    }

    /// Nothing of a driver's is good any more, and what is open ends.
    func revoke(_ driver: String) {
        act { [self] in
            accessTokens = accessTokens.filter { $0.value.driver != driver }
            refreshTokens = refreshTokens.filter { $0.value != driver }
            endRefused()
        }
    }

    func suspend(_ driver: String, _ isSuspended: Bool) {
        act { [self] in
            if isSuspended { suspended.insert(driver) } else { suspended.remove(driver) }
            for (call, token) in open where accessTokens[token]?.driver == driver {
                call.end(RPCError(code: .failedPrecondition, message: "suspended"))
            }
        }
    }

    /// The longest time without a position of a driver, from one instant to another, in seconds.
    func longestGap(_ driver: String, from start: UInt64) -> Double {
        let instants = [start] + (positions[driver] ?? []).filter { $0 > start } + [network.now]
        return zip(instants, instants.dropFirst()).map { Double($1 - $0) / 1e9 }.max() ?? 0
    }

    // MARK: The driver service

    private func serve(asks: Bool) throws {
        let registry = ServiceRegistry()
        let drivers = "driver.v1.DriverService"
        registry.unary(service: drivers, method: "RegisterDriver") {
            [unowned self]
            (request: Driver_V1_RegisterDriverRequest, call: UnaryServerCall<Driver_V1_RegisterDriverResponse>) in
            registrations += 1
            guard takesRegistrations else { return call.fail(RPCError(code: .unauthenticated, message: "who?")) }
            call.respond(.init(driver: Driver_V1_Driver(id: request.id ?? "", lat: request.lat, lon: request.lon)))
        }
        registry.unary(service: drivers, method: "UpdateDriverStatus") {
            [unowned self]
            (
                request: Driver_V1_UpdateDriverStatusRequest,
                call: UnaryServerCall<Driver_V1_UpdateDriverStatusResponse>
            ) in
            #expect(request.status == .available)
            returned.append(request.driverID)
            call.respond(.init())
        }
        registry.serverStreaming(service: drivers, method: "WatchDriver") {
            [unowned self]
            (request: Driver_V1_WatchDriverRequest, call: ServerStreamingServerCall<Driver_V1_WatchDriverResponse>) in
            if deleted.contains(request.driverID) { return call.fail(RPCError(code: .notFound, message: "deleted")) }
            if suspended.contains(request.driverID) {
                return call.fail(RPCError(code: .failedPrecondition, message: "suspended"))
            }
            call.send(.init(driverID: request.driverID, lat: 53.5, lon: 13))
        }
        registry.bidirectional(service: drivers, method: "StreamLocations") {
            [unowned self]
            (
                call: BidirectionalServerCall<
                    Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse
                >
            ) in
            var driver = call[Caller.self]?.driver ?? ""
            var accepted: UInt64 = 0
            call.onMessage = { [unowned self, unowned call] message in
                if asks, !message.driverID.isEmpty { #expect(message.driverID == driver) }
                if driver.isEmpty { driver = message.driverID }
                positions[driver, default: []].append(network.now)
                accepted += 1
                call.send(.init(accepted: accepted))
            }
            call.onEnd = { [unowned call] in call.finish() }
        }
        registry.unary(service: "auth.v1.AuthService", method: "CreateEnrolment") {
            [unowned self]
            (request: Auth_V1_CreateEnrolmentRequest, call: UnaryServerCall<Auth_V1_CreateEnrolmentResponse>) in
            codes.append(request.driverID)
            if deleted.contains(request.driverID) { return call.fail(RPCError(code: .notFound, message: "deleted")) }
            let code = make("code")
            codesInForce[code] = request.driverID
            call.respond(.init(code: code))
        }
        let server = GRPCServer(loop: host, registry: registry)
        if asks { server.add(self) }
        try server.listen(.loopback(port: 50051))
        service = server
        host.schedule(every: 100_000_000) { [unowned self] in endRefused() }
    }

    func intercept(_ call: InterceptedCall) throws(RPCError) {
        let token = call.metadata["authorization"].map { String($0.dropFirst(7)) }
        if call.isUnary && !call.path.hasSuffix("/UpdateDriverStatus") {
            if token != nil { strange += 1 }
            return
        }
        guard believesTokens, let token, let caller = accessTokens[token], caller.end > network.now else {
            refusals.append(call.path)
            throw RPCError(code: .unauthenticated, message: "refused")
        }
        if call.isUnary { return }
        call.attach(Caller(driver: caller.driver))
        open.append((call, token))
    }

    /// A service ends the streams whose token has ended.
    private func endRefused() {
        open.removeAll { !$0.call.isOpen }
        for (call, token) in open where (accessTokens[token]?.end ?? 0) <= network.now {
            refusals.append(call.path)
            call.end(RPCError(code: .unauthenticated, message: "ended"))
        }
    }

    private func make(_ kind: String) -> String {
        count += 1
        return "\(kind)-\(count)"
    }

    // MARK: The gateway

    func openGateway() throws {
        let router = Router()
        for path in ["/auth/driver", "/auth/refresh"] {
            router.post(path) { [unowned self] request, responder in
                requests.append((network.now, path))
                let isJSON = request.isJSON
                #expect(isJSON)
                answer(path, Self.text(request.body), responder)
            }
        }
        let server = HTTPServer(loop: host, router: router)
        gatewayListener = try server.listen(.loopback(port: 8080))
        gateway = server
    }

    /// The only member of a body.
    private static func text(_ body: Span<UInt8>) -> String {
        do throws(JSONError) {
            var reader = JSONReader(body)
            try reader.beginObject()
            guard try reader.nextMember() != nil else { return "" }
            return try reader.readString()
        } catch {
            return ""
        }
    }

    private func answer(_ path: String, _ secret: String, _ responder: HTTPResponder) {
        var fields = HTTPFields()
        if let quota {
            let decision = quota.take(&arrival, now: network.now)
            let remaining = quota.remaining(decision)
            left.append(remaining)
            fields = ["RateLimit-Policy": "\"token\";q=300;w=60", "RateLimit": "\"token\";r=\(remaining);t=1"]
            guard decision.isAdmitted else { return responder.respond(429, fields: fields.adding("Retry-After", "1")) }
        }
        if let gatewayAnswer { return responder.respond(gatewayAnswer.status, fields: gatewayAnswer.fields) }
        let driver: String?
        if path == "/auth/driver" {
            driver = codesInForce.removeValue(forKey: secret)
        } else {
            refreshed.append(secret)
            driver = refreshTokens.removeValue(forKey: secret)
            if losesRefreshes { return responder.respond(504) }
        }
        guard let driver else { return responder.respond(401, fields: fields) }
        let (access, refresh) = (make("access"), make("refresh"))
        accessTokens[access] = (driver, network.now + UInt64(life) * 1_000_000_000)
        refreshTokens[refresh] = driver
        responder.respond(200, "application/json", fields: fields) { output in
            output.beginJSONObject()
            output.appendJSON("access_token", string: access)
            output.appendJSON("token_type", string: "Bearer")
            output.appendJSON("expires_in", integer: life)
            output.appendJSON("refresh_token", string: refresh)
            output.endJSONObject()
        }
    }
}
