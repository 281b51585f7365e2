import GRPCRuntime
import HTTP2
import ProtobufWire
import Reactor
import ReactorSim
import Testing

/// What goes out because of what came in has a bound.
@Suite struct AnswerBoundTests {
    private func error<Request: ProtobufMessage>(_ world: World, _ path: StaticString, _ request: Request) -> RPCError?
    {
        var result: Result<EchoResponse, RPCError>?
        world.channel.unary(path, request) { result = $0 }
        return world.wait { result }?.error
    }

    @Test func anEchoedPathIsCut() throws {
        let world = try World()
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        for path in ["/" + String(repeating: "%", count: 4000) + "/x", String(repeating: "\"", count: 4000)] {
            let stream = peer.open()
            peer.headers(
                stream,
                [
                    (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
                    ("content-type", "application/grpc"), ("te", "trailers"),
                    ("grpc-timeout", String(repeating: "9", count: 4000)),
                ], endStream: true)
            world.network.run(until: { peer.answers[stream]?.isEnded == true })
            #expect(peer.answers[stream]?.headers["grpc-status"] == "12")
            #expect(peer.answers[stream]?.headers["grpc-message"]?.utf8.count ?? .max < 500)
        }
    }

    @Test func aHandlersMessageIsCutAtACharacter() throws {
        let world = try World()
        let error = try #require(
            world.unary {
                $0.failCode = 9
                $0.failMessage = String(repeating: "ü", count: 1_000_000)
            }?.error)
        #expect(error.code == .failedPrecondition)
        #expect(error.message.hasSuffix("ü…"))
        #expect(error.message.utf8.count < 1024)
        #expect(error.trailers["x-failed"] == "yes")
    }

    @Test func detailsThatFitIntoNoHeaderAreLeftOut() throws {
        let world = try World()
        let error = try #require(
            world.unary {
                $0.failCode = 9
                $0.failMessage = "why"
                $0.failDetails = Array(repeating: 1, count: 100_000)
            }?.error)
        #expect(error.code == .failedPrecondition)
        #expect(error.statusDetails.isEmpty)
        #expect(error.message.hasPrefix("(details left out: 13") && error.message.hasSuffix("why"))
    }

    /// It was one header block of 4 MiB.
    @Test func healthRepeatsNoLongName() throws {
        let world = try World()
        var request = Grpc_Health_V1_HealthCheckRequest()
        request.service = String(repeating: "n", count: 4_000_000)
        let error = error(world, "/grpc.health.v1.Health/Check", request)
        #expect(error?.code == .notFound)
        #expect(error?.message.utf8.count ?? .max < 200)
    }

    @Test func aWatchedNameHasABound() throws {
        let world = try World()
        var request = Grpc_Health_V1_HealthCheckRequest()
        request.service = String(repeating: "n", count: 257)
        #expect(error(world, "/grpc.health.v1.Health/Watch", request)?.code == .invalidArgument)
    }

    @Test func reflectionRepeatsNoLongRequest() throws {
        let world = try World()
        var request = Grpc_Reflection_V1_ServerReflectionRequest()
        request.host = String(repeating: "h", count: 2000)
        let path: StaticString = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        #expect(error(world, path, request)?.code == .invalidArgument)
        request.host = ""
        request.messageRequest = .fileContainingSymbol(String(repeating: "s", count: 900))
        var answer: Grpc_Reflection_V1_ServerReflectionResponse?
        let call = world.channel.serverStreaming(path, request) {
            answer = $0
        } onEnd: { _ in
        }
        let response = try #require(world.wait { answer })
        guard case .errorResponse(let text)? = response.messageResponse else {
            throw RPCError(code: .unknown, message: "")
        }
        #expect(text.errorMessage.utf8.count < 200)
        call.cancel()
    }

    // MARK: Watches of health (section 4)

    @Test func thousandsOfWatchersAreToldInPortions() throws {
        let world = try World()
        let count = 600
        var told = Array(repeating: 0, count: count)
        var last = Array(repeating: HealthService.Status.unknown, count: count)
        var ended = 0
        var calls: [ServerStreamingCall] = []
        var request = Grpc_Health_V1_HealthCheckRequest()
        request.service = "cabstand.test.Echo"
        for index in 0..<count {
            let call = world.channel.serverStreaming("/grpc.health.v1.Health/Watch", request) {
                (response: Grpc_Health_V1_HealthCheckResponse) in
                told[index] += 1
                last[index] = response.status
            } onEnd: { _ in
                ended += 1
            }
            calls.append(call)
        }
        world.network.run(until: { told.allSatisfy { $0 == 1 } })
        #expect(last.allSatisfy { $0 == .serving })
        world.server.health.set(.notServing, for: "cabstand.test.Echo")
        #expect(world.server.health.watcherCount == count)
        // Some go while the others are being told.
        for index in stride(from: 0, to: count, by: 3) { calls[index].cancel() }
        world.network.run(for: .second)
        for index in 0..<count where index % 3 != 0 {
            #expect(told[index] == 2 && last[index] == .notServing)
        }
        #expect(world.server.health.watcherCount == count - 200)
        var drained = false
        world.server.drain { drained = true }
        world.network.run(until: { drained })
        #expect(ended == count)
        #expect(world.server.health.watcherCount == 0)
        #expect(world.server.callCount == 0)
    }
}
