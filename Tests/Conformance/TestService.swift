import GRPCRuntime
import Reactor

/// `grpc.testing.TestService`, as gRPC's description of its interoperability tests wants it.
final class TestService: Grpc_Testing_TestServiceAsyncHandler {
    typealias OutputRequest = Grpc_Testing_StreamingOutputCallRequest
    typealias OutputResponse = Grpc_Testing_StreamingOutputCallResponse

    static func server(_ loop: EventLoop) -> GRPCServer {
        let registry = ServiceRegistry()
        Grpc_Testing_TestService.register(TestService(), in: registry)
        return GRPCServer(loop: loop, registry: registry)
    }

    func emptyCall(_ request: Grpc_Testing_Empty, _ context: ServerContext) -> Grpc_Testing_Empty { request }

    func unaryCall(
        _ request: Grpc_Testing_SimpleRequest, _ context: ServerContext
    ) throws -> Grpc_Testing_SimpleResponse {
        try check(request.responseStatus)
        return Grpc_Testing_SimpleResponse(payload: try payload(request.responseSize))
    }

    func cacheableUnaryCall(
        _ request: Grpc_Testing_SimpleRequest, _ context: ServerContext
    ) throws -> Grpc_Testing_SimpleResponse {
        let time = Array("\(context.loop.preciseNow())".utf8)
        return Grpc_Testing_SimpleResponse(payload: Grpc_Testing_Payload(body: time))
    }

    func streamingOutputCall(
        _ request: OutputRequest, _ responses: MessageSender<OutputResponse>, _ context: ServerContext
    ) async throws {
        try await answer(request, responses, context)
    }

    func streamingInputCall(
        _ requests: MessageStream<Grpc_Testing_StreamingInputCallRequest>, _ context: ServerContext
    ) async throws -> Grpc_Testing_StreamingInputCallResponse {
        var response = Grpc_Testing_StreamingInputCallResponse()
        for try await request in requests {
            response.aggregatedPayloadSize += Int32(clamping: request.payload?.body.count ?? 0)
        }
        return response
    }

    func fullDuplexCall(
        _ requests: MessageStream<OutputRequest>, _ responses: MessageSender<OutputResponse>, _ context: ServerContext
    ) async throws {
        for try await request in requests { try await answer(request, responses, context) }
    }

    func halfDuplexCall(
        _ requests: MessageStream<OutputRequest>, _ responses: MessageSender<OutputResponse>, _ context: ServerContext
    ) async throws {
        var every: [OutputRequest] = []
        for try await request in requests { every.append(request) }
        for request in every { try await answer(request, responses, context) }
    }

    func unimplementedCall(_ request: Grpc_Testing_Empty, _ context: ServerContext) throws -> Grpc_Testing_Empty {
        throw RPCError(code: .unimplemented, message: "this method is declared, and not there")
    }

    private func answer(
        _ request: OutputRequest, _ responses: MessageSender<OutputResponse>, _ context: ServerContext
    ) async throws {
        try check(request.responseStatus)
        for parameters in request.responseParameters {
            if parameters.intervalUs > 0 { await Self.wait(parameters.intervalUs, on: context.loop) }
            try await responses.send(OutputResponse(payload: try payload(parameters.size)))
        }
    }

    /// Ends the call with the status that the client asks for.
    private func check(_ status: Grpc_Testing_EchoStatus?) throws {
        guard let status, status.code != 0 else { return }
        throw RPCError(code: StatusCode(rawValue: Int(status.code)), message: status.message)
    }

    /// Zeros: they compress well.
    private func payload(_ size: Int32) throws -> Grpc_Testing_Payload {
        guard size >= 0, size <= 64 << 20 else {
            throw RPCError(code: .invalidArgument, message: "no payload has \(size) bytes")
        }
        return Grpc_Testing_Payload(body: Array(repeating: 0, count: Int(size)))
    }

    private static func wait(_ microseconds: Int32, on loop: EventLoop) async {
        await withCheckedContinuation { continuation in
            loop.schedule(after: .microseconds(microseconds)) { continuation.resume() }
        }
    }
}
