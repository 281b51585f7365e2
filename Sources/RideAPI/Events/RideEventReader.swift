import JSONWire
import ProtobufWire
import RideDomain

extension RideEvent {
    /// The event in a Kafka record's value. Headers are not needed.
    public init(decoding value: Span<UInt8>) throws(EventError) {
        var members = EventMembers()
        do throws(JSONError) {
            var json = JSONReader(value)
            try members.read(&json)
            try json.finish()
        } catch {
            throw .notJSON(error)
        }
        if members.isDriverLocationUpdate {
            self = .driverLocationUpdate(try members.driverLocationUpdate())
        } else if let type = members.type {
            if let kind = TripEventKind(rawValue: type) {
                self = .trip(try members.change(kind))
            } else {
                self = .other(type: type)
            }
        } else {
            throw .missing("type")
        }
    }
}

/// All members that any event has, in whatever order they come.
private struct EventMembers {
    /// Nil also for a `DriverLocationUpdate`, whose name is too long for a string without memory of its own.
    var type: String?
    var isDriverLocationUpdate = false
    var eventID: String?
    var seq: UInt64?
    var epoch: UInt64?
    var at: Int64?
    var driverID: String?
    var lat: Double?
    var lon: Double?
    var heading: Double?
    var speed: Double?
    var status: String?
    var reason: String?
    var trip: TripMembers?

    mutating func read(_ json: inout JSONReader) throws(JSONError) {
        try json.beginObject()
        while let name = try json.nextMember() {
            if try json.readNullIfPresent() { continue }
            if json.isEqual(name, "type") {
                let text = try json.readText()
                isDriverLocationUpdate = json.isEqual(text, DriverLocationUpdate.type)
                if !isDriverLocationUpdate { type = json.string(of: text) }
            } else if json.isEqual(name, "event_id") {
                eventID = try json.readString()
            } else if json.isEqual(name, "seq") {
                seq = Self.number(try json.readInt64())
            } else if json.isEqual(name, "epoch") {
                epoch = Self.number(try json.readInt64())
            } else if json.isEqual(name, "at") {
                at = try json.readInstant()
            } else if json.isEqual(name, "driver_id") {
                driverID = try json.readString()
            } else if json.isEqual(name, "lat") {
                lat = try json.readDouble()
            } else if json.isEqual(name, "lon") {
                lon = try json.readDouble()
            } else if json.isEqual(name, "heading") {
                heading = try json.readDouble()
            } else if json.isEqual(name, "speed") {
                speed = try json.readDouble()
            } else if json.isEqual(name, "status") {
                status = try json.readString()
            } else if json.isEqual(name, "reason") {
                reason = try json.readString()
            } else if json.isEqual(name, "trip") {
                var trip = TripMembers()
                try trip.read(&json)
                self.trip = trip
            } else {
                try json.skipValue()
            }
        }
    }

    /// A sequence number: below 2⁵³, as every reader of JSON can hold it. Others say nothing.
    private static func number(_ value: Int64) -> UInt64? {
        UInt64(exactly: value).flatMap { $0 < 1 << 53 ? $0 : nil }
    }

    func driverLocationUpdate() throws(EventError) -> DriverLocationUpdate {
        guard let driverID else { throw .missing("driver_id") }
        guard let lat else { throw .missing("lat") }
        guard let lon else { throw .missing("lon") }
        guard let word = self.status else { throw .missing("status") }
        guard Identifier.isWellFormed(driverID) else { throw .invalid("driver_id") }
        guard Position(lat: lat, lon: lon).isValid else { throw .invalid("lat, lon") }
        guard let status = DriverStatus(word: word) else { throw .invalid("status") }
        return DriverLocationUpdate(
            eventID: eventID ?? "", seq: seq ?? 0, at: at ?? 0, driverID: driverID, lat: lat, lon: lon,
            heading: heading, speed: speed, status: status,
            reason: reason.flatMap(DriverLocationUpdate.Reason.init(rawValue:)))
    }

    func change(_ kind: TripEventKind) throws(EventError) -> TripChange {
        guard let trip else { throw .missing("trip") }
        guard let id = trip.id, !id.isEmpty else { throw .missing("trip.id") }
        guard let driverID = trip.driverID, !driverID.isEmpty else { throw .missing("trip.driver_id") }
        guard let word = trip.status else { throw .missing("trip.status") }
        guard Identifier.isWellFormed(id) else { throw .invalid("trip.id") }
        guard Identifier.isWellFormed(driverID) else { throw .invalid("trip.driver_id") }
        guard let status = TripStatus(word: word) else { throw .invalid("trip.status") }
        return TripChange(
            kind: kind, eventID: eventID ?? "", seq: seq ?? 0, epoch: epoch ?? 0, tripID: id, driverID: driverID,
            status: status)
    }
}

/// The members of a trip that a reader keeps.
private struct TripMembers {
    var id: String?
    var driverID: String?
    var status: String?

    mutating func read(_ json: inout JSONReader) throws(JSONError) {
        try json.beginObject()
        while let name = try json.nextMember() {
            if try json.readNullIfPresent() { continue }
            if json.isEqual(name, "id") {
                id = try json.readString()
            } else if json.isEqual(name, "driver_id") {
                driverID = try json.readString()
            } else if json.isEqual(name, "status") {
                status = try json.readString()
            } else {
                try json.skipValue()
            }
        }
    }
}
