import Bytes
import JSONWire
import ProtobufWire

/// `driver.v1.FindAvailableDriversResponse` as JSON, made while it is read: no `String`, no message for any driver.
///
/// It stands in for the response where a list only passes through: `channel.unary` can be asked for it instead. Reading a
/// driver and writing the JSON costs two thirds of doing both through `Driver_V1_Driver`.
public struct DriverListText: ProtobufMessage {
    /// The drivers, each as `appendJSON(driver:)` writes them, with commas between them.
    public private(set) var drivers: [UInt8] = []
    public private(set) var count = 0
    public private(set) var revision: UInt64 = 0
    public private(set) var asOf: Google_Protobuf_Timestamp?
    public private(set) var truncated = false
    public var unknownFields: [UInt8] = []

    public init() {}

    public static var fullName: String { Driver_V1_FindAvailableDriversResponse.fullName }
    public static var fields: [ProtobufField] { Driver_V1_FindAvailableDriversResponse.fields }

    /// It is for reading: what it would write is the empty response.
    public var encodedSize: Int { 0 }
    public func encode(into buffer: inout ByteBuffer) {}

    public mutating func merge(from reader: inout ProtobufReader) throws(ProtobufError) {
        var text = ByteBuffer(capacity: reader.remaining * 3)
        while let tag = try reader.nextTag() {
            switch tag {
            case 10:
                let end = try reader.enter()
                var driver = DriverParts()
                try driver.read(&reader)
                reader.leave(end)
                if count > 0 || !drivers.isEmpty { text.append(UInt8(ascii: ",")) }
                driver.write(&text, reader)
                count += 1
            case 16: revision = try reader.readVarint()
            case 26: try reader.merge(into: &asOf)
            case 32: truncated = try ProtobufBool.decode(&reader)
            default: try reader.skip(tag)
            }
        }
        drivers += text.array()
    }
}

/// A driver's fields, strings where they lie. The numbers are the tags of driver.proto.
private struct DriverParts {
    private var id = ProtobufText.empty
    private var name = ProtobufText.empty
    private var make = ProtobufText.empty
    private var model = ProtobufText.empty
    private var color = ProtobufText.empty
    private var plate = ProtobufText.empty
    private var category = ProtobufText.empty
    private var lat = 0.0
    private var lon = 0.0
    private var heading: Double?
    private var speed: Double?
    private var distance: Double?
    private var status = Driver_V1_DriverStatus.unspecified
    private var updatedAt = Google_Protobuf_Timestamp()

    mutating func read(_ reader: inout ProtobufReader) throws(ProtobufError) {
        while let tag = try reader.nextTag() {
            switch tag {
            case 10: id = try reader.readText()
            case 18: name = try reader.readText()
            case 26: try readVehicle(&reader)
            case 33: lat = try ProtobufDouble.decode(&reader)
            case 41: lon = try ProtobufDouble.decode(&reader)
            case 49: heading = try ProtobufDouble.decode(&reader)
            case 57: speed = try ProtobufDouble.decode(&reader)
            case 64: status = try ProtobufEnumeration<Driver_V1_DriverStatus>.decode(&reader)
            case 73: distance = try ProtobufDouble.decode(&reader)
            case 82: try reader.merge(into: &updatedAt)
            default: try reader.skip(tag)
            }
        }
    }

    private mutating func readVehicle(_ reader: inout ProtobufReader) throws(ProtobufError) {
        let end = try reader.enter()
        while let tag = try reader.nextTag() {
            switch tag {
            case 10: make = try reader.readText()
            case 18: model = try reader.readText()
            case 26: color = try reader.readText()
            case 34: plate = try reader.readText()
            case 42: category = try reader.readText()
            default: try reader.skip(tag)
            }
        }
        reader.leave(end)
    }

    func write(_ buffer: inout ByteBuffer, _ reader: borrowing ProtobufReader) {
        buffer.append("{\"id\":")
        buffer.appendJSON(utf8: reader.bytes(of: id))
        buffer.append(",\"name\":")
        buffer.appendJSON(utf8: reader.bytes(of: name))
        buffer.append(",\"vehicle\":{\"make\":")
        buffer.appendJSON(utf8: reader.bytes(of: make))
        buffer.append(",\"model\":")
        buffer.appendJSON(utf8: reader.bytes(of: model))
        buffer.append(",\"color\":")
        buffer.appendJSON(utf8: reader.bytes(of: color))
        if !plate.isEmpty {
            buffer.append(",\"plate\":")
            buffer.appendJSON(utf8: reader.bytes(of: plate))
        }
        buffer.append(",\"category\":")
        buffer.appendJSON(utf8: reader.bytes(of: category))
        buffer.append("},\"lat\":")
        buffer.appendJSON(coordinate: lat)
        buffer.append(",\"lon\":")
        buffer.appendJSON(coordinate: lon)
        if let heading { buffer.appendJSON("heading", fixed: heading, decimals: 1) }
        if let speed { buffer.appendJSON("speed", fixed: speed, decimals: 2) }
        buffer.append(",\"status\":\"")
        buffer.append(status.word)
        buffer.append("\"")
        if let distance { buffer.appendJSON("distance_m", fixed: distance, decimals: 1) }
        buffer.append(",\"updated_at\":")
        buffer.appendJSON(instant: updatedAt.unixMilliseconds)
        buffer.endJSONObject()
    }
}
