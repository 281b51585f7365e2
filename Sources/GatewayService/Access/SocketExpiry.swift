import Reactor
import WebSocketServer
import WebSockets

/// Closes WebSockets when the token expires with which they came: 3005, "token expired". Belongs to the loop of its server.
///
/// They are kept by the second: one timer, and eight bytes for each. Those that have closed before are dropped now and then, so
/// that who comes and goes all day with one token holds no more than twice what is open.
final class SocketExpiry {
    private let sockets: WebSocketServer
    private struct Second {
        var ids: [WebSocketID] = []
        /// How many there may be before the closed ones are looked for.
        var limit = 64

        mutating func add(_ id: WebSocketID, to sockets: WebSocketServer) {
            if ids.count >= limit {
                ids.removeAll { !sockets.isOpen($0) }
                limit = max(64, 2 * ids.count)
            }
            ids.append(id)
        }
    }

    /// By the Unix second.
    private var due: [Int64: Second] = [:]
    private var timer: TimerID?

    /// Nanoseconds between two looks.
    private static let look: UInt64 = 1_000_000_000

    init(sockets: WebSocketServer) { self.sockets = sockets }

    /// Closes a WebSocket at `second`, Unix.
    func add(_ id: WebSocketID, at second: Int64) {
        due[second, default: Second()].add(id, to: sockets)
        if timer == nil {
            timer = sockets.loop.schedule(every: Self.look) { [weak self] in self?.closeExpired() }
        }
    }

    /// Those that are kept, open or not.
    var count: Int { due.values.reduce(0) { $0 + $1.ids.count } }

    private func closeExpired() {
        let now = sockets.loop.wallClockMilliseconds / 1000
        let expired = due.keys.filter { $0 <= now }.flatMap { due.removeValue(forKey: $0)?.ids ?? [] }
        sockets.loop.inPortions(below: UInt32(clamping: expired.count)) { [sockets] in
            // One that has closed is gone.
            sockets.close(expired[Int($0)], CloseCode(rawValue: 3005), reason: "token expired")
        }
        guard due.isEmpty, let timer else { return }
        sockets.loop.cancel(timer)
        self.timer = nil
    }
}
