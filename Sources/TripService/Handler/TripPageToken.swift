import Basics
import RideDomain

/// Where the next page begins, for the caller an opaque text. It is bound to the filter that it was made for: with
/// another one it would skip trips in silence.
///
/// Form: version, filter, instant, id: `1.5f0c….18c….trip-7`, which needs no escaping in a URL.
enum TripPageToken {
    static func text(after trip: Trip, _ filter: TripFilter) -> String {
        "1.\(hex(digest(filter))).\(hex(UInt64(bitPattern: trip.createdAt))).\(trip.id)"
    }

    /// nil: not a token of this service, or made for another filter.
    static func cursor(_ text: String, _ filter: TripFilter) -> TripCursor? {
        let parts = text.split(separator: ".", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "1", UInt64(parts[1], radix: 16) == digest(filter),
            let instant = UInt64(parts[2], radix: 16), Identifier.isWellFormed(String(parts[3]))
        else { return nil }
        return TripCursor(createdAt: Int64(bitPattern: instant), id: String(parts[3]))
    }

    private static func hex(_ value: UInt64) -> String { String(value, radix: 16) }

    /// It catches mistakes, it keeps no secret.
    private static func digest(_ filter: TripFilter) -> UInt64 {
        var hash = FNV1a()
        for part in [filter.riderID, filter.driverID, filter.status?.word] {
            hash.add((part ?? "").utf8)
            hash.add(part == nil ? 0 : 1)
        }
        return hash.value
    }
}
