import GRPCRuntime
import RideAPI
import RideDomain
import Telemetry

/// The driver service over gRPC.
final class GRPCDriverDirectory: DriverDirectory {
    private let client: Driver_V1_DriverServiceClient

    init(channel: GRPCChannel) { client = Driver_V1_DriverServiceClient(channel: channel) }

    func driver(
        _ id: String, from position: Position, timeout: UInt64, origin: RequestOrigin
    ) async throws(TripError) -> KnownDriver? {
        do throws(RPCError) {
            let response = try await client.getDriver(
                Driver_V1_GetDriverRequest(driverID: id), options: Self.options(timeout, origin))
            return response.driver.map(Driver.init).map {
                KnownDriver(driver: $0, distance: position.distance(to: $0.position))
            }
        } catch {
            if error.code == .notFound { return nil }
            throw TripError(error)
        }
    }

    func nearest(
        to position: Position, radius: Double?, limit: Int, category: String?, timeout: UInt64, origin: RequestOrigin
    ) async throws(TripError) -> [KnownDriver] {
        let request = Driver_V1_FindAvailableDriversRequest(
            lat: position.lat, lon: position.lon, radiusM: radius, limit: UInt32(limit), category: category)
        do throws(RPCError) {
            let response = try await client.findAvailableDrivers(request, options: Self.options(timeout, origin))
            return response.drivers.map { KnownDriver(driver: Driver($0), distance: $0.distanceM ?? 0) }
        } catch {
            throw TripError(error)
        }
    }

    /// The driver service's log lines name the request that the question is asked for.
    private static func options(_ timeout: UInt64, _ origin: RequestOrigin) -> CallOptions {
        var options = CallOptions(timeoutNanoseconds: timeout)
        options.metadata.add(origin)
        return options
    }
}

extension TripError {
    /// What a failure of the driver service means for a booking.
    fileprivate init(_ error: RPCError) {
        switch error.code {
        case .cancelled: self = .cancelled
        case .deadlineExceeded: self = .deadlineExceeded("The driver service did not answer in time.")
        default: self = .unavailable("The driver service can't be asked now (\(error)); nothing is promised unseen.")
        }
    }
}
