/// `grpc.health.v1.Health` of a server.
public final class HealthService {
    init(services: [String]) {}
    func register(in registry: ServiceRegistry) {}
    func shutDown() {}
}
