import Bytes
import GRPCRuntime
import ProtobufWire
import RideAPI
import RideDomain

/// Where the feed asks who is free. All on the feed's loop; each completion is called once, later.
protocol AreaSource {
    /// The drivers of many boxes, each with what became of it.
    func listDrivers(
        in areas: [Box], maximumDrivers: Int, _ completion: @escaping (Result<AreasAnswer, RPCError>) -> Void)
    /// Exactly the list of one query.
    func find(_ query: AreaQuery, _ completion: @escaping (Result<FoundAnswer, RPCError>) -> Void)
}

/// The driver service.
struct DriverServiceAreas: AreaSource {
    let client: Driver_V1_DriverServiceClient
    /// Nanoseconds.
    let timeout: UInt64

    func listDrivers(
        in areas: [Box], maximumDrivers: Int, _ completion: @escaping (Result<AreasAnswer, RPCError>) -> Void
    ) {
        let request = Driver_V1_ListDriversInAreasRequest(
            areas: areas.map { Driver_V1_Box($0) }, partial: true,
            maxDriversPerArea: UInt32(clamping: maximumDrivers))
        // The clients' methods, answered as what the feed reads in pieces.
        client.channel.unary(
            "/driver.v1.DriverService/ListDriversInAreas", request,
            options: CallOptions(timeoutNanoseconds: timeout), completion)
    }

    func find(_ query: AreaQuery, _ completion: @escaping (Result<FoundAnswer, RPCError>) -> Void) {
        client.channel.unary(
            "/driver.v1.DriverService/FindAvailableDrivers", Driver_V1_FindAvailableDriversRequest(query),
            options: CallOptions(timeoutNanoseconds: timeout), completion)
    }
}

/// Stands in for `ListDriversInAreasResponse`: drivers are left as they came.
struct AreasAnswer: ProtobufMessage {
    struct Answer: Sendable, Equatable {
        var drivers: [UInt8] = []
        var outcome = Driver_V1_AreaOutcome.unspecified
    }

    var areas: [Answer] = []
    var revision: UInt64 = 0
    var asOf: Google_Protobuf_Timestamp?
    var unknownFields: [UInt8] = []

    static var fullName: String { Driver_V1_ListDriversInAreasResponse.fullName }
    static var fields: [ProtobufField] { Driver_V1_ListDriversInAreasResponse.fields }

    /// It is for reading: what it would write is the empty response.
    var encodedSize: Int { 0 }
    func encode(into buffer: inout ByteBuffer) {}

    mutating func merge(from reader: inout ProtobufReader) throws(ProtobufError) {
        while let tag = try reader.nextTag() {
            switch tag {
            case 10:
                let end = try reader.enter()
                var answer = Answer()
                while let tag = try reader.nextTag() {
                    switch tag {
                    case 10: try reader.keepUnknown(tag, in: &answer.drivers)
                    case 16: answer.outcome = try ProtobufEnumeration<Driver_V1_AreaOutcome>.decode(&reader)
                    default: try reader.skip(tag)
                    }
                }
                reader.leave(end)
                areas.append(answer)
            case 16: revision = try reader.readVarint()
            case 26: try reader.merge(into: &asOf)
            default: try reader.skip(tag)
            }
        }
    }
}

/// Stands in for `FindAvailableDriversResponse`: drivers are left as they came.
struct FoundAnswer: ProtobufMessage {
    var drivers: [UInt8] = []
    var revision: UInt64 = 0
    var asOf: Google_Protobuf_Timestamp?
    var isTruncated = false
    var unknownFields: [UInt8] = []

    static var fullName: String { Driver_V1_FindAvailableDriversResponse.fullName }
    static var fields: [ProtobufField] { Driver_V1_FindAvailableDriversResponse.fields }

    /// It is for reading: what it would write is the empty response.
    var encodedSize: Int { 0 }
    func encode(into buffer: inout ByteBuffer) {}

    mutating func merge(from reader: inout ProtobufReader) throws(ProtobufError) {
        while let tag = try reader.nextTag() {
            switch tag {
            case 10: try reader.keepUnknown(tag, in: &drivers)
            case 16: revision = try reader.readVarint()
            case 26: try reader.merge(into: &asOf)
            case 32: isTruncated = try ProtobufBool.decode(&reader)
            default: try reader.skip(tag)
            }
        }
    }
}
