import Access
import GRPCRuntime
import Operations
import Reactor
import Settings
import Telemetry

/// Simulated drivers on a loop with a thread of its own. To the gateway and the services they are what the apps of drivers are.
///
///     let server = try SimulatorServer(settings: settings)
///     try server.start()
///
/// Thread-safe from `start` on.
public final class SimulatorServer: ServerProcess {
    private let group: EventLoopGroup
    private let fleet: LoopBound<SimulatedFleet>
    private let admin: LoopBound<AdminPort>?
    private let readiness: ServiceReadiness
    private let identity: ServiceIdentity
    /// nil: nobody is asked who they are.
    private let gateway: SimulatorGateway?

    /// Where health and metrics are served, if a port is configured for it.
    public let adminAddress: SocketAddress?

    /// Reads the streets. Nobody drives until `start`.
    ///
    /// - Parameters:
    ///   - driverService: where it listens, if that is not what the settings say: a service that brings its drivers along.
    ///   - gateway: where the program's own gateway listens, if it has one: drivers sign in there unless the settings name another.
    /// - Throws: what is wrong with the streets, with the port for operators, or with how drivers are to sign in.
    public init(
        settings: ProgramSettings, driverService: SocketAddress? = nil, gateway: SocketAddress? = nil
    ) throws {
        group = try EventLoopGroup(count: 1)
        let loop = group.loops[0]
        let identity = try ServiceIdentity(.simulator, settings: settings)
        self.identity = identity
        let desk = try SimulatorGateway.of(settings, own: gateway)
        self.gateway = desk
        let readiness = ServiceReadiness(
            loops: [loop], dependencies: ["driver_service", "trip_service"] + (desk == nil ? [] : ["gateway"]),
            now: loop.preciseNow())
        self.readiness = readiness
        let graph = try RoadGraph(path: settings.publicDir + "/map/neubrandenburg-roads.json")
        let target = driverService?.reachableHere.description ?? settings.driverService.description
        var registry = identity.channelOptions(on: loop)
        let trips = desk == nil ? registry : identity.strangerChannelOptions
        var drivers = trips
        // A service that brings its drivers along is on this machine, whatever its address.
        if driverService != nil {
            registry.authority = "localhost"
            drivers.authority = "localhost"
        }
        let fleet = SimulatedFleet(
            loop: loop, count: settings.simulatedDrivers, graph: graph, driverService: target,
            tripService: settings.tripService.description, options: (drivers, trips, registry), gateway: desk?.origin,
            client: desk?.client(on: loop))
        fleet.onState = { service, failure in
            readiness.set(service, failure.map { .failing($0) } ?? .ok)
        }
        self.fleet = LoopBound(fleet, loop: loop)
        // The port for operators belongs to the program; a service that brings its drivers along has one already.
        let isAlone = driverService == nil
        let admin = isAlone ? try AdminPort(loop: loop, settings: settings, readiness: readiness) : nil
        adminAddress = admin?.address
        self.admin = admin.map { LoopBound($0, loop: loop) }
        if isAlone {
            MetricRegistry.shared.addLoops([loop], role: "simulator")
            readiness.install(role: "simulator")
        }
        Logger(label: "simulator").notice(
            "driving",
            metadata: [
                "drivers": "\(settings.simulatedDrivers)", "driver_service": target,
                "trip_service": "\(settings.tripService)", "gateway": desk.map { "\($0.origin)" } ?? "not asked",
                "admin": admin.map { "\($0.address)" } ?? "off",
            ])
    }

    /// Starts the loop's thread, and the drivers.
    /// - Throws: `SystemError` if there is none to be had.
    public func start() throws(SystemError) {
        try group.start { _ in }
        let fleet = fleet
        fleet.loop.submit { fleet.value.start() }
    }

    /// Certificates, and the services' secret.
    public func reload() {
        identity.reload()
        gateway?.reload()
    }

    public var files: [String] { identity.files }

    /// Everybody goes off the road; no trip is told anything.
    public func drain(_ completion: @escaping @Sendable () -> Void) {
        readiness.drain()
        let group = group
        let fleet = fleet
        fleet.loop.submit {
            fleet.value.stop()
            group.stop()
            completion()
        }
    }
}
