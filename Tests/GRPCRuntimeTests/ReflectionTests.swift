import ProtobufWire
import Testing

@testable import GRPCRuntime

/// Server reflection, asked as grpcurl and its like do.
@Suite struct ReflectionTests {
    private typealias Request = Grpc_Reflection_V1_ServerReflectionRequest
    private typealias Response = Grpc_Reflection_V1_ServerReflectionResponse

    /// The names of the files of an answer; nil: the answer is an error.
    private func files(_ world: World, _ question: Request.OneOf_MessageRequest) throws -> [String]? {
        var request = Request()
        request.messageRequest = question
        var answer: Response?
        let call = world.channel.serverStreaming(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", request, onMessage: { answer = $0 },
            onEnd: { _ in })
        defer { call.cancel() }
        guard case .fileDescriptorResponse(let response)? = try #require(world.wait { answer }).messageResponse else {
            return nil
        }
        return try response.fileDescriptorProto.map { try DescriptorPool.File($0).name }
    }

    @Test func theDetailsOfErrorsAreKnown() throws {
        let world = try World()
        let details = ["google/rpc/error_details.proto", "google/protobuf/duration.proto"]
        for name in ["ErrorInfo", "RetryInfo", "BadRequest", "BadRequest.FieldViolation", "RetryInfo.retry_delay"] {
            #expect(try files(world, .fileContainingSymbol("google.rpc." + name)) == details, "\(name)")
        }
        #expect(try files(world, .fileByFilename(details[0])) == details)
        #expect(
            try files(world, .fileContainingSymbol("google.rpc.Status")) == [
                "google/rpc/status.proto", "google/protobuf/any.proto",
            ])
    }

    /// Everything that a file declares has a full name, by which it is found.
    @Test func aSymbolIsWhateverHasAFullName() throws {
        let world = try World()
        let health = ["grpc/health/v1/health.proto"]
        for name in [
            "Health", "Health.Check", "HealthCheckRequest", "HealthCheckRequest.service", "HealthCheckResponse.status",
            "HealthCheckResponse.ServingStatus", "HealthCheckResponse.SERVING",
        ] {
            #expect(try files(world, .fileContainingSymbol("grpc.health.v1." + name)) == health, "\(name)")
        }
        for name in [
            "", "grpc.health.v1", "grpc.health.v1.Nothing", "grpc.health.v1.HealthCheckRequest.nothing",
            "grpc.health.v1.SERVING", "grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING", "SERVING",
        ] {
            #expect(try files(world, .fileContainingSymbol(name)) == nil, "\(name)")
        }
        let oneof = "grpc.reflection.v1.ServerReflectionRequest.message_request"
        #expect(try files(world, .fileContainingSymbol(oneof)) == ["grpc/reflection/v1/reflection.proto"])
    }

    /// Values of an enum that stands in no message are named beside it.
    @Test func valuesOfATopLevelEnumAreInItsPackage() throws {
        // FileDescriptorProto: name "a", package "p", enum_type { name "E", value { name "V" number 0 } }.
        let file: [UInt8] = [
            0x0A, 1, 0x61, 0x12, 1, 0x70, 0x2A, 10, 0x0A, 1, 0x45, 0x12, 5, 0x0A, 1, 0x56, 0x10, 0,
        ]
        var pool = DescriptorPool()
        pool.add(file)
        #expect(pool.fileName(containing: "p.E") == "a" && pool.fileName(containing: "p.V") == "a")
        #expect(pool.fileName(containing: "p.E.V") == nil)
    }
}
