import Basics
import HTTPServer
import WebSocketServer
import WebSockets

/// What one WebSocket has sent of its class: 16 bytes.
struct SentMessages {
    enum Verdict {
        case pass
        case refused(RateDecision)
        /// It was told often enough.
        case close(RateDecision)
    }

    private var arrival: UInt64 = 0
    private var refusals: UInt64 = 0

    /// How often it is told. Reason: what was on its way when it was told first is to be forgiven, a program that does not listen
    /// is not.
    private static let patience = RateQuota(10, per: .seconds(60))

    /// Takes one.
    mutating func take(_ rule: LimitRule, now: UInt64) -> Verdict {
        let decision = rule.policy.quota.take(&arrival, now: now)
        if decision.isAdmitted { return .pass }
        return Self.patience.take(&refusals, now: now).isAdmitted ? .refused(decision) : .close(decision)
    }
}

/// How much each WebSocket of an endpoint may send. Belongs to its loop.
struct MessageLimit {
    let limits: LoopLimits
    let rule: LimitRule
    let sockets: WebSocketServer

    /// Whether a message is looked at. If not, its sender is told, and closed 3013 when it goes on.
    func admits(_ id: WebSocketID, _ verdict: SentMessages.Verdict?) -> Bool {
        switch verdict {
        case nil, .pass: return true
        case .refused(let decision):
            limits.refused(rule.limit, .socket)
            sockets.sendError(id, .rateLimited(rule, decision))
        case .close(let decision):
            limits.refused(rule.limit, .socket)
            sockets.sendError(id, .rateLimited(rule, decision))
            sockets.close(id, CloseCode(rawValue: 3013), reason: "too many messages")
        }
        return false
    }
}
