import GRPCRuntime
import RideAPI
import RideDomain

/// The trip service over gRPC.
final class GRPCTripDirectory: TripDirectory {
    private let client: Trip_V1_TripServiceClient

    init(channel: GRPCChannel) { client = Trip_V1_TripServiceClient(channel: channel) }

    func inProgress(page: String?) async throws(DriverError) -> TripListPage {
        do throws(RPCError) {
            let response = try await client.listTrips(
                Trip_V1_ListTripsRequest(status: .inProgress, pageSize: 100, pageToken: page),
                options: CallOptions(timeoutNanoseconds: DriverLimits.reconcileTimeout))
            let epoch = response.epoch ?? 0
            return TripListPage(
                trips: response.trips.map {
                    TripFact(driverID: $0.driverID, tripID: $0.id, seq: $0.seq, isActive: true, epoch: epoch)
                },
                asOf: response.seq, epoch: epoch, next: response.nextPageToken.flatMap { $0.isEmpty ? nil : $0 })
        } catch {
            throw .unavailable("The trip service can't be asked: \(error.message)")
        }
    }

    func trip(ofDriver id: String, deadline: UInt64) async throws(DriverError) -> String? {
        let now = client.channel.loop.now
        guard deadline > now else { throw .deadlineExceeded("The deadline passed.") }
        do throws(RPCError) {
            return try await client.listTrips(
                Trip_V1_ListTripsRequest(driverID: id, status: .inProgress, pageSize: 1, settled: true),
                options: CallOptions(timeoutNanoseconds: deadline - now)
            ).trips.first?.id
        } catch {
            switch error.code {
            case .cancelled: throw .cancelled
            case .deadlineExceeded: throw .deadlineExceeded("The trip service did not answer in time.")
            default: throw .unavailable("The trip service can't be asked whether the driver is on a trip; try again.")
            }
        }
    }
}
