import Bytes
import JSONWire
import RideAPI
import RideDomain
import WebSockets

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A list as it is sent: one text frame, header and payload contiguous, for everybody who asks the same.
struct LiveList: Sendable {
    let frame: SharedBytes
    /// Drivers that were looked at and written.
    let work: Int
    /// Where the part begins that counts when two lists are compared: all but `version` and `as_of`.
    private let contentOffset: Int

    /// The exact list of `query`: its circle or box, its order, its limit, made by copying each driver's text.
    /// - Parameters:
    ///   - units: what covers the area; every driver is in one of them at most.
    ///   - isExact: they are one, which is the query's own answer.
    init(
        _ query: AreaQuery, _ units: [UnitSnapshot], isExact: Bool, _ snapshot: LiveSnapshot, isStale: Bool
    ) {
        var (found, work) = Self.select(query, units)
        let truncated = found.count > query.limit || (isExact && units.contains(where: \.isTruncated))
        if found.count > query.limit { found.removeLast(found.count - query.limit) }
        var buffer = ByteBuffer(capacity: 160 + found.count * 320)
        FrameWriter.beginFrame(in: &buffer)
        buffer.append("{\"type\":\"drivers\",\"version\":")
        buffer.append(decimal: snapshot.version)
        buffer.appendJSON("as_of", instant: snapshot.asOf)
        let content = buffer.count
        buffer.appendJSON("truncated", bool: truncated)
        if isStale { buffer.appendJSON("stale", bool: true) }
        buffer.append(",\"drivers\":[")
        for (position, item) in found.enumerated() {
            if position > 0 { buffer.append(UInt8(ascii: ",")) }
            let text = units[Int(item.unit)].drivers[Int(item.place)].text
            if query.hasDistances {
                buffer.appendJSON(driverText: text.span, distance: item.distance)
            } else {
                buffer.append(text)
            }
        }
        buffer.append("]}")
        let before = buffer.count
        FrameWriter.finishFrame(.text, in: &buffer)
        contentOffset = content - (before - buffer.count)
        frame = SharedBytes(buffer)
        work += found.count
        self.work = work
    }

    /// Whether this list shows what `other` shows: then it is not sent.
    func showsTheSame(as other: LiveList) -> Bool {
        let count = frame.count - contentOffset
        guard other.frame.count - other.contentOffset == count else { return false }
        return frame.withSpan { mine in
            other.frame.withSpan { theirs in
                unsafe mine.extracting(contentOffset...).withUnsafeBytes { mine in
                    unsafe theirs.extracting(other.contentOffset...).withUnsafeBytes { theirs in
                        guard let mine = mine.baseAddress, let theirs = theirs.baseAddress else {
                            return count == 0
                        }
                        return unsafe memcmp(mine, theirs, count) == 0
                    }
                }
            }
        }
    }

    private struct Found {
        var unit: Int32
        var place: Int32
        /// Metres; 0 without a position to measure from.
        var distance: Double
    }

    private static func select(_ query: AreaQuery, _ units: [UnitSnapshot]) -> (found: [Found], work: Int) {
        var found: [Found] = []
        var work = 0
        for (unit, snapshot) in units.enumerated() {
            work += snapshot.drivers.count
            for (place, driver) in snapshot.drivers.enumerated() {
                var distance = 0.0
                switch query.area {
                case .everywhere: break
                case .box(let box): guard box.contains(driver.position) else { continue }
                case .around(let center, let radius):
                    distance = center.distance(to: driver.position)
                    guard distance <= radius ?? .infinity else { continue }
                }
                found.append(Found(unit: Int32(unit), place: Int32(place), distance: distance))
            }
        }
        if query.hasDistances || units.count > 1 {
            found.sort { left, right in
                if left.distance != right.distance { return left.distance < right.distance }
                let (a, b) = (units[Int(left.unit)].drivers, units[Int(right.unit)].drivers)
                return a[Int(left.place)].id < b[Int(right.place)].id
            }
        }
        return (found, work)
    }
}

extension AreaQuery {
    /// Drivers are ordered by their distance, and show it.
    var hasDistances: Bool { if case .around = area { true } else { false } }
}
