import ProtobufWire

/// Server reflection: lets grpcurl and its like call a server without its `.proto` files. Versions v1 and v1alpha have the
/// same messages under two names.
enum ReflectionService {
    private typealias Request = Grpc_Reflection_V1_ServerReflectionRequest
    private typealias Response = Grpc_Reflection_V1_ServerReflectionResponse

    static func register(in registry: ServiceRegistry) {
        // Of what stands in `grpc-status-details-bin`, which no service imports: without them a caller sees bytes.
        for file in [ProtobufFile.google_rpc_status, .google_rpc_error_details].flatMap(\.withDependencies) {
            registry.addDescriptor(file.descriptor)
        }
        let versions: [(String, ProtobufFile)] = [
            ("grpc.reflection.v1.ServerReflection", .grpc_reflection_v1_reflection),
            ("grpc.reflection.v1alpha.ServerReflection", .grpc_reflection_v1alpha_reflection),
        ]
        for (service, file) in versions where !registry.serviceNames.contains(service) {
            registry.addDescriptor(file.descriptor)
            registry.bidirectional(service: service, method: "ServerReflectionInfo") {
                [unowned registry] (call: BidirectionalServerCall<Request, Response>) in
                // What is registered when a call begins does not change while it runs.
                let pool = registry.descriptors
                let services = registry.serviceNames.sorted()
                call.onMessage = { [unowned call] request in
                    guard request.encodedSize <= GRPCLimits.maximumReflectionRequest else {
                        return call.fail(
                            RPCError(
                                code: .invalidArgument,
                                message: "a request has at most \(GRPCLimits.maximumReflectionRequest) bytes"))
                    }
                    call.send(answer(request, pool, services))
                }
                call.onEnd = { [unowned call] in call.finish() }
            }
        }
    }

    private static func answer(_ request: Request, _ pool: DescriptorPool, _ services: [String]) -> Response {
        var response = Response()
        response.validHost = request.host
        response.originalRequest = request
        switch request.messageRequest {
        case .fileByFilename(let name)?:
            response.messageResponse = files(pool.closure(of: name), "file \(name.clipped) is not known")
        case .fileContainingSymbol(let symbol)?:
            response.messageResponse = files(
                pool.fileName(containing: symbol).flatMap(pool.closure), "symbol \(symbol.clipped) is not known")
        case .fileContainingExtension(let query)?:
            let name = pool.fileName(extending: query.containingType, number: query.extensionNumber)
            response.messageResponse = files(
                name.flatMap(pool.closure),
                "extension \(query.extensionNumber) of \(query.containingType.clipped) is not known")
        case .allExtensionNumbersOfType(let type)?:
            if pool.fileName(containing: type) == nil {
                response.messageResponse = error(.notFound, "type \(type.clipped) is not known")
            } else {
                var numbers = Grpc_Reflection_V1_ExtensionNumberResponse()
                numbers.baseTypeName = type
                numbers.extensionNumber = pool.extensionNumbers(of: type)
                response.messageResponse = .allExtensionNumbersResponse(numbers)
            }
        case .listServices?:
            var list = Grpc_Reflection_V1_ListServiceResponse()
            list.service = services.map { name in
                var service = Grpc_Reflection_V1_ServiceResponse()
                service.name = name
                return service
            }
            response.messageResponse = .listServicesResponse(list)
        case nil:
            response.messageResponse = error(.invalidArgument, "the request asks for nothing that is known here")
        }
        return response
    }

    private static func files(_ files: [[UInt8]]?, _ problem: String) -> Response.OneOf_MessageResponse {
        guard let files else { return error(.notFound, problem) }
        var response = Grpc_Reflection_V1_FileDescriptorResponse()
        response.fileDescriptorProto = files
        return .fileDescriptorResponse(response)
    }

    private static func error(_ code: StatusCode, _ message: String) -> Response.OneOf_MessageResponse {
        var response = Grpc_Reflection_V1_ErrorResponse()
        response.errorCode = Int32(code.rawValue)
        response.errorMessage = message
        return .errorResponse(response)
    }
}
