import Bytes
import JSONWire
import ProtobufWire

/// A driver as REST and WebSocket show them.
///
///     {"id","name","vehicle":{…},"lat"?,"lon"?,"heading"?,"speed"?,"status","suspension":{"reason","at"}?,"distance_m"?,
///      "updated_at"?}
///
/// `lat`, `lon` and `updated_at` are there together, unless the reader may not see where the driver is; in a list always.
/// `distance_m` and `updated_at` come last, and the end has always the same length: a cache keeps each driver's text once,
/// and a list that knows distances copies it around them (`appendJSON(driverText:distance:)`).
public enum DriverJSON {
    /// Bytes of `,"updated_at":"2026-11-24T18:40:28.123Z"}`, the end of the text of every driver whose place is shown.
    public static let tailCount = 41
}

extension ByteBuffer {
    /// Appends a driver, with `distance_m` if the message has it.
    public mutating func appendJSON(driver: Driver_V1_Driver) {
        append("{\"id\":")
        appendJSON(string: driver.id)
        appendJSON("name", string: driver.name)
        appendJSON(name: "vehicle")
        appendJSON(vehicle: driver.vehicle)
        let hasPosition = driver.hasPosition
        if hasPosition {
            appendJSON("lat", coordinate: driver.lat)
            appendJSON("lon", coordinate: driver.lon)
        }
        if let heading = driver.heading { appendJSON("heading", fixed: heading, decimals: 1) }
        if let speed = driver.speed { appendJSON("speed", fixed: speed, decimals: 2) }
        append(",\"status\":\"")
        append(driver.status.word)
        append("\"")
        if let suspension = driver.suspension {
            append(",\"suspension\":{\"reason\":")
            appendJSON(string: suspension.reason)
            appendJSON("at", instant: suspension.at?.unixMilliseconds ?? 0)
            append("}")
        }
        if let distance = driver.distanceM { appendJSON("distance_m", fixed: distance, decimals: 1) }
        if hasPosition { appendJSON("updated_at", instant: driver.updatedAt?.unixMilliseconds ?? 0) }
        endJSONObject()
    }

    /// Appends a driver's text that was written without a distance, with `distance` (metres) put in.
    public mutating func appendJSON(driverText text: Span<UInt8>, distance: Double) {
        let head = text.count - DriverJSON.tailCount
        append(text.extracting(0..<head))
        appendJSON("distance_m", fixed: distance, decimals: 1)
        append(text.extracting(head..<text.count))
    }

    /// Appends a vehicle. One that is not known has empty words; a plate that its reader may not see is not there.
    public mutating func appendJSON(vehicle: Driver_V1_Vehicle?) {
        beginJSONObject()
        appendJSON("make", string: vehicle?.make ?? "")
        appendJSON("model", string: vehicle?.model ?? "")
        appendJSON("color", string: vehicle?.color ?? "")
        if let plate = vehicle?.plate, !plate.isEmpty { appendJSON("plate", string: plate) }
        appendJSON("category", string: vehicle?.category ?? "")
        endJSONObject()
    }
}
