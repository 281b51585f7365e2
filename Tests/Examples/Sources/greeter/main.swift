// A gRPC service and its client.
//   greeter serve 50051
//   greeter greet 50051 ada

import GRPCRuntime
import Glibc

final class Greeter: Greeter_V1_GreeterHandler {
    func greet(_ request: Greeter_V1_GreetRequest, _ call: UnaryServerCall<Greeter_V1_GreetResponse>) {
        guard !request.name.isEmpty else { return call.fail(.init(code: .invalidArgument, message: "name is empty")) }
        call.respond(Greeter_V1_GreetResponse(text: "Hello, \(request.name)!"))
    }
}

/// Serves until it is told to end.
func serve(_ port: UInt16) -> Int32 {
    Server.run(at: .loopback(port: port)) { registry, _ in
        Greeter_V1_Greeter.register(Greeter(), in: registry)
    } ready: {
        print("port \($0.port)")
    }
}

/// Asks for one greeting.
func greet(_ name: String, _ port: UInt16) throws {
    let loop = try EventLoop()
    loop.spawn {
        let channel = GRPCChannel(loop: loop, target: "127.0.0.1:\(port)")
        let greeter = Greeter_V1_GreeterClient(channel: channel)
        do throws(RPCError) {
            let answer = try await greeter.greet(
                Greeter_V1_GreetRequest(name: name), options: CallOptions(timeout: .seconds(5)))
            print(answer.text)
        } catch {
            print("\(error.code): \(error.message)")
        }
        channel.close()
        loop.stop()
    }
    loop.run()
}

let arguments = CommandLine.arguments
switch (arguments.dropFirst().first, arguments.count > 2 ? UInt16(arguments[2]) : nil) {
case ("serve", let port?): exit(serve(port))
case ("greet", let port?): try greet(arguments.dropFirst(3).joined(separator: " "), port)
default: print("usage: greeter serve PORT | greeter greet PORT NAME")
}
