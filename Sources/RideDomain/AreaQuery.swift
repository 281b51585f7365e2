/// Which available drivers are asked for: one meaning for `GET /drivers/available`, the live list's address, its in-band `view`, and
/// `FindAvailableDrivers`. Equal queries have equal answers, so they share one frame.
public struct AreaQuery: Hashable, Sendable {
    /// Where, and in which order.
    public var area: Area
    /// At most so many drivers: the nearest to the area's centre, or without one those with the lowest ids.
    public var limit: Int

    public static let defaultLimit = 1_000

    public init(_ area: Area = .everywhere, limit: Int = defaultLimit) {
        self.area = area
        self.limit = limit
    }

    /// What these parameters together ask for.
    /// - Parameters:
    ///   - radius: metres.
    ///   - limit: drivers.
    public init(
        lat: Double?, lon: Double?, radius: Double?, box: Box?, limit: Double?
    ) throws(ParameterError) {
        if let lat { try ParameterError.check("lat", Rules.latitude.violation(of: "lat", lat)) }
        if let lon { try ParameterError.check("lon", Rules.longitude.violation(of: "lon", lon)) }
        if let radius { try ParameterError.check("radius_m", Rules.radius.violation(of: "radius_m", radius)) }
        if let limit { try ParameterError.check("limit", Rules.limit.violation(of: "limit", limit)) }
        try ParameterError.check("bbox", box?.violation)
        self.limit = limit.flatMap(Int.init(exactly:)) ?? Self.defaultLimit
        switch (lat, lon) {
        case (_?, nil): throw ParameterError("lon", "lat is given without lon; give both or neither.")
        case (nil, _?): throw ParameterError("lat", "lon is given without lat; give both or neither.")
        case (let lat?, let lon?):
            guard box == nil else {
                throw ParameterError("bbox", "bbox is given together with a position; give one kind of area.")
            }
            area = .around(Position(lat: lat, lon: lon), radius: radius)
        case (nil, nil):
            guard radius == nil else {
                throw ParameterError("radius_m", "radius_m is given without a position; it needs lat and lon.")
            }
            area = box.map { .box($0) } ?? .everywhere
        }
    }
}

extension Box {
    /// What is wrong with it, for whoever sent it; nil: nothing.
    public var violation: String? {
        if isValid { return nil }
        for (side, value) in [("west", west), ("east", east)] where !Rules.longitude.range.contains(value) {
            return "bbox has \(side) \(Rules.text(value)); it must be \(Rules.longitude.words)."
        }
        for (side, value) in [("south", south), ("north", north)] where !Rules.latitude.range.contains(value) {
            return "bbox has \(side) \(Rules.text(value)); it must be \(Rules.latitude.words)."
        }
        return "bbox has south \(Rules.text(south)) above north \(Rules.text(north)); "
            + "the order is west,south,east,north."
    }
}
