import GRPCRuntime
import Glibc
import HTTPServer
import Reactor
import WebSocketServer
import WebSockets

/// One loop that serves everything that suites ask for, in the clear and, with a certificate, over TLS.
enum ServeCommand {
    static func run(_ options: CommandOptions) throws {
        let loop = try EventLoop()
        let web = HTTPEcho.server(loop)
        let services = TestService.server(loop)
        var line: [String] = []
        func say(_ name: String, _ listener: Listener) { line.append("\(name) \(listener.localAddress.port)") }

        say("http", try web.listen(.loopback(port: options.number("http-port") ?? 0)))
        say("grpc", try services.listen(.loopback(port: options.number("grpc-port") ?? 0)))
        if let certificate = options.text("certificate"), let key = options.text("key") {
            let tls = { alpn in try TLSServerContext(certificatePath: certificate, keyPath: key, alpn: alpn) }
            let protocols = HTTPServer.applicationProtocols
            say("https", try web.listen(.loopback(port: options.number("https-port") ?? 0), tls: tls(protocols)))
            say("grpcs", try services.listen(.loopback(port: options.number("grpcs-port") ?? 0), tls: tls(["h2"])))
        }
        print(line.joined(separator: " "))
        fflush(nil)
        loop.run()
    }
}
