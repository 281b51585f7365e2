import Access
import Reactor
import RideAPI
import WebSocketServer
import WebSockets

/// Closes WebSockets when the token with which they came expires (3005, "token expired") or is revoked (3500, "revoked"). Belongs to
/// the loop of its server.
///
/// They are kept by the second: one timer, and 48 bytes for each. Those that have closed before are dropped now and then, so
/// that who comes and goes all day with one token holds no more than twice what is open. A revocation looks at all of them.
final class SocketExpiry {
    private let sockets: WebSocketServer
    /// Whether somebody's token was revoked since it was looked at, which was before other gates took their time.
    var isRevoked: (Principal) -> Bool = { _ in false }

    /// A WebSocket and whose it is, by hashes of this process: the names themselves would take ten times as much. Two people of one
    /// hash would only lose a connection together.
    private struct Socket {
        let id: WebSocketID
        let subject: Int
        let token: Int
        let session: Int
        /// Unix seconds.
        let issuedAt: Int64
        let roles: Roles

        init(_ id: WebSocketID, _ principal: Principal) {
            self.id = id
            subject = principal.subject.hashValue
            token = principal.tokenID.hashValue
            session = principal.sessionID.hashValue
            issuedAt = principal.issuedAt
            roles = principal.roles
        }
    }

    private struct Second {
        var sockets: [Socket] = []
        /// How many there may be before the closed ones are looked for.
        var limit = 64

        mutating func add(_ socket: Socket, to server: WebSocketServer) {
            if sockets.count >= limit {
                sockets.removeAll { !server.isOpen($0.id) }
                limit = max(64, 2 * sockets.count)
            }
            sockets.append(socket)
        }
    }

    /// By the Unix second.
    private var due: [Int64: Second] = [:]
    private var timer: TimerID?

    /// Nanoseconds between two looks.
    private static let look: UInt64 = 1_000_000_000

    init(sockets: WebSocketServer) { self.sockets = sockets }

    /// Closes a WebSocket when the token of `principal` ends.
    func add(_ id: WebSocketID, of principal: Principal) {
        if isRevoked(principal) {
            // Not inside of its own opening.
            return sockets.loop.execute { [weak self] in self?.close([id], 3500, "revoked") }
        }
        keep(Socket(id, principal), until: principal.expires)
    }

    private func keep(_ socket: Socket, until second: Int64) {
        due[second, default: Second()].add(socket, to: sockets)
        if timer == nil {
            timer = sockets.loop.schedule(every: Self.look) { [weak self] in self?.closeExpired() }
        }
    }

    /// What becomes of a next token.
    enum Renewal {
        case renewed
        /// It is not the same person's, or has not all their roles; or the WebSocket was opened without a token.
        case notTheirs
        /// It ends no later than the one before, or hardly.
        case tooEarly
    }

    /// Seconds by which a next token has to outlast the one before. Reason: what is renewed in each of them costs a look at all
    /// that are open; tokens of some minutes are renewed every few minutes.
    static let gain: Int64 = 60

    /// Lets a WebSocket stay open until another token ends of the same person, with the same roles at least.
    ///
    /// All that are kept are looked through, 48 bytes each.
    func renew(_ id: WebSocketID, for principal: Principal) -> Renewal {
        let next = Socket(id, principal)
        // About what looking through them takes, in microseconds.
        sockets.loop.charge(1 + count / 512)
        for (second, kept) in due {
            guard let place = kept.sockets.firstIndex(where: { $0.id == id }) else { continue }
            let old = kept.sockets[place]
            guard old.subject == next.subject, old.roles.isSubset(of: next.roles) else { return .notTheirs }
            guard principal.expires >= second + Self.gain else { return .tooEarly }
            due[second]?.sockets.remove(at: place)
            keep(next, until: principal.expires)
            return .renewed
        }
        return .notTheirs
    }

    /// Those that are kept, open or not.
    var count: Int { due.values.reduce(0) { $0 + $1.sockets.count } }

    /// Closes those whose tokens are revoked.
    func revoke(_ batch: [Revocation]) {
        var (subjects, tokens): ([Int: Int64], Set<Int>) = ([:], [])
        for revocation in batch {
            switch revocation.target {
            case .subject(let id): subjects[id.hashValue] = max(revocation.at / 1000, subjects[id.hashValue] ?? 0)
            case .token(let id): tokens.insert(id.hashValue)
            }
        }
        var revoked: [WebSocketID] = []
        for second in due.values {
            for socket in second.sockets
            where tokens.contains(socket.token) || tokens.contains(socket.session)
                || subjects[socket.subject].map({ socket.issuedAt <= $0 }) ?? false
            {
                revoked.append(socket.id)
            }
        }
        close(revoked, 3500, "revoked")
    }

    private func closeExpired() {
        let now = sockets.loop.wallClockMilliseconds / 1000
        let expired = due.keys.filter { $0 <= now }.flatMap { due.removeValue(forKey: $0)?.sockets ?? [] }
        close(expired.map(\.id), 3005, "token expired")
        guard due.isEmpty, let timer else { return }
        sockets.loop.cancel(timer)
        self.timer = nil
    }

    private func close(_ ids: [WebSocketID], _ code: UInt16, _ reason: String) {
        sockets.loop.inPortions(below: UInt32(clamping: ids.count)) { [sockets] in
            // One that has closed is gone.
            sockets.close(ids[Int($0)], CloseCode(rawValue: code), reason: reason)
        }
    }
}
