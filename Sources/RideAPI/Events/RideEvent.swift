import Bytes
import JSONWire
import ProtobufWire
import RideDomain

/// What topic a value is of, and why it is written: the events of Kafka.
///
/// Values are JSON with the names and words of REST. Writers write everything, zeros included. A reader takes the members
/// in any order, skips those that it does not know, and takes null for absent.
public enum RideEvent: Sendable, Equatable {
    case driverLocationUpdate(DriverLocationUpdate)
    case trip(TripChange)
    /// Of a type that is not known here: skipped, not counted as unreadable.
    case other(type: String)
}

/// Topic `driver_locations`, key `driver_id`: where a driver is, or that their status changed.
public struct DriverLocationUpdate: Sendable, Equatable {
    /// Where its records are.
    public static let topic = "driver_locations"

    public enum Reason: String, Sendable, Hashable, CaseIterable {
        case location
        case status
        case registered
        case expired
        /// An operator has changed who the driver is.
        case profile
        /// The driver was deleted: this is the last one.
        case removed
    }

    public static let type: StaticString = "DriverLocationUpdate"

    public var eventID: String
    /// The driver service's revision: a reader ignores what is not newer than what it has for this driver.
    public var seq: UInt64
    /// Unix milliseconds.
    public var at: Int64
    public var driverID: String
    public var lat: Double
    public var lon: Double
    /// Degrees clockwise from north.
    public var heading: Double?
    /// Metres per second.
    public var speed: Double?
    public var status: DriverStatus
    /// Nil: one that is not known here.
    public var reason: Reason?

    public init(
        eventID: String, seq: UInt64, at: Int64, driverID: String, lat: Double, lon: Double, heading: Double? = nil,
        speed: Double? = nil, status: DriverStatus, reason: Reason?
    ) {
        self.eventID = eventID
        self.seq = seq
        self.at = at
        self.driverID = driverID
        self.lat = lat
        self.lon = lon
        self.heading = heading
        self.speed = speed
        self.status = status
        self.reason = reason
    }

    /// Appends the value.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.append("{\"type\":\"DriverLocationUpdate\",\"event_id\":")
        buffer.appendJSON(string: eventID)
        buffer.appendJSON("seq", integer: seq)
        buffer.appendJSON("at", instant: at)
        buffer.appendJSON("driver_id", string: driverID)
        buffer.appendJSON("lat", coordinate: lat)
        buffer.appendJSON("lon", coordinate: lon)
        if let heading { buffer.appendJSON("heading", fixed: heading, decimals: 1) }
        if let speed { buffer.appendJSON("speed", fixed: speed, decimals: 2) }
        buffer.append(",\"status\":\"")
        buffer.append(utf8: status.word)
        buffer.append("\"")
        if let reason { buffer.appendJSON("reason", string: reason.rawValue) }
        buffer.endJSONObject()
    }
}

/// Topic `trip_events`, key `driver_id`: a change of a trip, with the whole trip, as it is written.
public struct TripEvent: Sendable {
    /// Where its records are.
    public static let topic = "trip_events"

    public let kind: TripEventKind
    public let eventID: String
    /// The outbox row: a reader ignores what is not newer than what it has for this driver.
    public let seq: UInt64
    /// The epoch of the trip database that `seq` counts in: a newer one beats every number of an older one. 0: not said.
    public let epoch: UInt64
    /// Unix milliseconds.
    public let at: Int64
    /// As it was after the change.
    public let trip: Trip

    public init(kind: TripEventKind, eventID: String, seq: UInt64, epoch: UInt64 = 0, at: Int64, trip: Trip) {
        self.kind = kind
        self.eventID = eventID
        self.seq = seq
        self.epoch = epoch
        self.at = at
        self.trip = trip
    }

    /// Appends the value.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.append("{\"type\":\"")
        buffer.append(utf8: kind.rawValue)
        buffer.append("\",\"event_id\":")
        buffer.appendJSON(string: eventID)
        buffer.appendJSON("seq", integer: seq)
        if epoch != 0 { buffer.appendJSON("epoch", integer: epoch) }
        buffer.appendJSON("at", instant: at)
        buffer.append(",\"trip\":")
        buffer.appendJSON(trip: Trip_V1_Trip(trip))
        buffer.endJSONObject()
    }
}

/// What a reader of `trip_events` keeps of a change: whether a driver has a trip, and since which change.
public struct TripChange: Sendable, Equatable {
    public let kind: TripEventKind
    public let eventID: String
    /// 0: not said.
    public let seq: UInt64
    /// The epoch of the trip database that `seq` counts in. 0: not said.
    public let epoch: UInt64
    public let tripID: String
    public let driverID: String
    /// After the change.
    public let status: TripStatus

    public init(
        kind: TripEventKind, eventID: String, seq: UInt64, epoch: UInt64 = 0, tripID: String, driverID: String,
        status: TripStatus
    ) {
        self.kind = kind
        self.eventID = eventID
        self.seq = seq
        self.epoch = epoch
        self.tripID = tripID
        self.driverID = driverID
        self.status = status
    }
}

/// Why a value can't be read as an event: it is counted, logged at a bounded rate, and skipped.
public enum EventError: Error, Sendable, Equatable {
    case notJSON(JSONError)
    /// A member that the event needs is not there, or is null.
    case missing(String)
    /// A member has a value that makes no sense.
    case invalid(String)
}
