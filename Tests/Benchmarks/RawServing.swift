import Bytes
import Reactor

/// The loop alone: counts blank lines and answers each with canned bytes, as the C floor does. What it costs more than the
/// floor is the loop's.
enum RawServing {
    private final class Canned: ConnectionHandler {
        let loop: EventLoop
        init(loop: EventLoop) { self.loop = loop }

        override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
            guard let output = unsafe loop.output(id) else { return bytes.count }
            var end = 0
            var index = 3
            while index < bytes.count {
                if unsafe bytes[index] == 10, unsafe bytes[index - 2] == 10 {
                    unsafe output.pointee.append(
                        """
                        HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nHello, World!
                        """ as StaticString)
                    end = index + 1
                    index += 3
                }
                index += 1
            }
            return end
        }
    }

    static func run(port: UInt16) throws {
        let loop = try EventLoop()
        try loop.listen(.loopback(port: port), handler: Canned(loop: loop))
        loop.run()
    }
}
