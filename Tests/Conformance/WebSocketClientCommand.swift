import Glibc
import Reactor
import WebSocketServer

/// A client that does what Autobahn's fuzzing server wants of one: it asks how many cases there are, returns what it gets in each, and has
/// the reports written. With `--no-context-takeover` it offers that, which Autobahn's server wants in some of its cases.
final class WebSocketClientCommand {
    private let loop: EventLoop
    private let client: WebSocketClient
    private let url: String

    static func run(_ url: String, _ options: CommandOptions) throws {
        let loop = try EventLoop()
        let command = WebSocketClientCommand(loop, url, options.flag("no-context-takeover"))
        loop.execute { command.begin() }
        loop.run()
    }

    private init(_ loop: EventLoop, _ url: String, _ noContextTakeover: Bool) {
        self.loop = loop
        self.url = url
        var deflate = WebSocketEcho.deflate
        deflate.clientNoContextTakeover = noContextTakeover
        client = WebSocketClient(
            loop: loop, limits: WebSocketEcho.limits, timeouts: WebSocketEcho.timeouts, deflate: deflate)
    }

    private func begin() {
        var count = 0
        open("getCaseCount") { socket in
            socket.onText = { count = Int(String(utf8: $0)) ?? 0 }
        } ended: { [self] in
            print("\(count) cases")
            play(1, of: count)
        }
    }

    private func play(_ number: Int, of count: Int) {
        guard number <= count else {
            return open("updateReports?agent=cabstand") { _ in
            } ended: {
                exit(0)
            }
        }
        open("runCase?case=\(number)&agent=cabstand") { socket in
            socket.onText = { [unowned socket] in socket.send(text: $0) }
            socket.onBinary = { [unowned socket] in socket.send(bytes: $0) }
        } ended: { [self] in
            play(number + 1, of: count)
        }
    }

    private func open(_ path: String, _ opened: @escaping (WebSocket) -> Void, ended: @escaping () -> Void) {
        client.connect("\(url)/\(path)") { outcome in
            switch outcome {
            case .success(let socket):
                opened(socket)
                socket.onClose = { _ in ended() }
            case .failure(let error):
                print("\(path): \(error)")
                exit(1)
            }
        }
    }
}
