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
        check("/name", Rules.name.violation(of: "name", request.name))
        if let vehicle = request.vehicle {
            let words = [
                ("make", vehicle.make), ("model", vehicle.model), ("color", vehicle.color), ("plate", vehicle.plate),
                ("category", vehicle.category),
            ]
            for (name, text) in words { check("/vehicle/\(name)", Rules.vehicleWord.violation(of: name, text)) }
        } else {
            check("/vehicle", Rules.missing("vehicle"))
        }
        check("/lat", Rules.latitude.violation(of: "lat", request.lat))
        check("/lon", Rules.longitude.violation(of: "lon", request.lon))
        guard violations.isEmpty else { throw .invalid(violations) }
        return DriverProfile(id: id ?? makeID(), name: request.name, vehicle: Vehicle(request.vehicle))
    }

    static func change(_ request: Driver_V1_UpdateDriverRequest) throws(DriverError) -> ProfileChange {
        var violations: [BodyViolation] = []
        let words = [
            ("make", request.make), ("model", request.model), ("color", request.color), ("plate", request.plate),
            ("category", request.category),
        ]
        let name = request.name.flatMap { Rules.name.violation(of: "name", $0) }
        if let name { violations.append(BodyViolation(pointer: "/name", detail: name)) }
        for (name, text) in words {
            let violation = text.flatMap { Rules.vehicleWord.violation(of: name, $0) }
            if let violation { violations.append(BodyViolation(pointer: "/vehicle/\(name)", detail: violation)) }
        }
        guard violations.isEmpty else { throw .invalid(violations) }
        return ProfileChange(
            name: request.name, make: request.make, model: request.model, color: request.color, plate: request.plate,
            category: request.category)
    }

    static func reason(_ text: String) throws(DriverError) -> String {
        guard let violation = Rules.reason.violation(of: "reason", text) else { return text }
        throw .invalid([BodyViolation(pointer: "/reason", detail: violation)])
    }

    static func isPresent(_ request: Driver_V1_UpdateDriverStatusRequest) throws(DriverError) -> Bool {
        switch request.status {
        case .available: return true
        case .offline: return false
        default:
            let violation = Rules.sentence("status", is: "\(request.status)", Rules.statusByHand)
            throw .invalid([BodyViolation(pointer: "/status", detail: violation)])
        }
    }

    static func find(
        _ request: Driver_V1_FindAvailableDriversRequest
    ) throws(DriverError) -> DriverLists.Question {
        try check("category", request.category.flatMap { Rules.vehicleWord.violation(of: "category", $0) })
        do throws(ParameterError) {
            let query = try AreaQuery(
                lat: request.lat, lon: request.lon, radius: request.radiusM, box: request.box.map(Box.init),
                limit: request.limit.map(Double.init))
            return DriverLists.Question(query: query, category: request.category)
        } catch {
            throw .invalidParameter(error.parameter, error.detail)
        }
    }

    private static func check(_ parameter: String, _ violation: String?) throws(DriverError) {
        if let violation { throw .invalidParameter(parameter, violation) }
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
        try check("bbox", box.violation)
        return box
    }

    static func page(
        _ request: Driver_V1_ListDriversRequest
    ) throws(DriverError) -> (status: DriverStatus?, after: String?, size: Int) {
        var status: DriverStatus?
        if let wanted = request.status {
            status = DriverStatus(wanted)
            if status == nil { try check("status", Rules.sentence("status", is: "\(wanted)", Rules.driverStatus)) }
        }
        let size = request.pageSize ?? DriverLimits.defaultPage
        try check("page_size", Rules.pageSize.violation(of: "page_size", Double(size)))
        var after: String?
        if let token = request.pageToken, !token.isEmpty {
            after = DriverPageToken.id(token, status)
            if after == nil {
                try check("page_token", Rules.sentence("page_token", is: Rules.quoted(token), Rules.pageToken))
            }
        }
        return (status, after, Int(size))
    }
}
