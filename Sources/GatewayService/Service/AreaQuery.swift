import RideDomain

/// Which available drivers are asked for: one meaning for `GET /drivers/available`, the live list's address and its
/// in-band `view`. Equal queries have equal answers, so they share one frame.
public struct AreaQuery: Hashable, Sendable {
    /// Where, and in which order.
    public var area: Area
    /// At most so many drivers: the nearest to the area's centre, or without one those with the lowest ids.
    public var limit: Int

    public static let defaultLimit = 1_000
    public static let limits = 1...10_000
    /// Metres.
    public static let radii = 1.0...100_000.0
    /// Milliseconds between two live lists.
    public static let intervals = 50...60_000

    public init(_ area: Area = .everywhere, limit: Int = defaultLimit) {
        self.area = area
        self.limit = limit
    }
}

/// A parameter that can't be accepted: the problem `invalid-parameter`.
public struct ParameterError: Error, Hashable, Sendable {
    /// The parameter's name.
    public let parameter: String
    /// The value, the rule and the remedy.
    public let detail: String
}

/// Gathers the parameters of an area query, one by one, then checks them together.
public struct AreaParameters: Sendable {
    /// What else than an area may be asked for.
    public enum Surface: Sendable {
        /// `GET /drivers/available`.
        case list
        /// `/ws/drivers/available`, which has an interval.
        case live
    }

    public let surface: Surface
    private var lat: Double?
    private var lon: Double?
    private var radius: Double?
    private var box: Box?
    private var limit: Int?
    /// Milliseconds between two lists, if one was asked for.
    public private(set) var interval: Int?

    public init(_ surface: Surface) {
        self.surface = surface
    }

    /// The query of decoded `name=value` pairs of an address.
    public static func parse(
        _ pairs: [(name: String, value: String)], _ surface: Surface
    ) throws(ParameterError) -> (query: AreaQuery, interval: Int?) {
        var parameters = AreaParameters(surface)
        for pair in pairs { try parameters.set(pair.name, text: pair.value) }
        return (try parameters.query(), parameters.interval)
    }

    /// One parameter of an address.
    public mutating func set(_ name: String, text: String) throws(ParameterError) {
        if name == "bbox" {
            let parts = text.split(separator: ",", omittingEmptySubsequences: false)
            var numbers: [Double] = []
            for part in parts {
                guard let number = Self.number(part) else { throw Self.boxError(text) }
                numbers.append(number)
            }
            return try set(name, numbers: numbers)
        }
        try checkName(name)
        guard let number = Self.number(text[...]) else {
            throw ParameterError(
                parameter: name,
                detail: text.isEmpty
                    ? "\(name) is empty; it must be \(rule(name))."
                    : "\(name) is \"\(Self.cut(text))\"; it must be \(rule(name)).")
        }
        try set(name, number: number)
    }

    /// A parameter that is one number.
    public mutating func set(_ name: String, number: Double) throws(ParameterError) {
        try checkName(name)
        switch name {
        case "lat": try Self.take(&lat, name, number, -90...90, rule(name))
        case "lon": try Self.take(&lon, name, number, -180...180, rule(name))
        case "radius_m": try Self.take(&radius, name, number, AreaQuery.radii, rule(name))
        case "limit": try Self.take(&limit, name, number, AreaQuery.limits, rule(name))
        case "interval_ms": try Self.take(&interval, name, number, AreaQuery.intervals, rule(name))
        default: throw Self.boxError(Self.text(number))
        }
    }

    /// The parameter `bbox`: west, south, east, north.
    public mutating func set(_ name: String, numbers: [Double]) throws(ParameterError) {
        guard name == "bbox" else {
            throw ParameterError(parameter: name, detail: "\(name) has several values; it must be \(rule(name)).")
        }
        guard box == nil else { throw Self.repeated(name) }
        let text = numbers.map(Self.text).joined(separator: ",")
        guard numbers.count == 4 else { throw Self.boxError(text) }
        let new = Box(west: numbers[0], south: numbers[1], east: numbers[2], north: numbers[3])
        for (value, side) in [(new.west, "west"), (new.east, "east")] where !(-180...180).contains(value) {
            throw ParameterError(
                parameter: name, detail: "bbox has \(side) \(Self.text(value)); it must be between -180 and 180.")
        }
        for (value, side) in [(new.south, "south"), (new.north, "north")] where !(-90...90).contains(value) {
            throw ParameterError(
                parameter: name, detail: "bbox has \(side) \(Self.text(value)); it must be between -90 and 90.")
        }
        guard new.south <= new.north else {
            throw ParameterError(
                parameter: name,
                detail: "bbox has south \(Self.text(new.south)) above north \(Self.text(new.north)); "
                    + "the order is west,south,east,north.")
        }
        box = new
    }

    /// What all parameters together ask for.
    public func query() throws(ParameterError) -> AreaQuery {
        let limit = limit ?? AreaQuery.defaultLimit
        switch (lat, lon) {
        case (_?, nil):
            throw ParameterError(parameter: "lon", detail: "lat is given without lon; give both or neither.")
        case (nil, _?):
            throw ParameterError(parameter: "lat", detail: "lon is given without lat; give both or neither.")
        case (let lat?, let lon?):
            guard box == nil else {
                throw ParameterError(
                    parameter: "bbox", detail: "bbox is given together with a position; give one kind of area.")
            }
            return AreaQuery(.around(Position(lat: lat, lon: lon), radius: radius), limit: limit)
        case (nil, nil):
            guard radius == nil else {
                throw ParameterError(
                    parameter: "radius_m", detail: "radius_m is given without a position; it needs lat and lon.")
            }
            return AreaQuery(box.map { .box($0) } ?? .everywhere, limit: limit)
        }
    }

    // MARK: Rules and words

    private func checkName(_ name: String) throws(ParameterError) {
        switch name {
        case "lat", "lon", "radius_m", "bbox", "limit": return
        case "interval_ms" where surface == .live: return
        default:
            let known =
                surface == .live
                ? "lat, lon, radius_m, bbox, limit and interval_ms" : "lat, lon, radius_m, bbox and limit"
            throw ParameterError(
                parameter: Self.cut(name), detail: "\(Self.cut(name)) is not a parameter here; there are \(known).")
        }
    }

    private func rule(_ name: String) -> String {
        switch name {
        case "lat": "between -90 and 90"
        case "lon": "between -180 and 180"
        case "radius_m": "between 1 and 100000 metres"
        case "limit": "a whole number between 1 and 10000"
        case "interval_ms": "a whole number between 50 and 60000 milliseconds"
        default: "west,south,east,north"
        }
    }

    private static func take(
        _ target: inout Double?, _ name: String, _ number: Double, _ range: ClosedRange<Double>, _ rule: String
    ) throws(ParameterError) {
        guard target == nil else { throw repeated(name) }
        guard range.contains(number) else {
            throw ParameterError(parameter: name, detail: "\(name) is \(text(number)); it must be \(rule).")
        }
        target = number
    }

    private static func take(
        _ target: inout Int?, _ name: String, _ number: Double, _ range: ClosedRange<Int>, _ rule: String
    ) throws(ParameterError) {
        guard target == nil else { throw repeated(name) }
        guard let whole = Int(exactly: number), range.contains(whole) else {
            throw ParameterError(parameter: name, detail: "\(name) is \(text(number)); it must be \(rule).")
        }
        target = whole
    }

    private static func repeated(_ name: String) -> ParameterError {
        ParameterError(parameter: name, detail: "\(name) is given more than once; give it once.")
    }

    private static func boxError(_ text: String) -> ParameterError {
        ParameterError(
            parameter: "bbox", detail: "bbox is \"\(cut(text))\"; it must be four numbers: west,south,east,north.")
    }

    /// A decimal number: what JSON calls one, and no `nan`, `inf` or `0x`.
    private static func number(_ text: Substring) -> Double? {
        guard let first = text.utf8.first, first == UInt8(ascii: "-") || (48...57).contains(first) else { return nil }
        for byte in text.utf8 {
            switch byte {
            case 48...57, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "e"), UInt8(ascii: "E"):
                continue
            default: return nil
            }
        }
        guard let value = Double(text), value.isFinite else { return nil }
        return value
    }

    /// A number as people write it: 91, not 91.0.
    private static func text(_ number: Double) -> String {
        if let whole = Int64(exactly: number) { return String(whole) }
        return number.description
    }

    /// At most 40 characters of what a client sent.
    private static func cut(_ text: String) -> String {
        text.count > 40 ? text.prefix(40) + "…" : text
    }
}
