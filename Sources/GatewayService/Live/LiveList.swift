import Bytes
import JSONWire
import RideAPI
import RideDomain
import WebSockets

/// What a list says beside its drivers.
struct LiveSnapshot: Sendable, Equatable {
    /// The driver service's revision.
    var version: UInt64 = 0
    /// Unix milliseconds at the driver service.
    var asOf: Int64 = 0
    /// The driver service can't be reached: this is the last that is known.
    var isStale = false
}

/// A list as it is sent: one text frame, header and payload contiguous, for everybody who asks the same.
struct LiveList: Sendable {
    let frame: SharedBytes
    /// Where the part begins that counts when two lists are compared: all but `version` and `as_of`.
    private let contentOffset: Int

    /// The exact list of `query`: its circle or box, its order, its limit, made by copying each driver's text.
    /// - Parameter candidates: entries of `cache` among which all of the area are.
    init(_ query: AreaQuery, _ cache: borrowing DriverCache, candidates: some Sequence<Int>, _ snapshot: LiveSnapshot) {
        let (found, truncated) = Self.select(query, cache, candidates)
        var buffer = ByteBuffer(capacity: 160 + found.count * 320)
        FrameWriter.beginFrame(in: &buffer)
        buffer.append("{\"type\":\"drivers\",\"version\":")
        buffer.append(decimal: snapshot.version)
        buffer.appendJSON("as_of", instant: snapshot.asOf)
        let content = buffer.count
        buffer.appendJSON("truncated", bool: truncated)
        if snapshot.isStale { buffer.appendJSON("stale", bool: true) }
        buffer.append(",\"drivers\":[")
        for (position, item) in found.enumerated() {
            if position > 0 { buffer.append(UInt8(ascii: ",")) }
            guard let entry = cache.entries[item.index] else { continue }
            if let distance = item.distance {
                buffer.appendJSON(driverText: entry.text.span, distance: distance)
            } else {
                buffer.append(entry.text)
            }
        }
        buffer.append("]}")
        let before = buffer.count
        FrameWriter.finishFrame(.text, in: &buffer)
        contentOffset = content - (before - buffer.count)
        frame = SharedBytes(buffer)
    }

    /// Whether this list shows what `other` shows: then it is not sent.
    func showsTheSame(as other: LiveList) -> Bool {
        frame.withSpan { mine in
            other.frame.withSpan { theirs in
                let count = mine.count - contentOffset
                guard theirs.count - other.contentOffset == count else { return false }
                for offset in 0..<count where mine[contentOffset + offset] != theirs[other.contentOffset + offset] {
                    return false
                }
                return true
            }
        }
    }

    private struct Found {
        var index: Int
        /// Metres; nil without a position to measure from.
        var distance: Double?
        var rank: Int
    }

    private static func select(
        _ query: AreaQuery, _ cache: borrowing DriverCache, _ candidates: some Sequence<Int>
    ) -> (found: [Found], truncated: Bool) {
        var found: [Found] = []
        for index in candidates {
            guard let entry = cache.entries[index] else { continue }
            switch query.area {
            case .everywhere: found.append(Found(index: index, distance: nil, rank: entry.rank))
            case .box(let box):
                if box.contains(entry.position) { found.append(Found(index: index, distance: nil, rank: entry.rank)) }
            case .around(let center, let radius):
                let distance = center.distance(to: entry.position)
                if distance <= radius ?? .infinity {
                    found.append(Found(index: index, distance: distance, rank: entry.rank))
                }
            }
        }
        found.sort { left, right in
            let (a, b) = (left.distance ?? 0, right.distance ?? 0)
            return a != b ? a < b : left.rank < right.rank
        }
        let truncated = found.count > query.limit
        if truncated { found.removeLast(found.count - query.limit) }
        return (found, truncated)
    }
}
