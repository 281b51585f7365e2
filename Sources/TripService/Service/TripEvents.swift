import Basics
import Bytes
import KafkaClient
import RideAPI
import RideDomain

/// Writes outbox rows as records of `trip_events`, keyed by driver.
final class TripEvents {
    private let producer: KafkaProducer
    private var buffer = ByteBuffer()

    init(producer: KafkaProducer) { self.producer = producer }

    /// False: the producer is full. The record's opaque number is the row's.
    func produce(_ event: OutboxEvent) -> Bool {
        let id = Self.eventID(event)
        buffer.removeAll()
        TripEvent(
            kind: event.kind, eventID: id, seq: event.seq, epoch: event.epoch, at: event.at, trip: event.trip
        ).encode(into: &buffer)
        var headers = [
            KafkaHeader("content-type", "application/json"), KafkaHeader("event-type", event.kind.rawValue),
            KafkaHeader("event-id", id),
        ]
        headers.add(event.trace)
        return unsafe buffer.withUnsafeBytes { bytes in
            unsafe producer.produce(
                topic: TripEvent.topic, key: event.trip.driverID, value: Span(_unsafeBytes: bytes), headers: headers,
                opaque: event.seq)
        }
    }

    /// The same for every sending of the row: a UUIDv7 of its instant, its trip and its number.
    private static func eventID(_ event: OutboxEvent) -> String {
        var trip = FNV1a()
        trip.add(event.trip.id.utf8)
        let hash = trip.value
        return UUIDv7(milliseconds: event.at, random: (hash >> 48, hash ^ event.seq &* 0x9E37_79B9_7F4A_7C15)).text
    }
}
