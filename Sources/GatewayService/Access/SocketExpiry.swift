import Reactor
import WebSocketServer
import WebSockets

/// Closes WebSockets when the token expires with which they came: 3005, "token expired". Belongs to the loop of its server.
///
/// They are kept by the second: one timer, and eight bytes for each, also for those that have closed before.
final class SocketExpiry {
    private let sockets: WebSocketServer
    /// By the Unix second.
    private var due: [Int64: [WebSocketID]] = [:]
    private var timer: TimerID?

    /// Nanoseconds between two looks.
    private static let look: UInt64 = 1_000_000_000

    init(sockets: WebSocketServer) { self.sockets = sockets }

    /// Closes a WebSocket at `second`, Unix.
    func add(_ id: WebSocketID, at second: Int64) {
        due[second, default: []].append(id)
        if timer == nil {
            timer = sockets.loop.schedule(every: Self.look) { [weak self] in self?.closeExpired() }
        }
    }

    private func closeExpired() {
        let now = sockets.loop.wallClockMilliseconds / 1000
        let expired = due.keys.filter { $0 <= now }.flatMap { due.removeValue(forKey: $0) ?? [] }
        sockets.loop.inPortions(below: UInt32(clamping: expired.count)) { [sockets] in
            // One that has closed is gone.
            sockets.close(expired[Int($0)], CloseCode(rawValue: 3005), reason: "token expired")
        }
        guard due.isEmpty, let timer else { return }
        sockets.loop.cancel(timer)
        self.timer = nil
    }
}
