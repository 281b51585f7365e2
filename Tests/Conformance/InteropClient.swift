import GRPCRuntime
import Reactor

/// What a case has found to be otherwise than the description says.
struct InteropFailure: Error {
    let text: String
}

/// Calls a `grpc.testing.TestService`, whoever's it is, by the command line that gRPC's interoperability tests have:
///
///     conformance grpc-client --server_host=H --server_port=N --test_case=NAME [--use_tls=true [--ca_file=FILE]
///         [--server_host_override=NAME]] [--soak_iterations=N]
final class InteropClient {
    typealias Service = Grpc_Testing_TestServiceClient
    let service: Service
    let unimplemented: Grpc_Testing_UnimplementedServiceClient
    let iterations: Int
    let loop: EventLoop
    private let channel: GRPCChannel
    private let makeChannel: () -> GRPCChannel

    init(_ options: CommandOptions) throws {
        let loop = try EventLoop()
        let host = options.text("server_host") ?? "localhost"
        let target = "\(host.contains(":") ? "[\(host)]" : host):\(options.text("server_port") ?? "50051")"
        var channelOptions = ChannelOptions()
        channelOptions.acceptsCompression = true
        if options.flag("use_tls") {
            let name = options.text("server_host_override")
            channelOptions.tls = try TLSClientContext(serverName: name, trustedPath: options.text("ca_file"))
            channelOptions.authority = name
        }
        self.loop = loop
        makeChannel = { [channelOptions] in GRPCChannel(loop: loop, target: target, options: channelOptions) }
        channel = makeChannel()
        service = Service(channel: channel)
        unimplemented = Grpc_Testing_UnimplementedServiceClient(channel: channel)
        iterations = options.number("soak_iterations") ?? 10
        // Nothing here waits for ever, and a loop without timers sleeps.
        _ = loop.schedule(every: 20_000_000) {}
    }

    /// Runs one case. Throws an `InteropFailure` if it has failed.
    static func run(_ options: CommandOptions) throws {
        let name = options.text("test_case") ?? ""
        guard let test = cases[name] else {
            throw InteropFailure(text: "no case \"\(name)\"; there are \(cases.keys.sorted().joined(separator: " "))")
        }
        let client = try InteropClient(options)
        try test(client)
        client.channel.close()
        for _ in 0..<3 { client.loop.turn() }
    }

    static let cases: [String: @Sendable (InteropClient) throws -> Void] = unaryCases.merging(streamCases) { first, _ in
        first
    }.merging(http2Cases) { first, _ in first }

    // MARK: What cases are written with

    /// Turns the loop until `value` is there; for a minute.
    func wait<Value>(_ what: String, _ value: () -> Value?) throws -> Value {
        let limit = loop.preciseNow() + 60_000_000_000
        while loop.preciseNow() < limit {
            if let value = value() { return value }
            loop.turn()
        }
        throw InteropFailure(text: "\(what): nothing within a minute")
    }

    func expect(_ isTrue: Bool, _ what: String) throws {
        if !isTrue { throw InteropFailure(text: what) }
    }

    func expect(_ error: RPCError?, _ code: StatusCode, _ what: String) throws {
        try expect(error?.code == code, "\(what): \(error.map { "\($0)" } ?? "OK") instead of \(code)")
    }

    /// With a channel of its own, which is closed afterwards.
    func onNewChannel(_ body: (Service) throws -> Void) throws {
        let channel = makeChannel()
        defer { channel.close() }
        try body(Service(channel: channel))
    }

    static func zeros(_ count: Int) -> Grpc_Testing_Payload {
        Grpc_Testing_Payload(body: Array(repeating: 0, count: count))
    }

    static func output(_ size: Int32, payload: Int? = nil, compressed: Bool? = nil) -> TestService.OutputRequest {
        var parameters = Grpc_Testing_ResponseParameters()
        parameters.size = size
        parameters.compressed = compressed.map { Grpc_Testing_BoolValue(value: $0) }
        var request = TestService.OutputRequest()
        request.responseParameters = [parameters]
        request.payload = payload.map(zeros)
        return request
    }

    /// A unary call to its end.
    func unary(
        _ request: Grpc_Testing_SimpleRequest, options: CallOptions = CallOptions(), on other: Service? = nil
    ) throws -> (result: Result<Grpc_Testing_SimpleResponse, RPCError>, call: UnaryCall) {
        var result: Result<Grpc_Testing_SimpleResponse, RPCError>?
        let call = (other ?? service).unaryCall(request, options: options) { result = $0 }
        return (try wait("UnaryCall") { result }, call)
    }
}

/// A conversation of FullDuplexCall.
final class Duplex {
    private(set) var sizes: [Int] = []
    private(set) var end: RPCError??
    private(set) var call: BidirectionalCall<TestService.OutputRequest>?

    init(_ service: InteropClient.Service, options: CallOptions = CallOptions()) {
        call = service.fullDuplexCall(options: options) { [unowned self] response in
            sizes.append(response.payload?.body.count ?? 0)
        } onEnd: { [self] in
            end = .some($0)
        }
    }

    func send(_ request: TestService.OutputRequest) { call?.send(request) }
    func finish() { call?.finish() }
}
