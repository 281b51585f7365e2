import Bytes
import JSONWire
import ProtobufWire
import RideDomain

/// The bodies of REST and the uplink's messages, read into the requests that the services take.
public enum RequestBodies {
    /// `POST /drivers`: `id`?, `name`, `vehicle`, `lat`, `lon`.
    public static func registerDriver(_ bytes: Span<UInt8>) throws(BodyError) -> Driver_V1_RegisterDriverRequest {
        var body = BodyReader(bytes)
        var request = Driver_V1_RegisterDriverRequest()
        var name: String?
        var vehicle: Driver_V1_Vehicle?
        var lat: Double?
        var lon: Double?
        if try body.beginObject("The body") {
            while let member = try body.nextMember() {
                if body.isEqual(member, "id") {
                    if try !body.isNull() { request.id = try identifier("id", &body) }
                } else if body.isEqual(member, "name") {
                    name = try body.words("name", Rules.name)
                } else if body.isEqual(member, "vehicle") {
                    vehicle = try self.vehicle(&body)
                } else if body.isEqual(member, "lat") {
                    lat = try body.latitude()
                } else if body.isEqual(member, "lon") {
                    lon = try body.longitude()
                } else {
                    try body.unknownMember(member, known: "id, name, vehicle, lat and lon")
                }
            }
        }
        if name == nil { body.missing("name") }
        if vehicle == nil { body.missing("vehicle") }
        if lat == nil { body.missing("lat") }
        if lon == nil { body.missing("lon") }
        try body.finish()
        request.name = name ?? ""
        request.vehicle = vehicle
        request.lat = lat ?? 0
        request.lon = lon ?? 0
        return request
    }

    /// `POST /trips`: `rider_id`, `driver_id`?, `category`?, `pickup`, `dropoff`.
    ///
    /// - Parameter rider: whom the trip is for if the body does not say; nil: it has to.
    public static func createTrip(
        _ bytes: Span<UInt8>, rider: String? = nil
    ) throws(BodyError) -> Trip_V1_CreateTripRequest {
        var body = BodyReader(bytes)
        var request = Trip_V1_CreateTripRequest()
        var riderID = rider
        if try body.beginObject("The body") {
            while let member = try body.nextMember() {
                if body.isEqual(member, "rider_id") {
                    riderID = try identifier("rider_id", &body)
                } else if body.isEqual(member, "driver_id") {
                    if try !body.isNull() { request.driverID = try identifier("driver_id", &body) }
                } else if body.isEqual(member, "category") {
                    if try !body.isNull() { request.category = try body.words("category", Rules.vehicleWord) }
                } else if body.isEqual(member, "pickup") {
                    request.pickup = try place("pickup", &body)
                } else if body.isEqual(member, "dropoff") {
                    request.dropoff = try place("dropoff", &body)
                } else {
                    try body.unknownMember(member, known: "rider_id, driver_id, category, pickup and dropoff")
                }
            }
        }
        if riderID == nil { body.missing("rider_id") }
        if request.pickup == nil { body.missing("pickup") }
        if request.dropoff == nil { body.missing("dropoff") }
        try body.finish()
        request.riderID = riderID ?? ""
        return request
    }

    /// `PATCH /drivers/{id}/status`: `{"status":"available"}` or `"offline"`.
    public static func driverStatus(_ bytes: Span<UInt8>) throws(BodyError) -> Driver_V1_DriverStatus {
        var body = BodyReader(bytes)
        var status: Driver_V1_DriverStatus?
        let rule = Rules.statusByHand
        if try body.beginObject("The body") {
            while let member = try body.nextMember() {
                guard body.isEqual(member, "status") else {
                    try body.unknownMember(member, known: "status")
                    continue
                }
                guard let word = try body.string("status", rule) else { continue }
                switch word.clippedVisibly(to: 40) {
                case "available": status = .available
                case "offline": status = .offline
                default: body.note("/status", Rules.sentence("status", is: Rules.quoted(word), rule))
                }
            }
        }
        if status == nil { body.missing("status") }
        try body.finish()
        return status ?? .unspecified
    }

    /// `PATCH /drivers/{id}`: a merge patch (RFC 7396) of `name` and `vehicle`. Every member has to stay, so that none can be null.
    /// The answer has no driver id.
    public static func updateDriver(_ bytes: Span<UInt8>) throws(BodyError) -> Driver_V1_UpdateDriverRequest {
        var body = BodyReader(bytes)
        var request = Driver_V1_UpdateDriverRequest()
        if try body.beginObject("The body") {
            while let member = try body.nextMember() {
                if body.isEqual(member, "name") {
                    request.name = try body.words("name", Rules.name)
                } else if body.isEqual(member, "vehicle") {
                    let vehicle = try vehicleWords(&body)
                    request.make = vehicle.make
                    request.model = vehicle.model
                    request.color = vehicle.color
                    request.plate = vehicle.plate
                    request.category = vehicle.category
                } else {
                    try body.unknownMember(member, known: "name and vehicle")
                }
            }
        }
        try body.finish()
        return request
    }

    /// `{"reason":…}`: why an operator does something.
    public static func reason(_ bytes: Span<UInt8>) throws(BodyError) -> String {
        var body = BodyReader(bytes)
        var reason: String?
        if try body.beginObject("The body") {
            while let member = try body.nextMember() {
                if body.isEqual(member, "reason") {
                    reason = try body.words("reason", Rules.reason)
                } else {
                    try body.unknownMember(member, known: "reason")
                }
            }
        }
        if reason == nil { body.missing("reason") }
        try body.finish()
        return reason ?? ""
    }

    /// A message of `/ws/drivers/{id}/location`: `{"lat","lon","heading"?,"speed"?,"accuracy"?,"at"?}`, the members of W3C
    /// Geolocation, which says null for what it does not know; iOS says −1. Other members are skipped: an app may send all it
    /// has.
    /// The answer has no driver id.
    public static func driverPosition(_ bytes: Span<UInt8>) throws(BodyError) -> Driver_V1_ReportLocationsRequest {
        var body = BodyReader(bytes)
        var request = Driver_V1_ReportLocationsRequest()
        let unknown = Double.greatestFiniteMagnitude
        var lat: Double?
        var lon: Double?
        if try body.beginObject("The message") {
            while let member = try body.nextMember() {
                if body.isEqual(member, "lat") {
                    lat = try body.latitude()
                } else if body.isEqual(member, "lon") {
                    lon = try body.longitude()
                } else if try body.isNull() {
                    continue
                } else if body.isEqual(member, "heading") {
                    request.heading = try body.number(
                        "heading", -unknown...360, "between 0 and 360 degrees, or negative when it is not known")
                } else if body.isEqual(member, "speed") {
                    request.speed = try body.number(
                        "speed", -unknown...LocationPoint.maximumSpeed,
                        "between 0 and 1000 metres per second, or negative when it is not known")
                } else if body.isEqual(member, "accuracy") {
                    request.accuracy = try body.number(
                        "accuracy", -unknown...LocationPoint.maximumAccuracy,
                        "a number of metres, or negative when there is no fix")
                } else if body.isEqual(member, "at") {
                    request.at = try instant("at", &body)
                } else {
                    try body.skip()
                }
            }
        }
        if lat == nil { body.missing("lat") }
        if lon == nil { body.missing("lon") }
        try body.finish()
        request.lat = lat ?? 0
        request.lon = lon ?? 0
        return request
    }

    // MARK: Parts

    private static func identifier(_ name: String, _ body: inout BodyReader) throws(BodyError) -> String? {
        guard let text = try body.string(name, "a string") else { return nil }
        if let violation = Identifier.violation(of: name, text) {
            body.note(violation)
            return nil
        }
        return text
    }

    private static func instant(
        _ name: String, _ body: inout BodyReader
    ) throws(BodyError) -> Google_Protobuf_Timestamp? {
        let rule = "an instant of RFC 3339, as \"2026-11-24T18:40:28.123Z\""
        guard let text = try body.string(name, rule) else { return nil }
        guard let milliseconds = RFC3339.milliseconds(text) else {
            body.note(Rules.sentence(name, is: Rules.quoted(text), rule))
            return nil
        }
        return Google_Protobuf_Timestamp(unixMilliseconds: milliseconds)
    }

    private static func place(_ name: String, _ body: inout BodyReader) throws(BodyError) -> Trip_V1_Place? {
        guard try body.beginObject(name) else { return nil }
        var lat: Double?
        var lon: Double?
        while let member = try body.nextMember() {
            if body.isEqual(member, "lat") {
                lat = try body.latitude()
            } else if body.isEqual(member, "lon") {
                lon = try body.longitude()
            } else {
                try body.unknownMember(member, known: "lat and lon")
            }
        }
        if lat == nil { body.missing("lat", in: "/\(name)") }
        if lon == nil { body.missing("lon", in: "/\(name)") }
        return Trip_V1_Place(lat: lat ?? 0, lon: lon ?? 0)
    }

    private static func vehicle(_ body: inout BodyReader) throws(BodyError) -> Driver_V1_Vehicle? {
        let words = try vehicleWords(&body)
        for (name, word) in words.all where word == nil { body.missing(name, in: "/vehicle") }
        return Driver_V1_Vehicle(
            make: words.make ?? "", model: words.model ?? "", color: words.color ?? "", plate: words.plate ?? "",
            category: words.category ?? "")
    }

    /// The words about a vehicle that are there, and good.
    private struct VehicleWords {
        var make: String?
        var model: String?
        var color: String?
        var plate: String?
        var category: String?

        var all: [(String, String?)] {
            [("make", make), ("model", model), ("color", color), ("plate", plate), ("category", category)]
        }
    }

    private static func vehicleWords(_ body: inout BodyReader) throws(BodyError) -> VehicleWords {
        var words = VehicleWords()
        guard try body.beginObject("vehicle") else { return words }
        while let member = try body.nextMember() {
            if body.isEqual(member, "make") {
                words.make = try body.words("make", Rules.vehicleWord)
            } else if body.isEqual(member, "model") {
                words.model = try body.words("model", Rules.vehicleWord)
            } else if body.isEqual(member, "color") {
                words.color = try body.words("color", Rules.vehicleWord)
            } else if body.isEqual(member, "plate") {
                words.plate = try body.words("plate", Rules.vehicleWord)
            } else if body.isEqual(member, "category") {
                words.category = try body.words("category", Rules.vehicleWord)
            } else {
                try body.unknownMember(member, known: "make, model, color, plate and category")
            }
        }
        return words
    }
}
