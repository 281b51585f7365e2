import Bytes
import HTTP1
import HTTPServer
import Reactor
import WebSocketServer

/// HTTP that answers any method on any path with the request as it was read: request line, field lines, an empty line, the decoded
/// body (`message/http`, RFC 9112 §10.1). `/websocket` is a WebSocket that returns what it gets.
enum HTTPEcho {
    /// Autobahn's largest message.
    private static let maximumBody = 16 << 20

    static func server(_ loop: EventLoop) -> HTTPServer {
        let router = Router()
        WebSocketEcho.add(to: router, loop)
        router.fallback { request, responder in
            responder.respond(200, "message/http") { output in
                write(request, to: &output)
            }
        }
        var limits = HTTPLimits()
        limits.bodyBytes = maximumBody
        // Several such answers.
        limits.heldAnswers = 4 * maximumBody
        return HTTPServer(loop: loop, router: router, limits: limits, requestIDs: false)
    }

    private static func write(_ request: borrowing HTTPRequest, to output: inout ByteBuffer) {
        output.append(request.head.methodName)
        output.append(" ")
        output.append(request.head.target)
        output.append(request.head.minorVersion == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n")
        for index in 0..<request.head.fieldCount {
            output.append(request.head.name(at: index))
            output.append(": ")
            output.append(request.head.value(at: index))
            output.append("\r\n")
        }
        output.append("\r\n")
        output.append(request.body)
    }
}
