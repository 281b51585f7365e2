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
}
