import Bytes
import ProtobufWire
import RideAPI
import RideDomain

/// A free car as lists show it. Immutable: all loops share it.
final class LiveDriver: Sendable {
    let id: String
    let position: Position
    let cell: GeoCell
    /// Their JSON without `distance_m`.
    let text: [UInt8]
    /// Their message without `distance_m`: equal bytes are an equal driver.
    let message: [UInt8]

    init?(_ message: [UInt8]) {
        guard let driver = try? Driver_V1_Driver(decoding: message) else { return nil }
        position = Position(lat: driver.lat, lon: driver.lon)
        guard position.isValid, driver.hasPosition else { return nil }
        id = driver.id
        cell = GeoCell(position)
        var buffer = ByteBuffer(capacity: 320)
        buffer.appendJSON(driver: driver)
        text = buffer.array()
        self.message = message
    }
}

/// What a unit held when it was fetched last. Immutable: all loops share it.
final class UnitSnapshot: Sendable {
    /// Of a tile by id; of a view of its own in the order of its list.
    let drivers: [LiveDriver]
    /// More match than the view's limit.
    let isTruncated: Bool

    init(_ drivers: [LiveDriver], isTruncated: Bool = false) {
        self.drivers = drivers
        self.isTruncated = isTruncated
    }
}

/// All that a loop knows of a unit.
struct UnitState: Sendable {
    /// nil: it was never answered.
    var snapshot: UnitSnapshot?
    /// The last call for it failed: what there is may be old.
    var isFailing = false
    /// A tile with more drivers than a tile may have: its views must be fetched on their own.
    var isTooFull = false
}

/// The drivers of an answer as they came, read one by one: reading thousands takes more than one turn.
struct DriverFields: Sendable {
    /// Field 1 of the answer, again and again.
    private let bytes: [UInt8]
    private var offset = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// The next driver's message, without its distance. Nil at the end.
    mutating func next(dropsDistance: Bool) -> [UInt8]? {
        guard let range = nextRange() else { return nil }
        guard dropsDistance, let distance = Self.distance(in: bytes.span.extracting(range)) else {
            return [UInt8](bytes[range])
        }
        var message = [UInt8](bytes[range])
        message.removeSubrange(distance..<(distance + Self.distanceCount))
        return message
    }

    /// Takes the next driver if their message is `expected`.
    mutating func take(ifEqual expected: [UInt8]) -> Bool {
        let before = offset
        if let range = nextRange(), range.count == expected.count, bytes[range].elementsEqual(expected) { return true }
        offset = before
        return false
    }

    private mutating func nextRange() -> Range<Int>? {
        guard offset < bytes.count else { return nil }
        var length = 0
        var shift = 0
        var place = offset + 1
        while place < bytes.count && shift < 35 {
            let byte = bytes[place]
            place += 1
            length |= Int(byte & 0x7F) << shift
            shift += 7
            guard byte < 0x80 else { continue }
            guard length <= bytes.count - place else { break }
            offset = place + length
            return place..<offset
        }
        offset = bytes.count
        return nil
    }

    /// Bytes of the field `distance_m`: a tag and a double.
    private static let distanceCount = 9

    /// Where `distance_m` begins.
    private static func distance(in message: Span<UInt8>) -> Int? {
        var reader = ProtobufReader(message)
        var start = 0
        do throws(ProtobufError) {
            while let tag = try reader.nextTag() {
                try reader.skip(tag)
                if tag == 73 { return start }
                start = message.count - reader.remaining
            }
        } catch {
            return nil
        }
        return nil
    }
}
