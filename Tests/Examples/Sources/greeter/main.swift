// A gRPC service that knows who calls, and its client.
//   greeter serve 50051
//   greeter greet 50051 Ada            one call
//   greeter meet 50051 Ada Alan        a stream of names, a greeting for each as it comes

import GRPCRuntime
import Glibc

/// Who calls, as the interceptor has found out.
struct Caller {
    let name: String
}

/// Lets in who says who they are; health checks and reflection need not.
struct Introduction: ServerInterceptor {
    func intercept(_ call: InterceptedCall) throws(RPCError) {
        guard call.path.hasPrefix("/greeter.") else { return }
        guard let name = call.metadata["caller"] else {
            throw RPCError(code: .unauthenticated, message: "say who you are: metadata caller")
        }
        call.attach(Caller(name: name))
    }
}

/// Says who calls, with each call of a channel.
struct Signature: ClientInterceptor {
    let name: String

    func intercept(_ path: StaticString, _ options: inout CallOptions) { options.metadata.add("caller", name) }
}

final class Greeter: Greeter_V1_GreeterAsyncHandler {
    func greet(
        _ request: Greeter_V1_GreetRequest, _ context: ServerContext
    ) async throws -> Greeter_V1_GreetResponse {
        guard !request.name.isEmpty else { throw RPCError(code: .invalidArgument, message: "name is empty") }
        let caller = context[Caller.self]?.name ?? "nobody"
        return Greeter_V1_GreetResponse(text: "Hello, \(request.name), from \(caller)!")
    }

    func meet(
        _ requests: MessageStream<Greeter_V1_MeetRequest>, _ responses: MessageSender<Greeter_V1_MeetResponse>,
        _ context: ServerContext
    ) async throws {
        while let request = try await requests.next() {
            try await responses.send(Greeter_V1_MeetResponse(text: "Nice to meet you, \(request.name)."))
        }
    }
}

/// Serves until it is told to end.
func serve(_ port: UInt16) -> Int32 {
    Server.run(at: .loopback(port: port)) { registry, _ in
        Greeter_V1_Greeter.register(Greeter(), in: registry)
    } interceptors: { _ in
        [Introduction()]
    } ready: {
        print("port \($0.port)")
    }
}

/// Makes calls on a loop of their own.
func call(_ port: UInt16, _ work: @escaping @Sendable (Greeter_V1_GreeterClient) async throws(RPCError) -> Void) throws
{
    let loop = try EventLoop()
    loop.spawn {
        var options = ChannelOptions()
        options.interceptors = [Signature(name: "Grace")]
        let channel = GRPCChannel(loop: loop, target: "127.0.0.1:\(port)", options: options)
        do throws(RPCError) {
            try await work(Greeter_V1_GreeterClient(channel: channel))
        } catch {
            print("\(error.code): \(error.message)")
        }
        channel.close()
        loop.stop()
    }
    loop.run()
}

/// Asks for one greeting.
func greet(_ name: String, _ port: UInt16) throws {
    try call(port) { greeter throws(RPCError) in
        let answer = try await greeter.greet(
            Greeter_V1_GreetRequest(name: name), options: CallOptions(timeout: .seconds(5)))
        print(answer.text)
    }
}

/// Introduces people one after the other on one call.
func meet(_ names: [String], _ port: UInt16) throws {
    try call(port) { greeter throws(RPCError) in
        let (requests, responses) = greeter.meet(options: CallOptions(timeout: .seconds(5)))
        for name in names {
            try await requests.send(Greeter_V1_MeetRequest(name: name))
            if let answer = try await responses.next() { print(answer.text) }
        }
        requests.finish()
        _ = try await responses.next()
    }
}

let arguments = CommandLine.arguments
let names = Array(arguments.dropFirst(3))
switch (arguments.dropFirst().first, arguments.count > 2 ? UInt16(arguments[2]) : nil) {
case ("serve", let port?): exit(serve(port))
case ("greet", let port?): try greet(names.joined(separator: " "), port)
case ("meet", let port?): try meet(names, port)
default: print("usage: greeter serve PORT | greeter greet PORT NAME | greeter meet PORT NAME…")
}
