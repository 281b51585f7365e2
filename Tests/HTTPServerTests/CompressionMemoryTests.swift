import HTTPServer
import Reactor
import TestSupport
import Testing

@testable import Compression

/// zlib has no memory when the folder is read: a file that can't be compressed is served as it is.
@Suite struct CompressionMemoryTests {
    @Test(arguments: [0, 1, 3])
    func aFileThatCannotBeCompressedIsServedPlain(allocations: Int) throws {
        let folder = TemporaryFolder()
        let page = String(repeating: "<p>pages</p>", count: 100)
        folder.write("index.html", page)
        for allocations in [allocations, nil] {
            let files = try {
                ZlibMemory.allocationsLeft = allocations
                defer { ZlibMemory.allocationsLeft = nil }
                return try StaticFiles(folder: folder.path)
            }()
            #expect(files.omissions.isEmpty)
            let server = try LiveServer { _, router in
                router.fallback { request, responder in files.respond(to: request, responder) }
            }
            let client = Client(server.port)
            let answer = client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").response()
            #expect(answer.status == 200 && answer.field("content-encoding") == (allocations == nil ? "gzip" : nil))
            if allocations != nil { #expect(answer.body == page) }
        }
    }
}
