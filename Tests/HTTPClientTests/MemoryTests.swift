import Bytes
import HTTPClient
import Reactor
import ReactorSim
import Testing

@testable import Compression

/// zlib has no memory: the request whose body needs it ends with an error, and nobody else notices.
@Suite struct MemoryTests {
    @Test(arguments: 0...1)
    func aBodyThatCannotBeDecoded(allocations: Int) throws {
        let text = String(repeating: "some words, ", count: 10_000)
        var packed = ByteBuffer()
        try #require(DeflateStream(.gzip, level: 6)).deflate(Array(text.utf8).span, flush: .finish, into: &packed)
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: \(packed.count)\r\n\r\n"
        let world = try SimulatedServer()
        let (answer, other) = (try world.get(), try world.get())
        let (peer, _) = try world.acceptRequest()
        let (second, _) = try world.acceptRequest()
        do {
            ZlibMemory.allocationsLeft = allocations
            defer { ZlibMemory.allocationsLeft = nil }
            peer.send(Array(head.utf8) + packed.array())
            second.answer("plain")
            world.run()
        }
        let (failed, plain) = answer.error == nil ? (other, answer) : (answer, other)
        #expect(failed.error == .busy("there is no memory to decode a body that is compressed"))
        #expect(plain.said == "200 plain")
        let again = try world.get()
        world.run()
        #expect(!world.heard(second).isEmpty)
        second.send(Array(head.utf8) + packed.array())
        world.run()
        #expect(again.said == "200 " + text)
        world.expectNothingIsLeft()
    }
}
