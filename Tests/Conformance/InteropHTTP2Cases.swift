import GRPCRuntime
import Reactor

/// The negative cases of HTTP/2 (gRPC's doc/negative-http2-interop-test-descriptions.md): each with a server that does what its name
/// says, such as peers/http2.py.
extension InteropClient {
    static let http2Cases: [String: @Sendable (InteropClient) throws -> Void] = [
        "goaway": { try $0.goAway() },
        "rst_after_header": { try $0.expectReset() },
        "rst_during_data": { try $0.expectReset() },
        "rst_after_data": { try $0.expectReset() },
        "ping": { try $0.largeUnary() },
        "max_streams": { try $0.maximumStreams() },
        "data_frame_padding": { try $0.largeUnary() },
        "no_df_padding_sanity_test": { try $0.largeUnary() },
    ]

    /// The server goes away behind the first answer: the second call finds another connection.
    private func goAway() throws {
        try largeUnary()
        let second = loop.preciseNow() + 1_000_000_000
        while loop.preciseNow() < second { loop.turn() }
        try largeUnary()
    }

    /// A stream that ends without a status is no success, even when the whole message was there.
    private func expectReset() throws {
        let error = try unary(Self.large()).result.failure
        try expect(error?.code != nil && error?.code != .ok, "the call has succeeded")
        try expect(error, .internal, "RST_STREAM with NO_ERROR")
    }

    /// The server allows one stream: fifteen calls that are made at once take turns.
    private func maximumStreams() throws {
        try largeUnary()
        var results: [Result<Grpc_Testing_SimpleResponse, RPCError>] = []
        for _ in 0..<15 { service.unaryCall(Self.large()) { results.append($0) } }
        let all = try wait("fifteen calls") { results.count == 15 ? results : nil }
        for result in all { try expectLarge(result) }
    }
}
