import Bytes
import RideDomain

/// Gathers the parameters of an area query, one by one, then checks them together.
public struct AreaParameters: Sendable {
    /// What else than an area may be asked for.
    public enum Surface: Sendable {
        /// `GET /drivers/available`, which has a category.
        case list
        /// `/ws/drivers/available`, which has an interval.
        case live
    }

    /// Milliseconds between two live lists.
    public static let intervals = 50...60_000
    private static let intervalWords = "a whole number between 50 and 60000 milliseconds"

    public let surface: Surface
    private var lat: Double?
    private var lon: Double?
    private var radius: Double?
    private var limit: Double?
    private var box: Box?
    /// Milliseconds between two lists, if one was asked for.
    public private(set) var interval: Int?
    /// Of the car, if one was asked for.
    public private(set) var category: String?

    public init(_ surface: Surface) {
        self.surface = surface
    }

    /// The parameters of decoded `name=value` pairs of an address.
    public init(_ pairs: [(name: String, value: String)], _ surface: Surface) throws(ParameterError) {
        self.surface = surface
        for pair in pairs { try set(pair.name, text: pair.value) }
    }

    /// One parameter of an address.
    public mutating func set(_ name: String, text: String) throws(ParameterError) {
        let rule = try rule(name)
        if name == "category" {
            guard category == nil else { throw Self.repeated(name) }
            if let violation = Rules.vehicleWord.violation(of: name, text) { throw ParameterError(name, violation) }
            category = text
        } else if name == "bbox" {
            // A fifth one is one too many, whatever it is.
            let parts = text.split(separator: ",", maxSplits: 4, omittingEmptySubsequences: false)
            var numbers: [Double] = []
            for part in parts {
                guard let number = Self.number(part) else { throw Self.boxError(text) }
                numbers.append(number)
            }
            try set(name, numbers: numbers)
        } else if let number = Self.number(text[...]) {
            try set(name, number: number)
        } else {
            throw ParameterError(
                name, Rules.sentence(name, is: text.isEmpty ? "empty" : Rules.quoted(text), rule))
        }
    }

    /// A parameter that is one number.
    public mutating func set(_ name: String, number: Double) throws(ParameterError) {
        let rule = try rule(name)
        switch name {
        case "interval_ms":
            guard interval == nil else { throw Self.repeated(name) }
            guard let whole = Int(exactly: number), Self.intervals.contains(whole) else {
                throw ParameterError(name, Rules.sentence(name, is: Rules.text(number), rule))
            }
            interval = whole
        case "lat": try Self.take(&lat, name, number)
        case "lon": try Self.take(&lon, name, number)
        case "radius_m": try Self.take(&radius, name, number)
        case "limit": try Self.take(&limit, name, number)
        case "bbox": throw Self.boxError(Rules.text(number))
        default: throw ParameterError(name, Rules.sentence(name, is: Rules.text(number), rule))
        }
    }

    /// The parameter `bbox`: west, south, east, north.
    public mutating func set(_ name: String, numbers: [Double]) throws(ParameterError) {
        let rule = try rule(name)
        guard name == "bbox" else {
            throw ParameterError(name, "\(name) has several values; it must be \(rule).")
        }
        guard box == nil else { throw Self.repeated(name) }
        guard numbers.count == 4 else { throw Self.boxError(numbers.map(Rules.text).joined(separator: ",")) }
        box = Box(west: numbers[0], south: numbers[1], east: numbers[2], north: numbers[3])
    }

    /// What all parameters together ask for.
    public func query() throws(ParameterError) -> AreaQuery {
        try AreaQuery(lat: lat, lon: lon, radius: radius, box: box, limit: limit)
    }

    // MARK: Words

    /// How "it must be" goes on for a parameter that there is.
    private func rule(_ name: String) throws(ParameterError) -> String {
        // A name that is longer is none of these.
        let short = name.clippedVisibly(to: 40)
        switch short {
        case "lat": return Rules.latitude.words
        case "lon": return Rules.longitude.words
        case "radius_m": return Rules.radius.words
        case "limit": return Rules.limit.words
        case "bbox": return "west,south,east,north"
        case "category" where surface == .list: return Rules.vehicleWord.words
        case "interval_ms" where surface == .live: return Self.intervalWords
        default:
            let more = surface == .live ? "interval_ms" : "category"
            throw ParameterError(
                short, "\(short) is not a parameter here; there are lat, lon, radius_m, bbox, limit and \(more).")
        }
    }

    private static func take(_ target: inout Double?, _ name: String, _ number: Double) throws(ParameterError) {
        guard target == nil else { throw repeated(name) }
        target = number
    }

    private static func repeated(_ name: String) -> ParameterError {
        ParameterError(name, "\(name) is given more than once; give it once.")
    }

    private static func boxError(_ text: String) -> ParameterError {
        ParameterError(
            "bbox", Rules.sentence("bbox", is: Rules.quoted(text), "four numbers: west,south,east,north"))
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
}
