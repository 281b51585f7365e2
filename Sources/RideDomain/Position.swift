#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A point on the Earth: WGS 84 degrees.
public struct Position: Hashable, Sendable {
    /// Degrees, −90…90.
    public var lat: Double
    /// Degrees, −180…180.
    public var lon: Double

    public init(lat: Double, lon: Double) {
        self.lat = lat
        self.lon = lon
    }

    /// Both coordinates are numbers within their ranges.
    public var isValid: Bool { (-90...90).contains(lat) && (-180...180).contains(lon) }

    /// The same point with six decimals (0.1 m), which is what the outside sees.
    public var rounded: Position {
        Position(lat: (lat * 1e6).rounded() / 1e6, lon: (lon * 1e6).rounded() / 1e6)
    }

    /// Mean radius of the Earth in metres.
    public static let earthRadius = 6_371_008.8

    /// Metres along the great circle (haversine on the mean radius: within 0.5 % of the ellipsoid).
    public func distance(to other: Position) -> Double {
        let toRadians = Double.pi / 180
        let sinLat = sin((other.lat - lat) * toRadians / 2)
        let sinLon = sin((other.lon - lon) * toRadians / 2)
        let half = sinLat * sinLat + cos(lat * toRadians) * cos(other.lat * toRadians) * sinLon * sinLon
        return 2 * Self.earthRadius * asin(min(1, half.squareRoot()))
    }

    /// Degrees clockwise from north, 0..<360, of the way to `other` where it begins.
    public func bearing(to other: Position) -> Double {
        let toRadians = Double.pi / 180
        let difference = (other.lon - lon) * toRadians
        let y = sin(difference) * cos(other.lat * toRadians)
        let x =
            cos(lat * toRadians) * sin(other.lat * toRadians) - sin(lat * toRadians) * cos(other.lat * toRadians)
            * cos(difference)
        let degrees = atan2(y, x) / toRadians
        let bearing = degrees < 0 ? degrees + 360 : degrees
        return bearing < 360 ? bearing : 0
    }
}

/// A position as a point on the unit sphere: the straight distance between two of them orders like the distance on the
/// ground and costs three multiplications.
struct UnitVector: Equatable {
    let x: Double
    let y: Double
    let z: Double

    init(_ position: Position) {
        let lat = position.lat * .pi / 180
        let lon = position.lon * .pi / 180
        x = cos(lat) * cos(lon)
        y = cos(lat) * sin(lon)
        z = sin(lat)
    }

    /// The square of the straight distance, in squared Earth radii (0…4).
    @inline(__always)
    func squaredChord(to other: UnitVector) -> Double {
        let dx = x - other.x
        let dy = y - other.y
        let dz = z - other.z
        return dx * dx + dy * dy + dz * dz
    }

    /// Metres on the ground for a squared chord.
    static func metres(squaredChord: Double) -> Double {
        2 * Position.earthRadius * asin(min(1, squaredChord.squareRoot() / 2))
    }

    /// The squared chord for metres on the ground; beyond half the circumference everything is inside.
    static func squaredChord(metres: Double) -> Double {
        let half = metres / (2 * Position.earthRadius)
        guard half < .pi / 2 else { return 4.0001 }
        let chord = 2 * sin(half)
        return chord * chord
    }
}
