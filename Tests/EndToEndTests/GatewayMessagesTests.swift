import TestSupport
import Testing

private let python = Tool.python(importing: ["google.protobuf"])
private let canRead = python != nil && Tool.find("protoc") != nil && Tool.find("curl") != nil

@Suite(
    "What the WebSockets send", .enabled(if: canRead, "needs protoc, curl and Python's protobuf"))
struct GatewayMessagesTests {
    @Test func framesAreTheMessagesOfGatewayProto() throws {
        let folder = TemporaryFolder()
        let protos = Tool.repository + "/Sources/RideAPI/protos"
        let compiled = try ChildProcess.run(
            "protoc",
            [
                "-I\(protos)", "-I\(Tool.repository)/Sources/ProtobufWire/protos", "--include_imports",
                "--descriptor_set_out=\(folder.file("descriptors"))", "gateway/v1/gateway.proto",
            ])
        try #require(compiled.status == 0, "\(compiled.errors)")
        let cabstand = try RunningCabstand()
        let read = try ChildProcess.run(
            try #require(python),
            [
                Tool.repository + "/Tests/EndToEndTests/gateway_messages.py", String(cabstand.port),
                folder.file("descriptors"),
            ], timeout: 120)
        #expect(read.status == 0, "\(read.errors)\n\(cabstand.words.suffix(2000))")
        #expect(
            read.output == "ack=Ack drivers=Drivers error=Error pong=Pong trip=Assignment trip=TripUpdate\n")
    }
}
