import Basics
import HTTPClient
import Reactor

/// An HTTP client: asks for one URL so often, on connections that it keeps, and prints a line for each response: status, bytes of the
/// body, their FNV-1a hash, connections that are open; or `error` and why.
enum HTTPClientCommand {
    static func run(_ options: CommandOptions) throws {
        let loop = try EventLoop()
        let client = HTTPClient(
            loop: loop, tls: try options.text("trusted").map { try TLSClientContext(trustedPath: $0) })
        let request = try request(options)
        let count: Int = options.number("count") ?? 1
        let limit: Int = options.number("limit") ?? 32 << 20
        if options.flag("at-once") {
            var left = count
            for _ in 0..<count {
                client.send(request, limit: limit) { result in
                    say(result, client)
                    left -= 1
                    if left == 0 { loop.stop() }
                }
            }
        } else {
            loop.start {
                for _ in 0..<count {
                    do throws(HTTPClientError) {
                        say(.success(try await client.send(request, limit: limit)), client)
                    } catch {
                        say(.failure(error), client)
                    }
                }
                loop.stop()
            }
        }
        loop.run()
        client.close()
    }

    private static func request(_ options: CommandOptions) throws -> HTTPClientRequest {
        let name = options.text("method") ?? "GET"
        var request = try HTTPClientRequest(
            HTTP1Method.allCases.first { "\($0.name)" == name } ?? .other, options.text("url") ?? "",
            body: options.number("body").map { size in (0..<size).map { UInt8(truncatingIfNeeded: $0) } },
            timeout: .milliseconds(options.number("timeout-ms") ?? 20_000), redirects: options.number("redirects") ?? 0)
        if let field = options.text("field"), let colon = field.firstIndex(of: ":") {
            request.fields.add(String(field[..<colon]), String(field[field.index(after: colon)...]))
        }
        return request
    }

    private static func say(_ result: Result<HTTPClientResponse, HTTPClientError>, _ client: HTTPClient) {
        switch result {
        case .success(let response):
            var hash = FNV1a()
            for byte in response.body { hash.add(byte) }
            print(response.status, response.body.count, String(hash.value, radix: 16), client.openConnections)
        case .failure(let error): print("error \(error)")
        }
    }
}
