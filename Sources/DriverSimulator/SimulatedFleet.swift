import GRPCRuntime
import HTTPClient
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// Simulated drivers on real streets, each as a driver's app would be: registered over gRPC, signed in at the gateway, one position a
/// second on a stream of its own (`LocationSender`), its trips learned from `WatchDriver`, fetched from the trip service, picked up and
/// completed there, all by its own token. Nothing is asked or told in any other way. On the loop.
final class SimulatedFleet {
    /// Drivers that share a connection. Reason: each has two streams, and the server takes 4,096 on a connection.
    static let driversPerConnection = 1_000
    /// Drivers at once on their way to the road. Reason: those that are registered and don't drive yet are shown as free.
    private static let startsAtOnce = 16
    /// Parts of a second in which a part of the drivers sends: not all at the same instant.
    private static let parts = 10

    /// Called with a service and why it can't be reached; nil: it can.
    var onState: (_ service: String, _ failure: String?) -> Void = { _, _ in }

    private let loop: EventLoop
    private var apps: [SimulatedApp] = []
    private var channels: [GRPCChannel] = []
    private let registry: GRPCChannel
    private let trips: GRPCChannel
    /// nil: nobody is asked who they are.
    private let desk: SignInDesk?
    private let planner: SharedPlanner
    private var nextToStart = 0
    private var part = 0
    private var timer: TimerID?
    private var logs = LogRateLimit(count: 1, window: 30_000_000_000)

    /// - Parameters:
    ///   - count: how many; the numbers begin with 1.
    ///   - driverService: its `host:port`.
    ///   - tripService: its `host:port`.
    ///   - options: of the channels to the driver service and to the trip service on which drivers call, and of that on which the
    ///     simulator calls the driver service in its own name.
    ///   - gateway: where drivers sign in; nil: nobody is asked who they are.
    ///   - client: asks it; of the same loop. It is closed with this.
    init(
        loop: EventLoop, count: Int, graph: RoadGraph, driverService: String, tripService: String,
        options: (drivers: ChannelOptions, trips: ChannelOptions, registry: ChannelOptions),
        gateway: HTTPOrigin? = nil, client: HTTPClient? = nil
    ) {
        self.loop = loop
        trips = GRPCChannel(loop: loop, target: tripService, options: options.trips)
        let registry = GRPCChannel(loop: loop, target: driverService, options: options.registry)
        self.registry = registry
        desk = gateway.map {
            SignInDesk(
                loop: loop, gateway: $0, client: client ?? HTTPClient(loop: loop),
                auth: Auth_V1_AuthServiceClient(channel: registry))
        }
        planner = SharedPlanner(RoutePlanner(graph: graph))
        var services: [LocationService] = []
        for number in 1...max(1, count) where number <= count {
            if (number - 1) % Self.driversPerConnection == 0 {
                let channel = GRPCChannel(loop: loop, target: driverService, options: options.drivers)
                channels.append(channel)
                services.append(LocationService(client: Driver_V1_DriverServiceClient(channel: channel)))
            }
            apps.append(
                SimulatedApp(
                    loop: loop, number: number, registry: Driver_V1_DriverServiceClient(channel: registry),
                    service: services[services.count - 1], trips: Trip_V1_TripServiceClient(channel: trips),
                    desk: desk, planner: planner))
        }
        tell(of: trips, as: "trip_service", "The trip service can't be reached.")
        for drivers in [registry] + channels.prefix(1) {
            tell(of: drivers, as: "driver_service", "The driver service can't be reached.")
        }
        desk?.onState = { [weak self] in self?.onState("gateway", $0) }
    }

    private func tell(of channel: GRPCChannel, as service: String, _ failure: String) {
        channel.onStateChange = { [weak self] state in
            switch state {
            case .ready: self?.onState(service, nil)
            case .transientFailure: self?.onState(service, failure)
            case .idle, .connecting, .shutdown: break
            }
        }
    }

    func start() {
        trips.connect()
        for _ in 0..<Self.startsAtOnce { startNext() }
        timer = loop.schedule(every: 1_000_000_000 / UInt64(Self.parts)) { [weak self] in self?.tick() }
    }

    func stop() {
        if let timer { loop.cancel(timer) }
        timer = nil
        for app in apps { app.stop() }
        desk?.close()
        for channel in channels + [trips, registry] { channel.close() }
        channels = []
        apps = []
    }

    private func startNext() {
        guard nextToStart < apps.count else { return }
        let app = apps[nextToStart]
        nextToStart += 1
        app.onTrouble = { [weak self] in self?.warn($0) }
        app.start { [weak self] in self?.startNext() }
    }

    private func warn(_ why: String) {
        guard let held = logs.admit(now: loop.now) else { return }
        Logger(label: "simulator").warning(
            "simulated drivers are not on the road yet; it is tried again",
            metadata: ["why": why, "held_back": "\(held)"])
    }

    private func tick() {
        var index = part
        while index < apps.count {
            apps[index].step()
            index += Self.parts
        }
        part = (part + 1) % Self.parts
    }
}

/// The planner's tables, used by one driver after the other.
final class SharedPlanner {
    var value: RoutePlanner
    init(_ value: RoutePlanner) { self.value = value }
}
