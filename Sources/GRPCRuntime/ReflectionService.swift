enum ReflectionService {
    static func register(in registry: ServiceRegistry) {}
}
