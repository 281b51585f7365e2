import Bytes
import GRPCRuntime
import ProtobufWire
import RideAPI

/// Every generated message: any bytes are decoded or refused; what was decoded is written and read again without a change.
func fuzzProtobuf(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let type = messages[Int(input.byte()) % messages.count]
    try check(type, input.rest())
}

private func check<Message: ProtobufMessage>(_ type: Message.Type, _ bytes: [UInt8]) throws {
    guard let message = try? Message(decoding: bytes) else { return }
    let written = message.encoded()
    try promise(written.count == message.encodedSize, "\(Message.fullName): \(message.encodedSize) is not its size")
    guard let again = try? Message(decoding: written) else {
        throw BrokenPromise(description: "\(Message.fullName): what was written can't be read")
    }
    // Bytes and not values are compared, because NaN is not equal to itself; sorted, because maps have no order.
    try promise(again.encoded().sorted() == written.sorted(), "\(Message.fullName): written and read, it is another")
}

private let messages: [any ProtobufMessage.Type] = [
    Driver_V1_Driver.self, Driver_V1_RegisterDriverRequest.self, Driver_V1_ListDriversRequest.self,
    Driver_V1_ListDriversResponse.self, Driver_V1_FindAvailableDriversRequest.self,
    Driver_V1_FindAvailableDriversResponse.self, Driver_V1_ListDriversInAreasRequest.self,
    Driver_V1_ListDriversInAreasResponse.self, Driver_V1_UpdateDriverStatusRequest.self,
    Driver_V1_ReportLocationsRequest.self, Driver_V1_ReportLocationsResponse.self, Driver_V1_WatchDriverResponse.self,
    Trip_V1_Trip.self, Trip_V1_CreateTripRequest.self, Trip_V1_ListTripsRequest.self, Trip_V1_ListTripsResponse.self,
    Trip_V1_Alternatives.self, Gateway_V1_Drivers.self, Gateway_V1_DriversDelta.self, Gateway_V1_View.self,
    Gateway_V1_Position.self, Gateway_V1_TripUpdate.self, Gateway_V1_DriverPosition.self, Gateway_V1_Problem.self,
    Google_Protobuf_Any.self, Google_Protobuf_Duration.self, Google_Protobuf_Empty.self,
    Google_Protobuf_FieldMask.self, Google_Protobuf_Struct.self, Google_Protobuf_Value.self,
    Google_Protobuf_ListValue.self, Google_Protobuf_Timestamp.self, Google_Protobuf_DoubleValue.self,
    Google_Protobuf_Int64Value.self, Google_Protobuf_BoolValue.self, Google_Protobuf_StringValue.self,
    Google_Protobuf_BytesValue.self, Google_Rpc_Status.self, Google_Rpc_ErrorInfo.self, Google_Rpc_BadRequest.self,
    Grpc_Health_V1_HealthCheckRequest.self, Grpc_Health_V1_HealthCheckResponse.self,
    Grpc_Reflection_V1_ServerReflectionRequest.self, Grpc_Reflection_V1_ServerReflectionResponse.self,
]
