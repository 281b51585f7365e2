import Basics
import GRPCRuntime
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// One simulated driver's app: the streams and calls around a `SimulatedDriver`. On the loop.
///
///     start ─▶ registered, in the simulator's own name ─▶ signed in ─▶ watching ─▶ on the road
///                                                             ▲           │ the token is refused
///                                                             └───────────┘
///
/// Whom an operator suspends stands still until they are restored, and then goes on duty again; whom one deletes does not come back.
final class SimulatedApp {
    /// Nanoseconds after which a failed registration or a lost watch is tried again: doubled from the first up to the last.
    private static let retry: (first: UInt64, last: UInt64) = (1_000_000_000, 5_000_000_000)
    /// Nanoseconds between two looks whether a suspended driver has been restored. Reason: nobody waits for a second.
    private static let suspendedDelay: UInt64 = 15_000_000_000
    private static let callTimeout: UInt64 = 5_000_000_000

    private let loop: EventLoop
    private let number: Int
    private let profile: DriverProfile
    private let registry: Driver_V1_DriverServiceClient
    private let drivers: Driver_V1_DriverServiceClient
    private let trips: Trip_V1_TripServiceClient
    private let planner: SharedPlanner
    /// nil: nobody is asked who they are.
    private let session: DriverSession?

    /// Hears why the driver is not on the road; it is tried again.
    var onTrouble: (String) -> Void = { _ in }

    private var driver: SimulatedDriver?
    private let positions: LocationSender
    private var watch: ServerStreamingCall?
    /// Of `watch`: what an earlier one says is not heard.
    private var watchNumber = 0
    private var backoff: RetryBackoff
    private var watchTimer: TimerID?
    /// Neither suspended nor signed out. While the driver service is only away, the car goes on.
    private var isOnDuty = false
    /// An operator has suspended the driver, who has not gone on duty since.
    private var wasSuspended = false
    /// Called when the driver is on the road, or never will be.
    private var started: (() -> Void)?
    /// A trip that is known to have ended here, though the driver service may not have heard of it yet.
    private var endedTripID: String?
    private var isCalling = false
    private var isStopped = false

    /// - Parameters:
    ///   - registry: registers drivers in the simulator's own name.
    ///   - service: takes positions and is watched in the driver's.
    ///   - desk: where the driver signs in; nil: nobody is asked who they are.
    init(
        loop: EventLoop, number: Int, registry: Driver_V1_DriverServiceClient, service: LocationService,
        trips: Trip_V1_TripServiceClient, desk: SignInDesk?, planner: SharedPlanner
    ) {
        self.loop = loop
        self.number = number
        self.registry = registry
        drivers = service.client
        self.trips = trips
        self.planner = planner
        profile = SimulatedProfiles.profile(number)
        positions = LocationSender(driver: profile.id, service: service)
        session = desk.map { [profile] in DriverSession(loop: loop, driver: profile.id, desk: $0) }
        backoff = RetryBackoff(first: Self.retry.first, last: Self.retry.last, seed: loop.randomNumber())
    }

    /// Of calls in the driver's name.
    private var options: CallOptions {
        CallOptions(timeoutNanoseconds: Self.callTimeout, metadata: session?.metadata ?? Metadata())
    }

    /// Registers (which changes nothing for a driver that is there), signs in, then drives from where the service has them.
    func start(_ started: @escaping () -> Void) {
        self.started = started
        register()
    }

    private func register() {
        var random = SplitMix(seed: UInt64(number) &* 7_919)
        let graph = planner.value.graph
        let home = graph.position(of: graph.randomPoint(using: &random)).rounded
        let request = Driver_V1_RegisterDriverRequest(
            id: profile.id, name: profile.name, vehicle: Driver_V1_Vehicle(profile.vehicle), lat: home.lat,
            lon: home.lon)
        registry.registerDriver(request, options: CallOptions(timeoutNanoseconds: Self.callTimeout)) { [weak self] in
            guard let self, !isStopped else { return }
            switch $0 {
            case .success: signIn()
            // Registered by another version of the simulator, which gave them another car.
            case .failure(let error) where error.code == .alreadyExists: signIn()
            case .failure(let error):
                onTrouble("not registered: \(error.code): \(error.message)")
                loop.schedule(after: backoff.failed(at: loop.now)) { [weak self] in self?.register() }
            }
        }
    }

    private func signIn() {
        if isStopped { return }
        guard let session else { return beginWatching() }
        session.onTokens = { [weak self] in self?.signedIn() }
        session.onGone = { [weak self] in self?.leave() }
        session.begin()
    }

    /// The streams go on with the new token before the old one ends them.
    private func signedIn() {
        if isStopped { return }
        positions.use(CallOptions(metadata: session?.metadata ?? Metadata()))
        beginWatching()
    }

    /// There is no such driver any more, and whoever has deleted them does not want them back.
    private func leave() {
        if isStopped { return }
        Logger(label: "simulator").notice(
            "a simulated driver was deleted; it goes off the road", metadata: ["driver": profile.id])
        stop()
        tellStarted()
    }

    private func tellStarted() {
        let started = started
        self.started = nil
        started?()
    }

    func stop() {
        isStopped = true
        isOnDuty = false
        session?.end()
        positions.end()
        endWatching()
    }

    // MARK: Positions

    /// Drives for a second and tells the driver service where the car is.
    func step() {
        guard isOnDuty, var driver else { return }
        let step = driver.step(seconds: 1, planner: &planner.value)
        self.driver = driver
        positions.send(
            Driver_V1_ReportLocationsRequest(
                lat: step.position.lat, lon: step.position.lon, heading: step.heading, speed: step.speed, accuracy: 5))
        if let action = step.action { perform(action) }
    }

    // MARK: The trip

    private func beginWatching() {
        endWatching()
        let number = watchNumber
        watch = drivers.watchDriver(
            Driver_V1_WatchDriverRequest(driverID: profile.id),
            options: CallOptions(metadata: session?.metadata ?? Metadata()),
            onMessage: { [weak self] in
                guard let self, number == watchNumber else { return }
                learn($0)
            },
            onEnd: { [weak self] in
                guard let self, number == watchNumber else { return }
                watchEnded($0)
            })
    }

    private func endWatching() {
        watchNumber += 1
        if let watchTimer { loop.cancel(watchTimer) }
        watchTimer = nil
        watch?.cancel()
        watch = nil
    }

    private func watchEnded(_ error: RPCError?) {
        watch = nil
        var wait = backoff.failed(at: loop.now)
        switch error?.code {
        case .unauthenticated where session != nil:
            isOnDuty = false
            // The next token begins another watch.
            session?.refused()
            return
        case .notFound: return leave()
        case .failedPrecondition:
            isOnDuty = false
            wasSuspended = true
            wait = Self.suspendedDelay
        default: break
        }
        watchTimer = loop.schedule(after: wait) { [weak self] in self?.beginWatching() }
    }

    /// The first time, the driver is put where the service has them.
    private func learn(_ state: Driver_V1_WatchDriverResponse) {
        isOnDuty = true
        backoff.succeeded()
        session?.accepted()
        if driver == nil {
            driver = SimulatedDriver(
                seed: UInt64(number), position: Position(lat: state.lat, lon: state.lon), graph: planner.value.graph)
            tellStarted()
        }
        if wasSuspended { goOnDuty() }
        learn(state.activeTripID)
    }

    /// Being restored is no more than being allowed to.
    private func goOnDuty() {
        wasSuspended = false
        let request = Driver_V1_UpdateDriverStatusRequest(driverID: profile.id, status: .available)
        drivers.updateDriverStatus(request, options: options) { [weak self] in
            // The next position brings the next try.
            if case .failure = $0 { self?.wasSuspended = true }
        }
    }

    /// The driver service says which trip the driver has.
    private func learn(_ tripID: String?) {
        guard let tripID, !tripID.isEmpty else {
            endedTripID = nil
            // While a call is under way its answer knows better.
            if !isCalling { driver?.unassign() }
            return
        }
        guard tripID != driver?.assignment?.tripID, tripID != endedTripID, !isCalling else { return }
        isCalling = true
        trips.getTrip(Trip_V1_GetTripRequest(tripID: tripID), options: options) { [weak self] in
            self?.answered(tripID, $0.map(\.trip))
        }
    }

    private func perform(_ action: SimulatedDriver.Action) {
        guard !isCalling else { return }
        isCalling = true
        switch action {
        case .pickUp(let tripID):
            trips.pickUpTrip(Trip_V1_PickUpTripRequest(tripID: tripID), options: options) { [weak self] in
                self?.answered(tripID, $0.map(\.trip))
            }
        case .complete(let tripID):
            trips.completeTrip(Trip_V1_CompleteTripRequest(tripID: tripID), options: options) { [weak self] in
                self?.answered(tripID, $0.map(\.trip))
            }
        }
    }

    /// The trip service says how the trip stands.
    private func answered(_ tripID: String, _ result: Result<Trip_V1_Trip?, RPCError>) {
        isCalling = false
        guard !isStopped else { return }
        switch result {
        case .success(let trip?):
            guard trip.status == .inProgress, let pickup = trip.pickup, let dropoff = trip.dropoff else {
                return end(tripID)
            }
            driver?.assign(
                SimulatedDriver.Assignment(
                    tripID: trip.id, pickup: Position(pickup), dropoff: Position(dropoff),
                    isPickedUp: trip.pickedUpAt != nil), planner: &planner.value)
        case .success(nil): break
        case .failure(let error) where error.code == .notFound || error.code == .failedPrecondition:
            // Cancelled meanwhile, or unknown: there is nothing to drive for.
            end(tripID)
        case .failure: break  // asked again with the next step or message
        }
    }

    private func end(_ tripID: String) {
        endedTripID = tripID
        if driver?.assignment?.tripID == tripID || driver?.assignment == nil { driver?.unassign() }
    }
}
