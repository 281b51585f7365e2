import Bytes
import JSONWire
import ProtobufWire
import RideAPI

/// What the hot messages cost to write and to read.
enum CodecBenchmarks {
    static func run() {
        let found = Driver_V1_FindAvailableDriversResponse(
            drivers: (0..<100).map(driver), revision: 42,
            asOf: Google_Protobuf_Timestamp(unixMilliseconds: 1_795_545_628_123))
        protobuf(found)
        json(found.drivers)
        event()
    }

    private static func measure(_ name: String, _ count: Int, _ work: () -> Void) {
        MicroBenchmarks.measure(name, count, work)
    }

    private static func driver(_ index: Int) -> Driver_V1_Driver {
        Driver_V1_Driver(
            id: "sim-\(1000 + index)", name: "Ada Lovelace",
            vehicle: Driver_V1_Vehicle(
                make: "Opel", model: "Corsa", color: "blue", plate: "NB-CS 1234", category: "standard"),
            lat: 53.557 + Double(index) / 1000, lon: 13.26, heading: 90, speed: 8.3, status: .available,
            updatedAt: Google_Protobuf_Timestamp(unixMilliseconds: 1_795_545_628_123), present: true)
    }

    private static func protobuf(_ found: Driver_V1_FindAvailableDriversResponse) {
        var buffer = ByteBuffer(capacity: 1 << 16)
        let bytes = found.encoded()
        measure("protobuf: list of 100 drivers written (\(bytes.count) bytes)", 1_000) {
            for _ in 0..<1_000 {
                buffer.removeAll()
                found.encode(into: &buffer)
            }
        }
        measure("protobuf: list of 100 drivers measured", 1_000) {
            for _ in 0..<1_000 { precondition(found.encodedSize == bytes.count) }
        }
        measure("protobuf: list of 100 drivers read", 1_000) {
            for _ in 0..<1_000 {
                let read = try? Driver_V1_FindAvailableDriversResponse(decoding: bytes.span)
                precondition(read?.drivers.count == 100)
            }
        }
        measure("protobuf: list of 100 drivers read as JSON", 1_000) {
            for _ in 0..<1_000 {
                let read = try? DriverListText(decoding: bytes.span)
                precondition(read?.count == 100)
            }
        }
        let report = Driver_V1_ReportLocationsRequest(
            driverID: "sim-0001", lat: 53.5, lon: 13.2, heading: 90, speed: 8,
            at: Google_Protobuf_Timestamp(unixMilliseconds: 1_795_545_628_123)
        ).encoded()
        measure("protobuf: a reported position read", 100_000) {
            for _ in 0..<100_000 {
                let read = try? Driver_V1_ReportLocationsRequest(decoding: report.span)
                precondition(read?.heading == 90)
            }
        }
    }

    private static func json(_ drivers: [Driver_V1_Driver]) {
        var buffer = ByteBuffer(capacity: 1 << 16)
        measure("JSON: a driver written", 100_000) {
            for _ in 0..<1_000 {
                buffer.removeAll()
                for index in drivers.indices { buffer.appendJSON(driver: drivers[index]) }
            }
        }
        let body = Array(
            #"{"rider_id":"r-1","driver_id":"d-1","pickup":{"lat":53.55,"lon":13.26},"dropoff":{"lat":53.56,"lon":13.25}}"#
                .utf8)
        measure("JSON: body of POST /trips read", 100_000) {
            for _ in 0..<100_000 {
                let read = try? RequestBodies.createTrip(body.span)
                precondition(read != nil)
            }
        }
    }

    private static func event() {
        let update = DriverLocationUpdate(
            eventID: "0192f0aa-0000-7000-8000-000000000000", seq: 42, at: 1_795_545_628_123, driverID: "sim-0001",
            lat: 53.557, lon: 13.26, heading: 90, speed: 8.3, status: .available, reason: .location)
        var buffer = ByteBuffer(capacity: 1 << 12)
        measure("event: a location written", 100_000) {
            for _ in 0..<100_000 {
                buffer.removeAll()
                update.encode(into: &buffer)
            }
        }
        let value = buffer.array()
        measure("event: a location read", 100_000) {
            for _ in 0..<100_000 {
                let read = try? RideEvent(decoding: value.span)
                precondition(read != nil)
            }
        }
    }
}
