import Basics
import GRPCRuntime
import HTTPServer
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// A service behind the gateway, as people call it.
enum Backend: String {
    case driver = "driver service"
    case trip = "trip service"
}

/// One loop's way to the services: a channel and a client each, and the rules for calling them.
final class Backends {
    let loop: EventLoop
    let drivers: Driver_V1_DriverServiceClient
    let trips: Trip_V1_TripServiceClient
    /// What is remembered of signing in: behind the driver service's port.
    let auth: Auth_V1_AuthServiceClient
    let driverChannel: GRPCChannel
    let tripChannel: GRPCChannel
    /// Nanoseconds from a request's dispatch to its deadline.
    let timeout: UInt64
    private var identifiers = UUIDv7Generator()

    /// - Parameters:
    ///   - driverService: `host:port`.
    ///   - tripService: `host:port`.
    ///   - timeout: nanoseconds that a request may take.
    ///   - options: of both channels.
    init(
        loop: EventLoop, driverService: String, tripService: String, timeout: UInt64,
        options: ChannelOptions = .betweenServices
    ) {
        self.loop = loop
        self.timeout = timeout
        driverChannel = GRPCChannel(loop: loop, target: driverService, options: options)
        tripChannel = GRPCChannel(loop: loop, target: tripService, options: options)
        drivers = Driver_V1_DriverServiceClient(channel: driverChannel)
        trips = Trip_V1_TripServiceClient(channel: tripChannel)
        auth = Auth_V1_AuthServiceClient(channel: driverChannel)
    }

    func close() {
        driverChannel.close()
        tripChannel.close()
    }

    /// A new identifier. Made here, a resource's creation can be tried again without making two.
    func mint() -> String {
        let random = (loop.randomNumber(), loop.randomNumber())
        return identifiers.next(milliseconds: loop.wallClockMilliseconds, random: random).text
    }

    /// Calls a service for a REST request, within what is left of the request's time.
    ///
    /// A call that the service did not answer (UNAVAILABLE: a connection was lost, or is being made anew) is tried again,
    /// twice at most, if it has the same effect once or more often. While no connection can be
    /// made at all, nobody is kept waiting.
    ///
    /// - Parameter mayRepeat: false for a call that has another effect the second time.
    func call<Response>(
        _ backend: Backend, _ request: RequestScope, mayRepeat: Bool = true,
        _ attempt: @escaping (CallOptions, @escaping (Result<Response, RPCError>) -> Void) -> Void,
        _ completion: @escaping (Result<Response, Problem>) -> Void
    ) {
        let retries = mayRepeat ? 0 : Self.delays.count
        guard let audit = request.audit else { return tryCall(backend, request, retries, attempt, completion) }
        tryCall(backend, request, retries, attempt) { result in
            audit.settle(result)
            completion(result)
        }
    }

    /// Calls a service as `call` does, for a task of this loop.
    func ask<Response: Sendable>(
        _ backend: Backend, _ request: RequestScope, mayRepeat: Bool = true,
        _ attempt: @escaping (CallOptions, @escaping (Result<Response, RPCError>) -> Void) -> Void
    ) async throws(Problem) -> Response {
        let result = await withCheckedContinuation { continuation in
            call(backend, request, mayRepeat: mayRepeat, attempt) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// Nanoseconds before the second and the third attempt.
    private static let delays: [UInt64] = [20_000_000, 100_000_000]
    /// The same where a service is fetching the keys of the token's issuer, or has too many new tokens: it has done nothing yet, and
    /// is there.
    private static let busyDelays: [UInt64] = [50_000_000, 150_000_000, 400_000_000, 1_000_000_000]

    private func tryCall<Response>(
        _ backend: Backend, _ request: RequestScope, _ retries: Int,
        _ attempt: @escaping (CallOptions, @escaping (Result<Response, RPCError>) -> Void) -> Void,
        _ completion: @escaping (Result<Response, Problem>) -> Void, timesBusy: Int = 0
    ) {
        let deadline = request.startedAt + timeout
        guard loop.now < deadline else { return completion(.failure(.backendTimeout(backend))) }
        let options = CallOptions(timeoutNanoseconds: deadline - loop.now, metadata: request.metadata)
        attempt(options) { [self] result in
            switch result {
            case .success(let response):
                completion(.success(response))
            case .failure(let error):
                if error.problem?.code == "authentication-busy", timesBusy < Self.busyDelays.count,
                    loop.now + Self.busyDelays[timesBusy] < deadline
                {
                    loop.schedule(after: Self.busyDelays[timesBusy]) {
                        self.tryCall(backend, request, retries, attempt, completion, timesBusy: timesBusy + 1)
                    }
                    return
                }
                let channel = backend == .driver ? driverChannel : tripChannel
                let mayRetry = error.code == .unavailable && error.statusDetails.isEmpty && retries < Self.delays.count
                guard mayRetry, channel.state != .transientFailure, channel.state != .shutdown,
                    loop.now + Self.delays[retries] < deadline
                else { return completion(.failure(Problem(error, from: backend, asking: request))) }
                loop.schedule(after: Self.delays[retries]) {
                    self.tryCall(backend, request, retries + 1, attempt, completion)
                }
            }
        }
    }
}

/// What is kept of a REST request while the services work on it.
struct RequestScope {
    let responder: HTTPResponder
    /// Loop nanoseconds.
    private(set) var startedAt: UInt64
    /// What goes along to the services: `x-request-id`, the W3C trace context if there is one, and `authorization`.
    private(set) var metadata: Metadata
    /// Whether the services are asked in the caller's name; else in the gateway's own.
    private(set) var passesOn = false
    /// Hears what the service answers; nil: nobody keeps it.
    private(set) var audit: AuditEntry?

    /// The same, for one of several questions.
    var withoutAudit: RequestScope {
        var scope = self
        scope.audit = nil
        return scope
    }

    /// The same, but the services are asked in the gateway's own name: for what it does to find out who somebody is.
    var asGateway: RequestScope {
        var scope = self
        scope.metadata.remove(.authorization)
        scope.passesOn = false
        return scope
    }

    /// The same, but the time of a request begins now: for what comes behind a wait for others.
    func restarted(at now: UInt64) -> RequestScope {
        var scope = self
        scope.startedAt = now
        return scope
    }

    init(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) {
        self.responder = responder
        startedAt = request.startedAt
        audit = request[AuditEntry.self]
        var metadata = Metadata()
        metadata.add(RequestOrigin(requestID: request.requestID, trace: request.trace))
        if !request.trace.isNone, let state = request.head.joinedText("tracestate"), state.utf8.count <= 512 {
            metadata.add("tracestate", state)
        }
        if let token = request[CallerToken.self] {
            passesOn = metadata.add(.authorization, token.authorization)
        } else if let field = request.head.value("authorization") {
            passesOn = unsafe field.withUnsafeBufferPointer { unsafe metadata.add(.authorization, Array($0)) }
        }
        self.metadata = metadata
    }
}
