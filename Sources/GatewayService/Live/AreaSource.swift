import GRPCRuntime
import RideAPI
import RideDomain

/// Where the feed asks who is available in many areas at once. All on the feed's loop.
protocol AreaSource {
    /// `completion` is called once, later.
    func listDrivers(
        in areas: [Box], _ completion: @escaping (Result<Driver_V1_ListDriversInAreasResponse, RPCError>) -> Void)
}

/// The driver service.
struct DriverServiceAreas: AreaSource {
    let client: Driver_V1_DriverServiceClient
    /// Nanoseconds.
    let timeout: UInt64

    func listDrivers(
        in areas: [Box], _ completion: @escaping (Result<Driver_V1_ListDriversInAreasResponse, RPCError>) -> Void
    ) {
        let request = Driver_V1_ListDriversInAreasRequest(areas: areas.map { Driver_V1_Box($0) })
        client.listDriversInAreas(request, options: CallOptions(timeoutNanoseconds: timeout), completion)
    }
}
