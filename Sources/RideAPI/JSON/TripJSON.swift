import Bytes
import JSONWire
import ProtobufWire

extension ByteBuffer {
    /// Appends a trip as REST, WebSocket and Kafka show it.
    ///
    ///     {"id","rider_id","driver_id","driver":{"id","name","vehicle"},"status","pickup":{"lat","lon"},
    ///      "dropoff":{"lat","lon"},"created_at","picked_up_at"?,"ended_at"?,"end_reason"?}
    public mutating func appendJSON(trip: Trip_V1_Trip) {
        append("{\"id\":")
        appendJSON(string: trip.id)
        appendJSON("rider_id", string: trip.riderID)
        appendJSON("driver_id", string: trip.driverID)
        append(",\"driver\":{\"id\":")
        appendJSON(string: trip.driver?.id ?? trip.driverID)
        appendJSON("name", string: trip.driver?.name ?? "")
        appendJSON(name: "vehicle")
        appendJSON(vehicle: trip.driver?.vehicle)
        append("},\"status\":\"")
        append(trip.status.word)
        append("\",\"pickup\":")
        appendJSON(place: trip.pickup)
        append(",\"dropoff\":")
        appendJSON(place: trip.dropoff)
        appendJSON("created_at", instant: trip.createdAt?.unixMilliseconds ?? 0)
        if let instant = trip.pickedUpAt { appendJSON("picked_up_at", instant: instant.unixMilliseconds) }
        if let instant = trip.endedAt { appendJSON("ended_at", instant: instant.unixMilliseconds) }
        if let reason = trip.endReason { appendJSON("end_reason", string: reason) }
        endJSONObject()
    }

    /// Appends `{"lat","lon"}`.
    public mutating func appendJSON(place: Trip_V1_Place?) {
        append("{\"lat\":")
        appendJSON(coordinate: place?.lat ?? 0)
        append(",\"lon\":")
        appendJSON(coordinate: place?.lon ?? 0)
        endJSONObject()
    }
}
