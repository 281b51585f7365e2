import Bytes
import ProtobufWire

/// `driver.v1.FindAvailableDriversResponse` as it came, cut into parts: each of them is such a response, since messages behind
/// each other are one message, and can be read on its own (`DriverListText`). So a long list need not be read at once.
public struct DriverListParts: ProtobufMessage {
    /// Bytes of a part, at least, but for the last one. Reason: some 300 drivers, read in half a millisecond.
    public static let partBytes = 64 << 10

    /// One at least, once something was read.
    public private(set) var parts: [[UInt8]] = []
    /// Bytes of all parts.
    public var byteCount: Int { parts.reduce(0) { $0 + $1.count } }
    public var unknownFields: [UInt8] = []

    public init() {}

    public static var fullName: String { Driver_V1_FindAvailableDriversResponse.fullName }
    public static var fields: [ProtobufField] { Driver_V1_FindAvailableDriversResponse.fields }

    /// It is for reading: what it would write is the empty response.
    public var encodedSize: Int { 0 }
    public func encode(into buffer: inout ByteBuffer) {}

    public mutating func merge(from reader: inout ProtobufReader) throws(ProtobufError) {
        var part: [UInt8] = []
        while let tag = try reader.nextTag() {
            try reader.keepUnknown(tag, in: &part)
            guard part.count >= Self.partBytes else { continue }
            parts.append(part)
            part = []
        }
        if !part.isEmpty || parts.isEmpty { parts.append(part) }
    }
}
