import Telemetry

/// One thing that takes bytes from outside, wrapped so that any bytes may be thrown at it: `run` returns, or says which
/// promise was broken. `deploy/fuzz.sh NAME MINUTES` lets libFuzzer search for such bytes; FuzzTests replays what it found.
public struct FuzzTarget: Sendable {
    public let name: String
    private let body: @Sendable ([UInt8]) throws -> Void

    init(_ name: String, _ body: @escaping @Sendable ([UInt8]) throws -> Void) {
        self.name = name
        self.body = body
    }

    /// - Throws: `BrokenPromise`.
    public func run(_ bytes: [UInt8]) throws { try body(bytes) }

    /// As `run`, and then no gauge of the process may show anything that is left, nor may a turn of a loop have cost the processor
    /// much: for a process that does nothing else.
    public func runAlone(_ bytes: [UInt8]) throws {
        FuzzWorld.measuresTurns.store(true, ordering: .relaxed)
        // A line has the time of the day in it: the same input would cover other code each time.
        LogSink.standard.configure(level: .error, format: .text)
        try body(bytes)
        let gauges = MetricRegistry.shared.forgetAll()
        try promise(gauges.isEmpty, "gauges that are not 0: \(gauges)")
    }

    /// Engines first, then whole servers on the simulated kernel.
    public static let all: [FuzzTarget] = engines + servers

    static let engines = [
        FuzzTarget("http1", fuzzHTTP1),
        FuzzTarget("http1-response", fuzzHTTP1Responses),
        FuzzTarget("websocket", fuzzWebSocketFrames),
        FuzzTarget("hpack", fuzzHPACK),
        FuzzTarget("http2", fuzzHTTP2Session),
        FuzzTarget("protobuf", fuzzProtobuf),
        FuzzTarget("json", fuzzJSON),
        FuzzTarget("text", fuzzText),
        FuzzTarget("events", fuzzEvents),
        FuzzTarget("access-token", fuzzAccessToken),
        FuzzTarget("proxy-header", fuzzProxyHeader),
    ]

    public static let servers = ports + gateways

    private static let ports = [
        FuzzTarget("http-server", fuzzHTTPServer),
        FuzzTarget("http-client", fuzzHTTPClient),
        FuzzTarget("websocket-server", fuzzWebSocketServer),
        FuzzTarget("grpc-server", fuzzGRPCServer),
        FuzzTarget("grpc-client", fuzzGRPCClient),
    ]

    #if TESTABLE
        private static let gateways = [FuzzTarget("gateway", fuzzGateway)]
    #else
        private static let gateways: [FuzzTarget] = []
    #endif
}

/// What an input showed: the promise that does not hold.
public struct BrokenPromise: Error, CustomStringConvertible {
    public let description: String
}

/// Throws `BrokenPromise` unless `condition`.
func promise(_ condition: Bool, _ what: @autoclosure () -> String) throws(BrokenPromise) {
    if !condition { throw BrokenPromise(description: what()) }
}
