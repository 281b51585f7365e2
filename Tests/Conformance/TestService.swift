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

    func emptyCall(_ request: Grpc_Testing_Empty, _ context: ServerContext) -> Grpc_Testing_Empty {
        begin(context)
        return request
    }

    func unaryCall(
        _ request: Grpc_Testing_SimpleRequest, _ context: ServerContext
    ) throws -> Grpc_Testing_SimpleResponse {
        begin(context, compressed: request.responseCompressed?.value == true)
        try check(request.expectCompressed, context)
        try check(request.responseStatus)
        return Grpc_Testing_SimpleResponse(payload: try payload(request.responseSize))
    }

    /// The time, which a second call must not see while a cache has the first one's.
    func cacheableUnaryCall(
        _ request: Grpc_Testing_SimpleRequest, _ context: ServerContext
    ) throws -> Grpc_Testing_SimpleResponse {
        var metadata = Metadata()
        metadata.add("cache-control", "public, max-age=60")
        context.sendHeaders(metadata)
        let time = Array("\(context.loop.preciseNow())".utf8)
        return Grpc_Testing_SimpleResponse(payload: Grpc_Testing_Payload(body: time))
    }

    func streamingOutputCall(
        _ request: OutputRequest, _ responses: MessageSender<OutputResponse>, _ context: ServerContext
    ) async throws {
        begin(context, compressed: Self.wantsCompression(request))
        try await answer(request, responses, context)
    }

    func streamingInputCall(
        _ requests: MessageStream<Grpc_Testing_StreamingInputCallRequest>, _ context: ServerContext
    ) async throws -> Grpc_Testing_StreamingInputCallResponse {
        begin(context)
        var response = Grpc_Testing_StreamingInputCallResponse()
        for try await request in requests {
            try check(request.expectCompressed, context)
            response.aggregatedPayloadSize += Int32(clamping: request.payload?.body.count ?? 0)
        }
        return response
    }

    func fullDuplexCall(
        _ requests: MessageStream<OutputRequest>, _ responses: MessageSender<OutputResponse>, _ context: ServerContext
    ) async throws {
        for try await request in requests {
            // Only the first has an effect.
            begin(context, compressed: Self.wantsCompression(request))
            try await answer(request, responses, context)
        }
    }

    func halfDuplexCall(
        _ requests: MessageStream<OutputRequest>, _ responses: MessageSender<OutputResponse>, _ context: ServerContext
    ) async throws {
        var every: [OutputRequest] = []
        for try await request in requests { every.append(request) }
        begin(context, compressed: every.contains(where: Self.wantsCompression))
        for request in every { try await answer(request, responses, context) }
    }

    func unimplementedCall(_ request: Grpc_Testing_Empty, _ context: ServerContext) throws -> Grpc_Testing_Empty {
        throw RPCError(code: .unimplemented, message: "this method is declared, and not there")
    }

    // MARK: What the methods share

    /// Returns the metadata that the client wants to see again, and begins a compressed answer.
    private func begin(_ context: ServerContext, compressed: Bool = false) {
        var metadata = Metadata()
        for entry in context.metadata.entries {
            if entry.key == "x-grpc-test-echo-initial" { metadata.add(entry.key, entry.text) }
            if entry.key == "x-grpc-test-echo-trailing-bin", context.trailers.isEmpty {
                context.trailers.add(entry.key, binary: entry.value)
            }
        }
        guard compressed || !metadata.isEmpty else { return }
        context.sendHeaders(metadata, compression: compressed ? .gzip : .identity)
    }

    private static func wantsCompression(_ request: OutputRequest) -> Bool {
        request.responseParameters.contains { $0.compressed?.value == true }
    }

    private func answer(
        _ request: OutputRequest, _ responses: MessageSender<OutputResponse>, _ context: ServerContext
    ) async throws {
        try check(request.responseStatus)
        for parameters in request.responseParameters {
            if parameters.intervalUs > 0 { await Self.wait(parameters.intervalUs, on: context.loop) }
            try await responses.send(
                OutputResponse(payload: try payload(parameters.size)), compressed: parameters.compressed?.value ?? false
            )
        }
    }

    /// Ends the call with the status that the client asks for.
    private func check(_ status: Grpc_Testing_EchoStatus?) throws {
        guard let status, status.code != 0 else { return }
        throw RPCError(code: StatusCode(rawValue: Int(status.code)), message: status.message)
    }

    /// The client says how the message should have come.
    private func check(_ isExpected: Grpc_Testing_BoolValue?, _ context: ServerContext) throws {
        guard let isExpected, isExpected.value, !context.requestWasCompressed else { return }
        throw RPCError(code: .invalidArgument, message: "the message was not compressed")
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
