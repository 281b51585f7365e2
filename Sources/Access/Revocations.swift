import AccessTokens
import RideAPI

/// What is revoked, as one loop knows it: a token of a revoked subject that was made until then is refused, and a revoked one by its
/// name, or by its session's. Belongs to its loop.
///
/// It fails closed. Until it is complete, tokens that were made before this program began are refused: all that was revoked
/// before is about those. (So nobody who signs in again needs Kafka for it.) And when there is no room for more, the oldest
/// revocations become one for everybody: whoever's token is not younger signs in again. Not so for sessions that their owners have
/// ended: whoever signs out, however often, takes no room of what operators revoke. Where there are too many, the last token of one
/// is good until it expires, a few minutes later.
public struct Revocations {
    public enum Limits {
        /// Revocations that are kept. Reason: about a hundred bytes each, and more than the driver service remembers.
        public static let entries = 64_000
        /// Ends of sessions that are kept besides. Reason: more than the driver service remembers.
        public static let sessionEnds = 16_000
        /// Seconds. An older token is refused: nobody knows any more whether it was revoked.
        public static let longestLife: Int64 = 30 * 86_400
        /// Seconds between two looks for entries that say nothing any more.
        static let sweepInterval: Int64 = 3_600
    }

    /// By name: the second until which their tokens are refused.
    private var subjects: [String: Int64] = [:]
    /// By name: the second when it was revoked.
    private var tokens: [String: Int64] = [:]
    /// By name: the second from which on no token of that session is left.
    private var sessions: [String: Int64] = [:]
    private var sessionsSwept = Int64.min
    /// Tokens made until this second are refused, whoever's they are.
    public private(set) var floor = Int64.min
    /// As long as it is not complete.
    private var incompleteFloor: Int64?
    /// Somebody tells of revocations.
    private let isKept: Bool
    private var swept = Int64.min
    private let capacity: Int

    /// - Parameters:
    ///   - began: Unix seconds when this program began, if what is revoked is still to be read; nil: nothing is.
    ///   - capacity: how many are kept.
    public init(began: Int64?, capacity: Int = Limits.entries) {
        // The clock that revocations go by may be ahead.
        incompleteFloor = began.map { $0 + TokenVerifier.skew }
        isKept = began != nil
        self.capacity = max(4, capacity)
    }

    /// How many are known.
    public var count: Int { kept + sessions.count }
    private var kept: Int { subjects.count + tokens.count }

    /// Whether all that was revoked before is there.
    public var isComplete: Bool { incompleteFloor == nil }

    /// From now on it is.
    public mutating func complete() { incompleteFloor = nil }

    /// Takes revocations over, in any order, and again.
    ///
    /// - Parameter now: Unix seconds.
    /// - Returns: false if the oldest had to make room, and are one for everybody now.
    public mutating func add(_ batch: [Revocation], at now: Int64) -> Bool {
        if now >= swept &+ Limits.sweepInterval || now < swept { sweep(now) }
        var hasRoom = true
        for revocation in batch where revocation.expiresAt / 1000 > now {
            let second = revocation.at / 1000
            switch revocation.target {
            case .subject(let id): subjects[id] = max(second, subjects[id] ?? second)
            case .token(let id) where revocation.endsSession:
                // Rounded up.
                end(id, until: revocation.expiresAt / 1000 + 1, now)
            case .token(let id): tokens[id] = max(second, tokens[id] ?? second)
            }
            if kept > capacity {
                sweep(now)
                if kept > capacity {
                    fold()
                    hasRoom = false
                }
            }
        }
        return hasRoom
    }

    /// Why a token of somebody is not taken; nil: nothing speaks against it.
    ///
    /// Services are not subjects, whatever their names: a driver may be called `gateway`. Their tokens live minutes, and who has
    /// their secret is shut out by another one.
    ///
    /// - Parameter now: Unix seconds.
    public func refusal(of principal: Principal, at now: Int64) -> TokenRefusal? {
        if principal.isService { return nil }
        let issued = principal.issuedAt
        if let until = subjects[principal.subject], issued <= until { return .revoked }
        if !tokens.isEmpty || !sessions.isEmpty, isRevoked(principal) { return .revoked }
        if issued <= floor || isKept && issued < now - Limits.longestLife - TokenVerifier.skew { return .tooOld }
        if let incompleteFloor, issued <= incompleteFloor { return .tooOld }
        return nil
    }

    private func isRevoked(_ principal: Principal) -> Bool {
        if tokens[principal.tokenID] != nil { return true }
        let session = principal.sessionID
        return !session.isEmpty && (tokens[session] != nil || sessions[session] != nil)
    }

    private mutating func end(_ session: String, until second: Int64, _ now: Int64) {
        // Once a second at most, however many there are.
        if sessions.count >= Limits.sessionEnds, now != sessionsSwept {
            sessionsSwept = now
            sessions = sessions.filter { $0.value > now }
        }
        guard sessions.count < Limits.sessionEnds || sessions[session] != nil else { return }
        sessions[session] = max(second, sessions[session] ?? second)
    }

    /// Unix seconds from which on a token is not taken any more: it has expired, or is older than what is remembered.
    func end(of principal: Principal) -> Int64 {
        isKept
            ? min(principal.expires, principal.issuedAt &+ Limits.longestLife &+ TokenVerifier.skew) : principal.expires
    }

    private mutating func sweep(_ now: Int64) {
        swept = now
        let oldest = now - Revocation.life / 1000
        subjects = subjects.filter { $0.value > oldest }
        tokens = tokens.filter { $0.value > oldest }
        sessions = sessions.filter { $0.value > now }
    }

    /// The oldest quarter becomes one for everybody. A token that is revoked by its name may have been made by a clock that is
    /// ahead.
    private mutating func fold() {
        let seconds = (Array(subjects.values) + Array(tokens.values)).sorted()
        let last = seconds[seconds.count / 4]
        floor = max(floor, last + TokenVerifier.skew)
        subjects = subjects.filter { $0.value > last }
        tokens = tokens.filter { $0.value > last }
    }
}
