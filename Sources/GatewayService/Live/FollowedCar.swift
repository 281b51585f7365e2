import Bytes
import JSONWire
import RideAPI

/// Where a trip's car is.
struct TripPosition: Equatable {
    var lat: Double
    var lon: Double
    var heading: Double?
    var speed: Double?
    /// Unix milliseconds.
    var at: Int64
    /// No newer one has come for a while.
    var isStale = false

    /// Appends `{"lat","lon","heading"?,"speed"?,"at","stale":true?}`.
    func append(to buffer: inout ByteBuffer) {
        buffer.append("{\"lat\":")
        buffer.appendJSON(coordinate: lat)
        buffer.appendJSON("lon", coordinate: lon)
        if let heading { buffer.appendJSON("heading", fixed: heading, decimals: 1) }
        if let speed { buffer.appendJSON("speed", fixed: speed, decimals: 2) }
        buffer.appendJSON("at", instant: at)
        if isStale { buffer.append(",\"stale\":true") }
        buffer.append(UInt8(ascii: "}"))
    }
}

/// A followed car: where it was last, and for how long that may be believed. Pure; time is a parameter.
struct FollowedCar {
    /// Nanoseconds that a position counts as fresh. Reason: apps report every second or two; ten seconds at 50 km/h are
    /// 140 m, and whoever waits at the kerb should know.
    static let freshness: UInt64 = 10_000_000_000

    private(set) var position: TripPosition?
    /// Until when the position counts as fresh, loop nanoseconds.
    private var freshUntil: UInt64 = 0

    /// Takes where the car is. False: that shows nothing new.
    ///
    /// The first position that is heard of may be old: clocks tell how old. Later ones come as they are made, so that no
    /// clock is asked: whoever sets one back or forward makes nobody stale.
    ///
    /// - Parameters:
    ///   - now: nanoseconds of the loop's clock.
    ///   - wall: Unix milliseconds.
    mutating func take(_ update: DriverLocationUpdate, now: UInt64, wall: Int64) -> Bool {
        var next = TripPosition(
            lat: update.lat, lon: update.lon, heading: update.heading, speed: update.speed, at: update.at)
        if let position {
            if update.saysWhere {
                freshUntil = now &+ Self.freshness
            } else {
                next.at = position.at
                next.isStale = position.isStale
            }
        } else {
            let (age, isAbsurd) = wall.subtractingReportingOverflow(update.at)
            let limit = Int64(Self.freshness / 1_000_000)
            let left = isAbsurd ? 0 : limit - min(limit, max(0, age))
            freshUntil = now &+ UInt64(left) &* 1_000_000
            next.isStale = left == 0
        }
        if next == position { return false }
        position = next
        return true
    }

    mutating func markStale() { position?.isStale = true }

    /// Nothing newer has come for too long, and that is still to be said.
    func isDue(now: UInt64) -> Bool { position?.isStale == false && now >= freshUntil }
}

extension DriverLocationUpdate {
    /// A change of status, or of who the driver is, says nothing of where they are.
    fileprivate var saysWhere: Bool {
        switch reason {
        case .location, .registered, nil: true
        case .status, .expired, .profile, .removed: false
        }
    }
}
