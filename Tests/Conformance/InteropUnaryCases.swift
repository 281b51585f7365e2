import GRPCRuntime
import Reactor

/// The cases of one message each way, in the description's order.
extension InteropClient {
    static let unaryCases: [String: @Sendable (InteropClient) throws -> Void] = [
        "empty_unary": { try $0.emptyUnary() },
        "cacheable_unary": { try $0.cacheableUnary() },
        "large_unary": { try $0.largeUnary() },
        "client_compressed_unary": { try $0.clientCompressedUnary() },
        "server_compressed_unary": { try $0.serverCompressedUnary() },
        "status_code_and_message": { try $0.statusCodeAndMessage() },
        "special_status_message": { try $0.specialStatusMessage() },
        "unimplemented_method": { try $0.unimplementedMethod() },
        "unimplemented_service": { try $0.unimplementedService() },
        "custom_metadata": { try $0.customMetadata() },
        "concurrent_large_unary": { try $0.concurrentLargeUnary() },
        "rpc_soak": { try $0.soak(newChannels: false) },
        "channel_soak": { try $0.soak(newChannels: true) },
    ]

    static func large() -> Grpc_Testing_SimpleRequest {
        var request = Grpc_Testing_SimpleRequest()
        request.responseSize = 314_159
        request.payload = zeros(271_828)
        return request
    }

    func expectLarge(_ result: Result<Grpc_Testing_SimpleResponse, RPCError>) throws {
        let payload = try result.get().payload
        try expect(payload?.body == Array(repeating: 0, count: 314_159), "the answer is not 314,159 zeros")
    }

    private func emptyUnary() throws {
        var result: Result<Grpc_Testing_Empty, RPCError>?
        service.emptyCall(Grpc_Testing_Empty()) { result = $0 }
        _ = try wait("EmptyCall") { result }.get()
    }

    /// Behind a cache only.
    private func cacheableUnary() throws {
        var request = Grpc_Testing_SimpleRequest()
        request.payload = Grpc_Testing_Payload(body: Array("cacheable".utf8))
        var options = CallOptions()
        options.metadata.add("x-user-ip", "1.2.3.4")
        var answers: [[UInt8]] = []
        for _ in 0..<2 {
            var result: Result<Grpc_Testing_SimpleResponse, RPCError>?
            service.cacheableUnaryCall(request, options: options) { result = $0 }
            answers.append(try wait("CacheableUnaryCall") { result }.get().payload?.body ?? [])
        }
        try expect(answers[0] == answers[1], "the second answer is another: no cache is in front of the server")
    }

    func largeUnary() throws { try expectLarge(try unary(Self.large()).result) }

    private func clientCompressedUnary() throws {
        var request = Self.large()
        request.expectCompressed = Grpc_Testing_BoolValue(value: true)
        var options = CallOptions()
        options.compression = .identity
        try expect(
            try unary(request, options: options).result.failure, .invalidArgument,
            "a message that is not compressed, and said to be")
        options.compression = .gzip
        try expectLarge(try unary(request, options: options).result)
        request.expectCompressed = Grpc_Testing_BoolValue(value: false)
        options.compression = .identity
        try expectLarge(try unary(request, options: options).result)
    }

    private func serverCompressedUnary() throws {
        for isCompressed in [true, false] {
            var request = Self.large()
            request.responseCompressed = Grpc_Testing_BoolValue(value: isCompressed)
            let (result, call) = try unary(request)
            try expectLarge(result)
            try expect(
                call.answerWasCompressed == isCompressed, "the answer is\(isCompressed ? " not" : "") compressed")
        }
    }

    private func statusCodeAndMessage() throws {
        let status = Grpc_Testing_EchoStatus(code: 2, message: "test status message")
        var request = Grpc_Testing_SimpleRequest()
        request.responseStatus = status
        let error = try unary(request).result.failure
        try expect(error, .unknown, "UnaryCall")
        try expect(error?.message == status.message, "the message is \(error?.message ?? "none")")
        let duplex = Duplex(service)
        var output = TestService.OutputRequest()
        output.responseStatus = status
        duplex.send(output)
        duplex.finish()
        let end = try wait("FullDuplexCall") { duplex.end }
        try expect(end, .unknown, "FullDuplexCall")
        try expect(end?.message == status.message, "the message is \(end?.message ?? "none")")
    }

    private func specialStatusMessage() throws {
        let text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
        var request = Grpc_Testing_SimpleRequest()
        request.responseStatus = Grpc_Testing_EchoStatus(code: 2, message: text)
        let error = try unary(request).result.failure
        try expect(error, .unknown, "UnaryCall")
        try expect(error?.message == text, "the message is \(error?.message ?? "none")")
    }

    private func unimplementedMethod() throws {
        var result: Result<Grpc_Testing_Empty, RPCError>?
        service.unimplementedCall(Grpc_Testing_Empty()) { result = $0 }
        try expect(try wait("UnimplementedCall") { result }.failure, .unimplemented, "a method that is not there")
    }

    private func unimplementedService() throws {
        var result: Result<Grpc_Testing_Empty, RPCError>?
        unimplemented.unimplementedCall(Grpc_Testing_Empty()) { result = $0 }
        try expect(try wait("UnimplementedCall") { result }.failure, .unimplemented, "a service that is not there")
    }

    private func customMetadata() throws {
        let trailing: [UInt8] = [0xab, 0xab, 0xab]
        var options = CallOptions()
        options.metadata.add("x-grpc-test-echo-initial", "test_initial_metadata_value")
        options.metadata.add("x-grpc-test-echo-trailing-bin", binary: trailing)
        func check(_ what: String, _ initial: Metadata?, _ trailers: Metadata) throws {
            try expect(
                initial?["x-grpc-test-echo-initial"] == "test_initial_metadata_value",
                "\(what): the initial metadata are \(initial?.entries.map(\.key) ?? [])")
            try expect(
                trailers.entries.contains { $0.key == "x-grpc-test-echo-trailing-bin" && $0.value == trailing },
                "\(what): the trailing metadata are \(trailers.entries.map(\.key))")
        }
        let (result, call) = try unary(Self.large(), options: options)
        try expectLarge(result)
        try check("UnaryCall", call.initialMetadata, call.trailers)
        let duplex = Duplex(service, options: options)
        duplex.send(Self.output(314_159, payload: 271_828))
        duplex.finish()
        try expect(try wait("FullDuplexCall") { duplex.end } == nil, "FullDuplexCall has failed")
        try check("FullDuplexCall", duplex.call?.initialMetadata, duplex.call?.trailers ?? Metadata())
    }

    private func concurrentLargeUnary() throws {
        var results: [Result<Grpc_Testing_SimpleResponse, RPCError>] = []
        for _ in 0..<100 { service.unaryCall(Self.large()) { results.append($0) } }
        for result in try wait("100 calls", { results.count == 100 ? results : nil }) { try expectLarge(result) }
    }

    private func soak(newChannels: Bool) throws {
        for _ in 0..<iterations {
            if newChannels {
                try onNewChannel { try expectLarge(try unary(Self.large(), on: $0).result) }
            } else {
                try largeUnary()
            }
        }
    }
}

extension Result {
    /// Nil: it has succeeded.
    var failure: Failure? { if case .failure(let error) = self { error } else { nil } }
}
