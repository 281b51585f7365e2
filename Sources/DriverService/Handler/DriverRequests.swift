import RideAPI
import RideDomain

/// Requests of driver.v1 in the domain's words, or what is wrong with them.
enum DriverRequests {
    static func profile(
        _ request: Driver_V1_RegisterDriverRequest, makeID: () -> String
    ) throws(DriverError) -> DriverProfile {
        var violations: [BodyViolation] = []
        func check(_ pointer: String, _ violation: String?) {
            if let violation { violations.append(BodyViolation(pointer: pointer, detail: violation)) }
        }
        let id = request.id.flatMap { $0.isEmpty ? nil : $0 }
        if let id { check("/id", Identifier.violation(of: "id", id)) }
        check("/name", words("name", request.name, RequestBodies.maximumName))
        if let vehicle = request.vehicle {
            let words = [
                ("make", vehicle.make), ("model", vehicle.model), ("color", vehicle.color), ("plate", vehicle.plate),
                ("category", vehicle.category),
            ]
            for (name, text) in words {
                check("/vehicle/\(name)", self.words(name, text, RequestBodies.maximumVehicleWord))
            }
        } else {
            check("/vehicle", "vehicle is missing; give its make, model, color, plate and category.")
        }
        check("/lat", coordinate("lat", request.lat, 90))
        check("/lon", coordinate("lon", request.lon, 180))
        guard violations.isEmpty else { throw .invalid(violations) }
        return DriverProfile(id: id ?? makeID(), name: request.name, vehicle: Vehicle(request.vehicle))
    }

    private static func words(_ name: String, _ text: String, _ maximum: Int) -> String? {
        let isGood =
            text.contains { !$0.isWhitespace } && text.utf8.count <= maximum * 4 && text.count <= maximum
            && text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
        if isGood { return nil }
        return "\(name) is \(text.isEmpty ? "empty" : "not usable"); it must be a text of 1 to \(maximum) characters."
    }

    private static func coordinate(_ name: String, _ value: Double, _ bound: Double) -> String? {
        (-bound...bound).contains(value)
            ? nil : "\(name) is \(value); it must be between -\(Int(bound)) and \(Int(bound))."
    }

    static func find(
        _ request: Driver_V1_FindAvailableDriversRequest
    ) throws(DriverError) -> DriverLists.Question {
        DriverLists.Question(area: try area(request), limit: try limit(request), category: request.category)
    }

    private static func limit(_ request: Driver_V1_FindAvailableDriversRequest) throws(DriverError) -> Int {
        let limit = request.limit.map(Int.init) ?? DriverLimits.defaultLimit
        guard DriverLimits.limits.contains(limit) else {
            throw .invalidParameter("limit", "limit is \(limit); it must be between 1 and 10000.")
        }
        return limit
    }

    private static func area(_ request: Driver_V1_FindAvailableDriversRequest) throws(DriverError) -> Area {
        if let box = request.box {
            guard request.lat == nil, request.lon == nil, request.radiusM == nil else {
                throw .invalidParameter("bbox", "bbox and a position are two kinds of area; give one of them.")
            }
            return .box(try self.box(box))
        }
        guard let lat = request.lat, let lon = request.lon else {
            if request.lat != nil {
                throw .invalidParameter("lon", "lon is missing; a position has lat and lon.")
            }
            if request.lon != nil {
                throw .invalidParameter("lat", "lat is missing; a position has lat and lon.")
            }
            if request.radiusM != nil {
                throw .invalidParameter("radius_m", "radius_m is given without a position; give lat and lon, too.")
            }
            return .everywhere
        }
        if let violation = coordinate("lat", lat, 90) { throw .invalidParameter("lat", violation) }
        if let violation = coordinate("lon", lon, 180) { throw .invalidParameter("lon", violation) }
        if let radius = request.radiusM, !DriverLimits.radii.contains(radius) {
            throw .invalidParameter("radius_m", "radius_m is \(radius); it must be between 1 and 100000.")
        }
        return .around(Position(lat: lat, lon: lon), radius: request.radiusM)
    }

    /// Judges how many areas are asked for, before anything is made of them.
    static func check(_ request: Driver_V1_ListDriversInAreasRequest) throws(DriverError) {
        guard request.areas.count <= DriverLimits.areas else {
            throw .invalidParameter(
                "areas", "\(request.areas.count) areas are asked for; at most \(DriverLimits.areas) in one request.")
        }
    }

    static func box(_ message: Driver_V1_Box) throws(DriverError) -> Box {
        let box = Box(message)
        guard box.isValid else {
            throw .invalidParameter(
                "bbox",
                "bbox is \(box.west),\(box.south),\(box.east),\(box.north); it must be west,south,east,north in degrees, with south below north."
            )
        }
        return box
    }

    static func page(
        _ request: Driver_V1_ListDriversRequest
    ) throws(DriverError) -> (status: DriverStatus?, after: String?, size: Int) {
        var status: DriverStatus?
        if let wanted = request.status {
            status = DriverStatus(wanted)
            guard status != nil else {
                throw .invalidParameter("status", "status must be available, unavailable or offline.")
            }
        }
        let size = request.pageSize.map(Int.init) ?? DriverLimits.defaultPage
        guard DriverLimits.pages.contains(size) else {
            throw .invalidParameter("page_size", "page_size is \(size); it must be between 1 and 100.")
        }
        var after: String?
        if let token = request.pageToken, !token.isEmpty {
            after = DriverPageToken.id(token, status)
            guard after != nil else {
                throw .invalidParameter(
                    "page_token",
                    "page_token is not one of this list's; take it from the last page with the same filter.")
            }
        }
        return (status, after, size)
    }
}
