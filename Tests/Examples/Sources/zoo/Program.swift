// A service that was generated from someone else's .proto file, and its client.
//   zoo serve       prints its port
//   zoo call PORT   makes every kind of call and says what it saw

import GRPCRuntime
import Glibc
import ProtobufWire
import Reactor

final class Keeper: Foreign_Zoo_V1_ZooHandler {
    func mirror(_ request: Foreign_Zoo_V1_Animal, _ call: UnaryServerCall<Foreign_Zoo_V1_Animal>) {
        call.respond(request)
    }

    func weigh(_ call: ClientStreamingServerCall<Foreign_Zoo_V1_Animal, Foreign_Zoo_V1_Weight>) {
        var weight = Foreign_Zoo_V1_Weight()
        call.onMessage = { animal in
            weight.sum += animal.weight
            weight.count += 1
            weight.names.append(animal.name)
        }
        call.onEnd = { call.respond(weight) }
    }

    func breed(_ request: Foreign_Zoo_V1_BreedRequest, _ call: ServerStreamingServerCall<Foreign_Zoo_V1_Animal>) {
        for index in 0..<request.count {
            var animal = request.animal ?? Foreign_Zoo_V1_Animal()
            animal.teeth = index
            call.send(animal)
        }
        call.finish()
    }

    func lose(_ request: Foreign_Zoo_V1_Animal, _ call: UnaryServerCall<Foreign_Zoo_V1_Animal>) {
        let info = Google_Rpc_ErrorInfo(reason: "ESCAPED", domain: "zoo", metadata: ["name": request.name])
        let status = Google_Rpc_Status(code: 5, message: "gone", details: [Google_Protobuf_Any(packing: info)])
        call.fail(
            RPCError(code: .notFound, message: "\(request.name) is gone: 100 % é", statusDetails: status.encoded()))
    }
}

@main
enum Program {
    static let example = Foreign_Zoo_V1_Animal(
        name: "Zoë", genome: [0, 255], tame: true, floor: .min, born: .min, teeth: .max, cells: .max, mood: -1,
        altitude: .min, tag: .max, chip: .max, debt: .min, offset: .min, length: 1.5, weight: 2.5, diet: .neighbours,
        favouriteLeg: .init(toes: 3), legs: [.init(), .init(toes: 4, lame: false)], meals: [-1, 0, 1],
        nicknames: ["", "Z"], unpacked: [0.5], namedLegs: ["front": .init(toes: 1)], dietByDay: [-7: .grass],
        ownerID: "", bounty: 0, home: .burrow(0), mother: Foreign_Zoo_V1_Animal(name: "Ma"),
        fedAt: Google_Protobuf_Timestamp(unixMilliseconds: -1))

    static func main() throws {
        let loop = try EventLoop()
        if CommandLine.arguments.count == 3 {
            call(loop, port: CommandLine.arguments[2])
        } else {
            let registry = ServiceRegistry()
            Foreign_Zoo_V1_Zoo.register(Keeper(), in: registry)
            let server = GRPCServer(loop: loop, registry: registry)
            print("ready", try server.listen(.loopback(port: 0)).localAddress.port)
            fflush(nil)
        }
        loop.run()
    }

    static func call(_ loop: EventLoop, port: String) {
        loop.spawn {
            let client = Foreign_Zoo_V1_ZooClient(channel: GRPCChannel(loop: loop, target: "127.0.0.1:\(port)"))
            let options = CallOptions(timeout: .seconds(20))
            do throws(RPCError) {
                let mirrored = try await client.mirror(example, options: options)
                print("mirror", mirrored == example ? "the same" : "\(mirrored)")
                _ = try await client.lose(Foreign_Zoo_V1_Animal(name: "Rex"), options: options)
            } catch {
                print("lose", error.code.rawValue, error.message)
            }
            weigh(client, options)
        }
    }

    static func weigh(_ client: Foreign_Zoo_V1_ZooClient, _ options: CallOptions) {
        let stream = client.weigh(options: options)
        for index in 0..<100 { stream.send(Foreign_Zoo_V1_Animal(name: "a\(index)", weight: 0.5)) }
        stream.finish { result in
            switch result {
            case .success(let weight): print("weigh", weight.sum, weight.count, weight.names.last ?? "")
            case .failure(let error): print("weigh", error)
            }
            breed(client, options)
        }
    }

    static func breed(_ client: Foreign_Zoo_V1_ZooClient, _ options: CallOptions) {
        var seen: [UInt32] = []
        client.breed(Foreign_Zoo_V1_BreedRequest(animal: example, count: 50), options: options) { animal in
            if animal.name == example.name { seen.append(animal.teeth) }
        } onEnd: { error in
            print("breed", error.map { "\($0)" } ?? (seen == Array(0..<50) ? "50 in order" : "\(seen)"))
            client.channel.close()
            client.channel.loop.stop()
        }
    }
}
