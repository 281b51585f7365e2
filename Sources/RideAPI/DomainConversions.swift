import ProtobufWire
import RideDomain

// Between the messages and the values of the domain.

extension Driver_V1_Vehicle {
    public init(_ vehicle: Vehicle) {
        self.init(
            make: vehicle.make, model: vehicle.model, color: vehicle.color, plate: vehicle.plate,
            category: vehicle.category)
    }
}

extension Vehicle {
    /// What is missing is empty.
    public init(_ message: Driver_V1_Vehicle?) {
        self.init(
            make: message?.make ?? "", model: message?.model ?? "", color: message?.color ?? "",
            plate: message?.plate ?? "", category: message?.category ?? "")
    }
}

extension Driver_V1_DriverStatus {
    public init(_ status: DriverStatus) {
        switch status {
        case .available: self = .available
        case .unavailable: self = .unavailable
        case .offline: self = .offline
        }
    }
}

extension DriverStatus {
    /// Nil for a status that the domain does not know.
    public init?(_ message: Driver_V1_DriverStatus) {
        switch message {
        case .available: self = .available
        case .unavailable: self = .unavailable
        case .offline: self = .offline
        case .unspecified, .UNRECOGNIZED: return nil
        }
    }
}

extension Driver_V1_Driver {
    /// - Parameters:
    ///   - distance: metres, from the position that was asked for.
    ///   - view: how much of it its reader may see.
    public init(_ driver: Driver, distance: Double? = nil, seenAs view: DriverView) {
        self.init(stateOf: driver, distance: distance, seenAs: view)
        let profile = driver.profile.seen(as: view)
        id = profile.id
        name = profile.name
        vehicle = Driver_V1_Vehicle(profile.vehicle)
        // Why somebody is suspended is no stranger's business.
        guard view == .whole, let why = driver.suspension else { return }
        suspension = Driver_V1_Suspension(
            reason: why.reason, at: Google_Protobuf_Timestamp(unixMilliseconds: why.at))
    }

    /// What operators alone change, and nothing else.
    public init(_ profile: DriverProfile) {
        self.init(id: profile.id, name: profile.name, vehicle: Driver_V1_Vehicle(profile.vehicle))
    }

    /// What changes by itself, and nothing else. `distance` in metres, from the position that was asked for; a tenth of a metre is all
    /// that it is good for.
    public init(stateOf driver: Driver, distance: Double? = nil, seenAs view: DriverView) {
        guard view.hasPosition(of: driver) else {
            self.init(status: Driver_V1_DriverStatus(driver.status))
            return
        }
        self.init(
            lat: driver.position.lat, lon: driver.position.lon, heading: driver.heading, speed: driver.speed,
            status: Driver_V1_DriverStatus(driver.status), distanceM: distance.map { ($0 * 10).rounded() / 10 },
            updatedAt: Google_Protobuf_Timestamp(unixMilliseconds: driver.updatedAt),
            activeTripID: view == .whole ? driver.activeTripID : nil, present: driver.isOnDuty)
    }

    /// Whether it says where the driver is: a stranger is not told of one who can't be booked.
    public var hasPosition: Bool { updatedAt != nil || status != .unavailable && status != .offline }
}

extension Driver {
    /// A driver as they were said to be: what a message does not carry is unknown.
    public init(_ message: Driver_V1_Driver) {
        let updatedAt = message.updatedAt?.unixMilliseconds ?? 0
        self.init(
            profile: DriverProfile(id: message.id, name: message.name, vehicle: Vehicle(message.vehicle)),
            position: Position(lat: message.lat, lon: message.lon), heading: message.heading, speed: message.speed,
            measuredAt: updatedAt, presence: message.present ? .present : .offline,
            activeTripID: message.activeTripID,
            suspension: message.suspension.map {
                Suspension(reason: $0.reason, at: $0.at?.unixMilliseconds ?? 0)
            }, updatedAt: updatedAt, revision: 0)
    }
}

extension Driver_V1_Box {
    public init(_ box: Box) {
        self.init(west: box.west, south: box.south, east: box.east, north: box.north)
    }
}

extension Box {
    public init(_ message: Driver_V1_Box) {
        self.init(west: message.west, south: message.south, east: message.east, north: message.north)
    }
}

extension Trip_V1_Place {
    public init(_ position: Position) {
        self.init(lat: position.lat, lon: position.lon)
    }
}

extension Position {
    public init(_ message: Trip_V1_Place) {
        self.init(lat: message.lat, lon: message.lon)
    }
}

extension Trip_V1_TripStatus {
    public init(_ status: TripStatus) {
        switch status {
        case .inProgress: self = .inProgress
        case .completed: self = .completed
        case .cancelled: self = .cancelled
        }
    }
}

extension TripStatus {
    /// Nil for a status that the domain does not know.
    public init?(_ message: Trip_V1_TripStatus) {
        switch message {
        case .inProgress: self = .inProgress
        case .completed: self = .completed
        case .cancelled: self = .cancelled
        case .unspecified, .UNRECOGNIZED: return nil
        }
    }
}

extension Trip_V1_Trip {
    public init(_ trip: Trip) {
        self.init(
            id: trip.id, riderID: trip.riderID, driverID: trip.driverID,
            driver: Trip_V1_TripDriver(
                id: trip.driver.id, name: trip.driver.name, vehicle: Driver_V1_Vehicle(trip.driver.vehicle)),
            status: Trip_V1_TripStatus(trip.status), pickup: Trip_V1_Place(trip.pickup),
            dropoff: Trip_V1_Place(trip.dropoff),
            createdAt: Google_Protobuf_Timestamp(unixMilliseconds: trip.createdAt),
            pickedUpAt: trip.pickedUpAt.map { Google_Protobuf_Timestamp(unixMilliseconds: $0) },
            endedAt: trip.endedAt.map { Google_Protobuf_Timestamp(unixMilliseconds: $0) }, seq: trip.seq,
            endReason: trip.endReason)
    }
}
