import GRPCRuntime
import Reactor

/// The cases of streams, in the description's order.
extension InteropClient {
    static let streamCases: [String: @Sendable (InteropClient) throws -> Void] = [
        "client_streaming": { try $0.clientStreaming() },
        "client_compressed_streaming": { try $0.clientCompressedStreaming() },
        "server_streaming": { try $0.serverStreaming() },
        "server_compressed_streaming": { try $0.serverCompressedStreaming() },
        "ping_pong": { try $0.pingPong() },
        "empty_stream": { try $0.emptyStream() },
        "cancel_after_begin": { try $0.cancelAfterBegin() },
        "cancel_after_first_response": { try $0.cancelAfterFirstResponse() },
        "timeout_on_sleeping_server": { try $0.timeoutOnSleepingServer() },
    ]

    private static func input(_ size: Int, expectCompressed: Bool? = nil) -> Grpc_Testing_StreamingInputCallRequest {
        var request = Grpc_Testing_StreamingInputCallRequest(payload: zeros(size))
        request.expectCompressed = expectCompressed.map { Grpc_Testing_BoolValue(value: $0) }
        return request
    }

    private func clientStreaming() throws {
        let call = service.streamingInputCall()
        for size in [27_182, 8, 1828, 45_904] { call.send(Self.input(size)) }
        var result: Result<Grpc_Testing_StreamingInputCallResponse, RPCError>?
        call.finish { result = $0 }
        let sum = try wait("StreamingInputCall") { result }.get().aggregatedPayloadSize
        try expect(sum == 74_922, "the sum is \(sum)")
    }

    private func clientCompressedStreaming() throws {
        var options = CallOptions()
        options.compression = .gzip
        var result: Result<Grpc_Testing_StreamingInputCallResponse, RPCError>?
        let probe = service.streamingInputCall(options: options)
        probe.send(Self.input(27_182, expectCompressed: true), compressed: false)
        probe.finish { result = $0 }
        try expect(
            try wait("StreamingInputCall") { result }.failure, .invalidArgument,
            "a message that is not compressed, and said to be")
        result = nil
        let call = service.streamingInputCall(options: options)
        call.send(Self.input(27_182, expectCompressed: true))
        call.send(Self.input(45_904, expectCompressed: false), compressed: false)
        call.finish { result = $0 }
        let sum = try wait("StreamingInputCall") { result }.get().aggregatedPayloadSize
        try expect(sum == 73_086, "the sum is \(sum)")
    }

    /// What comes of a StreamingOutputCall: sizes, and whether the messages were compressed.
    private func expand(_ request: TestService.OutputRequest) throws -> [(size: Int, isCompressed: Bool)] {
        var answers: [(Int, Bool)] = []
        var end: RPCError??
        var call: ServerStreamingCall?
        call = service.streamingOutputCall(request) { response in
            answers.append((response.payload?.body.count ?? 0, call?.answerWasCompressed == true))
        } onEnd: {
            end = .some($0)
        }
        if let error = try wait("StreamingOutputCall", { end }) { throw error }
        return answers
    }

    private func serverStreaming() throws {
        var request = TestService.OutputRequest()
        for size in [31_415, 9, 2653, 58_979] as [Int32] {
            request.responseParameters += Self.output(size).responseParameters
        }
        let sizes = try expand(request).map(\.size)
        try expect(sizes == [31_415, 9, 2653, 58_979], "the sizes are \(sizes)")
    }

    private func serverCompressedStreaming() throws {
        var request = TestService.OutputRequest()
        request.responseParameters =
            Self.output(31_415, compressed: true).responseParameters
            + Self.output(92_653, compressed: false).responseParameters
        let answers = try expand(request)
        try expect(answers.map(\.size) == [31_415, 92_653], "the sizes are \(answers.map(\.size))")
        try expect(answers.map(\.isCompressed) == [true, false], "compressed are \(answers.map(\.isCompressed))")
    }

    private static let pairs: [(request: Int, response: Int32)] = [
        (27_182, 31_415), (8, 9), (1828, 2653), (45_904, 58_979),
    ]

    private func pingPong() throws {
        let duplex = Duplex(service)
        for (index, pair) in Self.pairs.enumerated() {
            duplex.send(Self.output(pair.response, payload: pair.request))
            let sizes = try wait("answer \(index)") { duplex.sizes.count > index ? duplex.sizes : nil }
            try expect(sizes.count == index + 1 && sizes[index] == Int(pair.response), "the sizes are \(sizes)")
        }
        duplex.finish()
        try expect(try wait("the end") { duplex.end } == nil, "FullDuplexCall has failed")
    }

    private func emptyStream() throws {
        let duplex = Duplex(service)
        duplex.finish()
        try expect(try wait("the end") { duplex.end } == nil, "FullDuplexCall has failed")
        try expect(duplex.sizes.isEmpty, "there are answers: \(duplex.sizes)")
    }

    private func cancelAfterBegin() throws {
        let call = service.streamingInputCall()
        var result: Result<Grpc_Testing_StreamingInputCallResponse, RPCError>?
        call.onEnd = { result = $0 }
        call.cancel()
        try expect(try wait("the end") { result }.failure, .cancelled, "StreamingInputCall")
    }

    private func cancelAfterFirstResponse() throws {
        let duplex = Duplex(service)
        duplex.send(Self.output(31_415, payload: 27_182))
        _ = try wait("the first answer") { duplex.sizes.isEmpty ? nil : true }
        duplex.call?.cancel()
        try expect(try wait("the end") { duplex.end }, .cancelled, "FullDuplexCall")
    }

    private func timeoutOnSleepingServer() throws {
        let duplex = Duplex(service, options: CallOptions(timeout: .milliseconds(1)))
        var request = TestService.OutputRequest()
        request.payload = Self.zeros(27_182)
        duplex.send(request)
        try expect(try wait("the end") { duplex.end }, .deadlineExceeded, "FullDuplexCall")
    }
}
