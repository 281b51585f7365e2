#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A box of longitudes and latitudes, borders included. `west` greater than `east` crosses the antimeridian.
public struct Box: Hashable, Sendable {
    public var west: Double
    public var south: Double
    public var east: Double
    public var north: Double

    public init(west: Double, south: Double, east: Double, north: Double) {
        self.west = west
        self.south = south
        self.east = east
        self.north = north
    }

    /// The whole Earth.
    public static let everywhere = Box(west: -180, south: -90, east: 180, north: 90)

    /// Whether all four are numbers within their ranges, and the southern border does not lie north of the northern one.
    public var isValid: Bool {
        (-180...180).contains(west) && (-180...180).contains(east) && (-90...90).contains(south)
            && (-90...90).contains(north) && south <= north
    }

    public var crossesAntimeridian: Bool { west > east }

    /// Half way between its borders.
    public var center: Position {
        let lon = (west + east) / 2
        return Position(lat: (south + north) / 2, lon: crossesAntimeridian ? lon + (lon > 0 ? -180 : 180) : lon)
    }

    public func contains(_ position: Position) -> Bool {
        guard position.lat >= south, position.lat <= north else { return false }
        return crossesAntimeridian
            ? position.lon >= west || position.lon <= east
            : position.lon >= west && position.lon <= east
    }

    /// The smallest box around a circle, a little widened so that rounding never cuts off a point of the circle.
    public init(around center: Position, radius metres: Double) {
        let degrees = metres / Position.earthRadius * 180 / .pi * 1.000_001 + 1e-9
        let south = center.lat - degrees
        let north = center.lat + degrees
        guard south > -90, north < 90 else {
            // A pole is inside: every longitude is.
            self.init(west: -180, south: max(-90, south), east: 180, north: min(90, north))
            return
        }
        let ratio = sin(degrees * .pi / 180) / cos(center.lat * .pi / 180)
        guard ratio < 1 else {
            self.init(west: -180, south: south, east: 180, north: north)
            return
        }
        let width = asin(ratio) * 180 / .pi * 1.000_001 + 1e-9
        guard width < 180 else {
            self.init(west: -180, south: south, east: 180, north: north)
            return
        }
        var west = center.lon - width
        var east = center.lon + width
        if west < -180 { west += 360 }
        if east > 180 { east -= 360 }
        self.init(west: west, south: south, east: east, north: north)
    }
}

/// Where drivers are looked for.
public enum Area: Hashable, Sendable {
    /// Everywhere; in the order of ids.
    case everywhere
    /// Everywhere (`radius` nil) or within `radius` metres; nearest first.
    case around(Position, radius: Double?)
    /// In the box; nearest to its centre first.
    case box(Box)

    /// What the drivers are ordered by their distance from; nil: by id.
    public var center: Position? {
        switch self {
        case .everywhere: nil
        case .around(let center, _): center
        case .box(let box): box.center
        }
    }

    public func contains(_ position: Position) -> Bool {
        switch self {
        case .everywhere: true
        case .around(let center, let radius): radius.map { center.distance(to: position) <= $0 } ?? true
        case .box(let box): box.contains(position)
        }
    }
}
