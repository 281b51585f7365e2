import ProtobufWire
import RideAPI
import RideDomain

// Between the values of the domain and the messages of driver.v1.

extension Driver_V1_WatchDriverResponse {
    init(_ driver: Driver) {
        self.init(
            driverID: driver.id, lat: driver.position.lat, lon: driver.position.lon, heading: driver.heading,
            speed: driver.speed, status: Driver_V1_DriverStatus(driver.status), activeTripID: driver.activeTripID,
            at: Google_Protobuf_Timestamp(unixMilliseconds: driver.measuredAt), revision: driver.revision)
    }
}

extension LocationPoint {
    /// Coordinates get the six decimals that the outside sees.
    init(_ message: Driver_V1_ReportLocationsRequest) {
        let position = Position(lat: message.lat, lon: message.lon)
        self.init(
            position: position.isValid ? position.rounded : position, heading: message.heading, speed: message.speed,
            accuracy: message.accuracy, at: message.at?.unixMilliseconds)
    }
}
