import Bytes
import ProtobufWire
import RideAPI
import RideDomain

/// Encodes lists of drivers: the bytes of `FindAvailableDriversResponse` and `ListDriversInAreasResponse`, without a message
/// for each driver.
///
/// Who a driver is hardly ever changes, so it is encoded once; a list copies it and puts what does change behind it. (Messages
/// behind each other are one message, says the encoding; and as the fields come in their order, these are the very bytes
/// that the whole message would have.) On the loop.
struct DriverListEncoder: ~Copyable {
    /// Bytes of memory kept for the next list. Reason: one huge list should not stay for ever.
    private static let keptBytes = 1 << 20
    /// Field 1 (`drivers`, `areas`) as a message.
    private static let firstField: UInt8 = 1 << 3 | 2

    private let view: DriverView
    /// By slot: the fields of `Driver_V1_Driver` that say who it is; empty until they were needed.
    private var profiles: [[UInt8]] = []
    /// The registry's stamp of profiles that they were made at.
    private var profileStamp: UInt64 = 0
    private var output = ByteBuffer()

    /// - Parameter view: how much of the drivers' profiles the readers may see.
    init(_ view: DriverView) { self.view = view }

    /// Hands over the encoded `response`, which has no drivers yet, with these in front of its other fields. What would
    /// be more than a message can hold is cut off, and the response says so.
    mutating func encode(
        _ found: [FoundDriver], of registry: borrowing DriverRegistry,
        _ response: Driver_V1_FindAvailableDriversResponse, maximumBytes: Int = DriverLimits.listBytes,
        _ body: (Span<UInt8>) -> Void
    ) {
        output.removeAll()
        var response = response
        var list = ByteBuffer()
        swap(&list, &output)
        if !append(found[...], of: registry, to: &list, maximumBytes: maximumBytes) { response.truncated = true }
        response.encode(into: &list)
        swap(&list, &output)
        handOver(body)
    }

    /// Adds a part of a list to `output`. False: the rest would make it longer than `maximumBytes`, and is left out.
    mutating func append(
        _ found: ArraySlice<FoundDriver>, of registry: borrowing DriverRegistry, to output: inout ByteBuffer,
        maximumBytes: Int = DriverLimits.listBytes
    ) -> Bool {
        for driver in found {
            let end = output.count
            append(driver.slot, registry, distance: driver.distance, to: &output)
            if output.count > maximumBytes {
                output.truncate(to: end)
                return false
            }
        }
        return true
    }

    /// Begins an answer about areas.
    mutating func beginAreas() { output.removeAll() }

    /// Adds an area with its drivers. False: the answer would be longer than `maximumBytes`, and is as it was before.
    mutating func appendArea(_ slots: [Int32], of registry: borrowing DriverRegistry, maximumBytes: Int) -> Bool {
        let begin = output.count
        var areas = ByteBuffer()
        swap(&areas, &output)
        defer { swap(&areas, &output) }
        areas.append(Self.firstField)
        areas.append(0)
        let start = areas.count
        for slot in slots {
            append(slot, registry, distance: nil, to: &areas)
            if areas.count > maximumBytes {
                areas.truncate(to: begin)
                return false
            }
        }
        areas.setProtobufLength(before: start)
        return true
    }

    /// Adds an area without drivers, and why it has none.
    mutating func appendArea(_ outcome: Driver_V1_AreaOutcome) {
        let area = Driver_V1_DriversInArea(outcome: outcome)
        output.append(Self.firstField)
        output.append(varint: UInt64(area.encodedSize))
        area.encode(into: &output)
    }

    /// Hands over the encoded `response`, which has no areas yet, with those that were added in front.
    mutating func endAreas(_ response: Driver_V1_ListDriversInAreasResponse, _ body: (Span<UInt8>) -> Void) {
        response.encode(into: &output)
        handOver(body)
    }

    private mutating func handOver(_ body: (Span<UInt8>) -> Void) {
        body(output.span)
        if output.capacity > Self.keptBytes { output.release() }
    }

    private mutating func append(
        _ slot: Int32, _ registry: borrowing DriverRegistry, distance: Double?, to output: inout ByteBuffer
    ) {
        let driver = registry[slot]
        if profileStamp != registry.profileStamp {
            profiles = []
            profileStamp = registry.profileStamp
        }
        if profiles.count < registry.slotCount {
            profiles += repeatElement([], count: registry.slotCount - profiles.count)
        }
        if profiles[Int(slot)].isEmpty {
            profiles[Int(slot)] = Driver_V1_Driver(driver.profile.seen(as: view)).encoded()
        }
        let state = Driver_V1_Driver(stateOf: driver, distance: distance, seenAs: view)
        let profile = profiles[Int(slot)]
        output.append(Self.firstField)
        output.append(varint: UInt64(profile.count + state.encodedSize))
        output.append(profile)
        state.encode(into: &output)
    }
}
