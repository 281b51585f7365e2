// Gets what URLs name, and says what it was.
//   fetch https://example.org/ http://localhost:8080/healthz

import Glibc
import HTTPClient

func fetch(_ urls: [String]) throws {
    let loop = try EventLoop()
    let client = LoopBound(HTTPClient(loop: loop, tls: try TLSClientContext(), userAgent: "fetch"), loop: loop)
    loop.spawn {
        for url in urls {
            do throws(HTTPClientError) {
                let response = try await client.value.get(url, limit: 1 << 20, timeout: .seconds(10), redirects: 5)
                let age = response.fields.maximumAge.map { ", fresh for \($0)" } ?? ""
                print("\(response.status) \(response.url): \(response.body.count) bytes\(age)")
            } catch {
                print("\(url): \(error)")
            }
        }
        client.value.close()
        loop.stop()
    }
    loop.run()
}

guard CommandLine.arguments.count > 1 else {
    print("usage: fetch URL…")
    exit(64)
}
try fetch(Array(CommandLine.arguments.dropFirst()))
