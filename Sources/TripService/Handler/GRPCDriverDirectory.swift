import GRPCRuntime
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// The driver service over gRPC.
final class GRPCDriverDirectory: DriverDirectory {
    private let client: Driver_V1_DriverServiceClient

    init(channel: GRPCChannel) { client = Driver_V1_DriverServiceClient(channel: channel) }

    func driver(
        _ id: String, from position: Position, timeout: UInt64, origin: RequestOrigin,
        _ completion: @escaping (Result<KnownDriver?, TripError>) -> Void
    ) {
        let request = Driver_V1_GetDriverRequest(driverID: id)
        client.getDriver(request, options: Self.options(timeout, origin)) { result in
            switch result {
            case .success(let response):
                let known = response.driver.map { driver in
                    Self.known(driver, at: position.distance(to: Position(lat: driver.lat, lon: driver.lon)))
                }
                completion(.success(known))
            case .failure(let error) where error.code == .notFound: completion(.success(nil))
            case .failure(let error): completion(.failure(Self.translate(error)))
            }
        }
    }

    func nearest(
        to position: Position, radius: Double?, limit: Int, category: String?, timeout: UInt64, origin: RequestOrigin,
        _ completion: @escaping (Result<[KnownDriver], TripError>) -> Void
    ) {
        let request = Driver_V1_FindAvailableDriversRequest(
            lat: position.lat, lon: position.lon, radiusM: radius, limit: UInt32(limit), category: category)
        client.findAvailableDrivers(request, options: Self.options(timeout, origin)) { result in
            completion(
                result.map { $0.drivers.map { Self.known($0, at: $0.distanceM ?? 0) } }.mapError(Self.translate))
        }
    }

    /// The driver service's log lines name the request that the question is asked for.
    private static func options(_ timeout: UInt64, _ origin: RequestOrigin) -> CallOptions {
        var options = CallOptions(timeoutNanoseconds: timeout)
        options.metadata.add(origin)
        return options
    }

    private static func translate(_ error: RPCError) -> TripError {
        switch error.code {
        case .deadlineExceeded: .deadlineExceeded("The driver service did not answer in time.")
        default: .unavailable("The driver service can't be asked now (\(error)); nothing is promised unseen.")
        }
    }

    private static func known(_ driver: Driver_V1_Driver, at distance: Double) -> KnownDriver {
        KnownDriver(
            snapshot: DriverProfile(id: driver.id, name: driver.name, vehicle: Vehicle(driver.vehicle)),
            isPresent: driver.present, distance: distance, message: driver)
    }
}
