import ProtobufWire
import RideAPI
import RideDomain

// Between the values of the domain and the messages of driver.v1.

extension Driver_V1_DriverStatus {
    init(_ status: DriverStatus) {
        switch status {
        case .available: self = .available
        case .unavailable: self = .unavailable
        case .offline: self = .offline
        }
    }
}

extension DriverStatus {
    /// Nil for a status that the domain does not know.
    init?(_ message: Driver_V1_DriverStatus) {
        switch message {
        case .available: self = .available
        case .unavailable: self = .unavailable
        case .offline: self = .offline
        case .unspecified, .UNRECOGNIZED: return nil
        }
    }
}

extension Driver_V1_Driver {
    init(_ driver: Driver) {
        self.init(stateOf: driver)
        id = driver.id
        name = driver.profile.name
        vehicle = Driver_V1_Vehicle(driver.profile.vehicle)
    }

    /// What never changes, and nothing else.
    init(_ profile: DriverProfile) {
        self.init(id: profile.id, name: profile.name, vehicle: Driver_V1_Vehicle(profile.vehicle))
    }

    /// What changes, and nothing else. `distance` in metres, from the position that was asked for; a tenth of a metre is all
    /// that it is good for.
    init(stateOf driver: Driver, distance: Double? = nil) {
        self.init(
            lat: driver.position.lat, lon: driver.position.lon, heading: driver.heading, speed: driver.speed,
            status: Driver_V1_DriverStatus(driver.status), distanceM: distance.map { ($0 * 10).rounded() / 10 },
            updatedAt: Google_Protobuf_Timestamp(unixMilliseconds: driver.updatedAt),
            activeTripID: driver.activeTripID, present: driver.presence == .present)
    }
}

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
