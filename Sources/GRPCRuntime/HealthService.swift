import ProtobufWire

/// `grpc.health.v1.Health` of a server: Check and Watch. On the server's loop.
public final class HealthService {
    public typealias Status = Grpc_Health_V1_HealthCheckResponse.ServingStatus
    private typealias WatchCall = ServerStreamingServerCall<Grpc_Health_V1_HealthCheckResponse>

    static let name = "grpc.health.v1.Health"

    /// By service; the empty name is the server as a whole.
    private var statuses: [String: Status] = [:]
    private var watchers: [(service: String, call: WatchCall)] = []
    private var isShutDown = false

    init(services: [String]) {
        statuses[""] = .serving
        for service in services { statuses[service] = .serving }
    }

    /// What a service says of itself; nil for one that is not known here.
    public func status(of service: String = "") -> Status? { statuses[service] }

    /// Changes what a service says, and tells those who watch it. After the server began to drain nothing changes any more.
    public func set(_ status: Status, for service: String = "") {
        guard !isShutDown, statuses[service] != status else { return }
        statuses[service] = status
        for watcher in watchers where watcher.service == service { watcher.call.send(Self.response(status)) }
    }

    /// Everything is NOT_SERVING from now on; watches end, so that a drain can.
    func shutDown() {
        guard !isShutDown else { return }
        for service in statuses.keys { set(.notServing, for: service) }
        isShutDown = true
        let calls = watchers.map(\.call)
        watchers = []
        for call in calls { call.fail(RPCError(code: .unavailable, message: "the server is shutting down")) }
    }

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
            return call.fail(RPCError(code: .notFound, message: "unknown service \(request.service)"))
        }
        call.respond(Self.response(status))
    }

    /// A service that is not known may be known later: SERVICE_UNKNOWN is a status like the others.
    private func watch(_ request: Grpc_Health_V1_HealthCheckRequest, _ call: WatchCall) {
        call.send(Self.response(statuses[request.service] ?? .serviceUnknown))
        guard !isShutDown else {
            return call.fail(RPCError(code: .unavailable, message: "the server is shutting down"))
        }
        watchers.append((request.service, call))
        call.onCancel = { [unowned self, unowned call] in watchers.removeAll { $0.call === call } }
    }

    private static func response(_ status: Status) -> Grpc_Health_V1_HealthCheckResponse {
        var response = Grpc_Health_V1_HealthCheckResponse()
        response.status = status
        return response
    }
}
