import ProtobufWire
import Reactor

/// `grpc.health.v1.Health` of a server: Check and Watch. On the server's loop.
///
/// Anybody may watch, thousands of times and under any name: a watch begins and ends in constant time, names have a bound,
/// and a change is told to so many watchers in one turn of the loop and to the others in the next ones.
public final class HealthService {
    /// What the health service says of one service.
    public typealias Status = Grpc_Health_V1_HealthCheckResponse.ServingStatus
    typealias WatchCall = ServerStreamingServerCall<Grpc_Health_V1_HealthCheckResponse>

    static let name = "grpc.health.v1.Health"

    /// By service; the empty name is the server as a whole.
    private var statuses: [String: Status] = [:]
    private let watchers: HealthWatchers
    private var isShutDown = false

    init(loop: EventLoop, services: [String]) {
        watchers = HealthWatchers(loop: loop)
        statuses[""] = .serving
        for service in services { statuses[service] = .serving }
    }

    /// What a service says of itself; nil for one that is not known here.
    public func status(of service: String = "") -> Status? { statuses[service] }

    /// Watches that have not ended.
    package var watcherCount: Int { watchers.count }

    /// Changes what a service says, and tells those who watch it. A watcher that has not been told yet when the status
    /// changes again hears of the last one. After the server began to drain nothing changes any more.
    public func set(_ status: Status, for service: String = "") {
        guard !isShutDown, statuses[service] != status else { return }
        statuses[service] = status
        watchers.tell(status, of: service)
    }

    /// Everything is NOT_SERVING from now on; watches end, so that a drain can.
    func shutDown() {
        guard !isShutDown else { return }
        for service in statuses.keys { statuses[service] = .notServing }
        isShutDown = true
        watchers.endAll(status: { [self] in statuses[$0] ?? .serviceUnknown }, Self.shuttingDown)
    }

    private static let shuttingDown = RPCError(code: .unavailable, message: "the server is shutting down")

    func register(in registry: ServiceRegistry) {
        guard !registry.serviceNames.contains(Self.name) else { return }
        statuses[Self.name] = .serving
        registry.addDescriptor(ProtobufFile.grpc_health_v1_health.descriptor)
        registry.unary(service: Self.name, method: "Check") {
            [self] (request: Grpc_Health_V1_HealthCheckRequest, call) in check(request, call)
        }
        registry.serverStreaming(service: Self.name, method: "Watch") {
            [self] (request: Grpc_Health_V1_HealthCheckRequest, call) in watch(request, call)
        }
    }

    private func check(
        _ request: Grpc_Health_V1_HealthCheckRequest, _ call: UnaryServerCall<Grpc_Health_V1_HealthCheckResponse>
    ) {
        guard let status = statuses[request.service] else {
            return call.fail(RPCError(code: .notFound, message: "unknown service \(request.service.clipped)"))
        }
        call.respond(Self.response(status))
    }

    /// A service that is not known may be known later: SERVICE_UNKNOWN is a status like the others.
    private func watch(_ request: Grpc_Health_V1_HealthCheckRequest, _ call: WatchCall) {
        guard request.service.utf8.count <= GRPCLimits.maximumServiceName else {
            return call.fail(
                RPCError(
                    code: .invalidArgument,
                    message: "the name of a service has at most \(GRPCLimits.maximumServiceName) bytes"))
        }
        let status = statuses[request.service] ?? .serviceUnknown
        call.send(Self.response(status))
        guard !isShutDown else { return call.fail(Self.shuttingDown) }
        watchers.add(call, request.service, told: status)
    }

    static func response(_ status: Status) -> Grpc_Health_V1_HealthCheckResponse {
        var response = Grpc_Health_V1_HealthCheckResponse()
        response.status = status
        return response
    }
}
