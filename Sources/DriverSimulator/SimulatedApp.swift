import Basics
import GRPCRuntime
import Reactor
import RideAPI
import RideDomain

/// One simulated driver's app: the streams and calls around a `SimulatedDriver`. On the loop.
final class SimulatedApp {
    /// Nanoseconds after which a lost stream or a failed registration is tried again.
    private static let retryDelay: UInt64 = 1_000_000_000
    private static let callTimeout: UInt64 = 5_000_000_000

    private let loop: EventLoop
    private let number: Int
    private let profile: DriverProfile
    private let drivers: Driver_V1_DriverServiceClient
    private let trips: Trip_V1_TripServiceClient
    private let planner: SharedPlanner

    private var driver: SimulatedDriver?
    private let positions: LocationSender
    private var watch: ServerStreamingCall?
    /// A trip that is known to have ended here, though the driver service may not have heard of it yet.
    private var endedTripID: String?
    private var isCalling = false
    private var isStopped = false

    init(
        loop: EventLoop, number: Int, service: LocationService, trips: Trip_V1_TripServiceClient, planner: SharedPlanner
    ) {
        self.loop = loop
        self.number = number
        drivers = service.client
        self.trips = trips
        self.planner = planner
        profile = SimulatedProfiles.profile(number)
        positions = LocationSender(driver: profile.id, service: service)
    }

    private var options: CallOptions { CallOptions(timeoutNanoseconds: Self.callTimeout) }

    /// Registers (which changes nothing for a driver that is there), then drives from where the service has them.
    func start(_ started: @escaping () -> Void) {
        var random = SplitMix(seed: UInt64(number) &* 7_919)
        let graph = planner.value.graph
        let home = graph.position(of: graph.randomPoint(using: &random)).rounded
        let request = Driver_V1_RegisterDriverRequest(
            id: profile.id, name: profile.name, vehicle: Driver_V1_Vehicle(profile.vehicle), lat: home.lat,
            lon: home.lon)
        drivers.registerDriver(request, options: options) { [weak self] result in
            guard let self, !isStopped else { return }
            switch result {
            case .success(let response): begin(response.driver, started)
            // Registered by another version of the simulator, which gave them another car.
            case .failure(let error) where error.code == .alreadyExists:
                drivers.getDriver(Driver_V1_GetDriverRequest(driverID: profile.id), options: options) { [weak self] in
                    self?.begin(try? $0.get().driver, started)
                }
            case .failure: begin(nil, started)
            }
        }
    }

    /// Goes on from where the service has the driver; without an answer it asks again.
    private func begin(_ known: Driver_V1_Driver?, _ started: @escaping () -> Void) {
        if isStopped { return }
        guard let known else {
            loop.schedule(after: Self.retryDelay) { [weak self] in self?.start(started) }
            return
        }
        driver = SimulatedDriver(
            seed: UInt64(number), position: Position(lat: known.lat, lon: known.lon), graph: planner.value.graph)
        beginWatching()
        started()
    }

    func stop() {
        isStopped = true
        positions.end()
        watch?.cancel()
        watch = nil
    }

    // MARK: Positions

    /// Drives for a second and tells the driver service where the car is.
    func step() {
        guard !isStopped, var driver else { return }
        let step = driver.step(seconds: 1, planner: &planner.value)
        self.driver = driver
        positions.send(
            Driver_V1_ReportLocationsRequest(
                lat: step.position.lat, lon: step.position.lon, heading: step.heading, speed: step.speed, accuracy: 5))
        if let action = step.action { perform(action) }
    }

    // MARK: The trip

    private func beginWatching() {
        guard !isStopped else { return }
        watch = drivers.watchDriver(
            Driver_V1_WatchDriverRequest(driverID: profile.id),
            onMessage: { [weak self] in self?.learn($0.activeTripID) },
            onEnd: { [weak self] _ in
                guard let self, !isStopped else { return }
                loop.schedule(after: Self.retryDelay) { [weak self] in self?.beginWatching() }
            })
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
