import Glibc
import HTTPServer

let port = CommandLine.arguments.dropFirst().first.flatMap { UInt16($0) } ?? 8080
let status = Server.run(at: .loopback(port: port)) { router, _ in
    router.get("/hello/{name}") { request, response in
        response.text("Hello, \(request.pathParameter("name") ?? "world")!\n")
    }
} ready: {
    print("http://\($0)/hello/Ada")
}
exit(status)
