import Bytes
import HTTPServer
import Reactor
import ReactorSim
import Testing
import WebSockets

@testable import Compression
@testable import WebSocketServer

/// zlib has no memory: the message that needs it ends its WebSocket, and nobody else notices.
@Suite struct MemoryTests {
    private static let text = String(repeating: "some words, some words; ", count: 200)

    private static let deflated: [UInt8] = {
        var output = ByteBuffer()
        var deflater = Deflater()
        return deflater.deflate(Array(text.utf8).span, into: &output) ? output.array() : []
    }()

    /// Neither the inflater, nor, with one allocation, its window.
    @Test(arguments: 0...1)
    func aMessageThatCannotBeDecompressedIs1011(allocations: Int) throws {
        let world = try SimulatedServer(deflate: DeflateOptions(), endpoint: EchoEndpoint())
        let message = SimulatedClient.frame(.text, Self.deflated, deflated: true)
        let client = world.client(fields: SimulatedClient.offersDeflate)
        let other = world.client(fields: SimulatedClient.offersDeflate)
        world.run(0.5)
        do {
            ZlibMemory.allocationsLeft = allocations
            defer { ZlibMemory.allocationsLeft = nil }
            client.say(message + SimulatedClient.frame(.text, Array("behind it".utf8)))
            other.send("plain")
            world.run(0.5)
        }
        #expect(client.closeCode == 1011 && client.messages.isEmpty)
        #expect(other.messages == ["plain"])
        other.say(message)
        world.run(0.5)
        #expect(other.messages == ["plain", Self.text])
        other.close()
        world.run(30)
        #expect(world.server.count == 0 && world.server.heldMessageBytes == 0 && world.server.unfinished == 0)
    }

    @Test func whatCannotBeCompressedGoesAsItIs() throws {
        var options = DeflateOptions()
        options.minimumMessageSize = 100
        let world = try SimulatedServer(deflate: options, endpoint: EchoEndpoint())
        let client = world.client(fields: SimulatedClient.offersDeflate)
        world.run(0.5)
        for allocations in [0, 1, 3, nil] {
            ZlibMemory.allocationsLeft = allocations
            defer { ZlibMemory.allocationsLeft = nil }
            client.send(Self.text)
            world.run(0.5)
        }
        #expect(client.messages == Array(repeating: Self.text, count: 4) && client.deflatedMessages == 1)
    }
}
