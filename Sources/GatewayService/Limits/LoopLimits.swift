import Access
import Basics
import HTTPServer
import Operations
import Reactor
import Telemetry
import WebSocketServer

/// The limits as one loop asks for them. Belongs to its loop.
final class LoopLimits {
    private let loop: EventLoop
    private let shared: ClientLimits
    private let metrics: LimitMetrics
    private let connections: LimitRule?
    private let tokens: LimitRule?

    init(_ shared: ClientLimits, loop: EventLoop, metrics: LimitMetrics = LimitMetrics()) {
        self.shared = shared
        self.loop = loop
        self.metrics = metrics
        connections = shared.policy(.connect).map { LimitRule(.connect, $0) }
        tokens = shared.policy(.token).map { LimitRule(.token, $0) }
    }

    /// The gate of a class of requests; nil: it is not limited.
    func gate(_ limit: LimitClass) -> (any Gate)? {
        shared.policy(limit).map { LimitGate(limits: self, rule: LimitRule(limit, $0)) }
    }

    /// How much each of these WebSockets may send of a class; nil: as much as it likes.
    func messages(_ limit: LimitClass, _ sockets: WebSocketServer) -> MessageLimit? {
        shared.policy(limit).map { MessageLimit(limits: self, rule: LimitRule(limit, $0), sockets: sockets) }
    }

    /// Whether another connection of an address is taken.
    func admits(_ client: SocketAddress) -> Bool {
        guard let connections else { return true }
        return decide(connections, .address, ClientDigest.of(client.network), connections.crowd).isAdmitted
    }

    /// Takes one of the new tokens that an address may bring.
    ///
    /// - Throws: 429.
    func takeToken(of request: borrowing HTTPRequest) throws(Problem) {
        guard let tokens, let address = request.clientAddress else { return }
        _ = try take(tokens, .address, ClientDigest.of(address.network), tokens.crowd)
    }

    func refused(_ limit: LimitClass, _ kind: LimitKind) { metrics.refused(limit, kind) }

    /// Takes one of what a request's client may ask. A client at its limit takes nothing of what its address may ask, so that
    /// its neighbours are not held up.
    ///
    /// - Returns: what is left of the narrowest limit that was asked.
    /// - Throws: 429.
    fileprivate func take(_ rule: LimitRule, _ request: borrowing HTTPRequest) throws(Problem) -> RateDecision? {
        var left: RateDecision?
        let address = request.clientAddress
        if let principal = request[Principal.self] {
            let quota = principal.isOperator ? rule.crowd : rule.policy.quota
            left = try take(rule, .principal, principal.digest, quota)
            if let address { _ = try take(rule, .address, ClientDigest.of(address.network), rule.crowd) }
        } else if let address {
            left = try take(rule, .anonymous, ClientDigest.of(address.network), rule.policy.quota)
        }
        return left
    }

    private func take(
        _ rule: LimitRule, _ kind: LimitKind, _ client: UInt64, _ quota: RateQuota
    ) throws(Problem) -> RateDecision {
        let decision = decide(rule, kind, client, quota)
        guard decision.isAdmitted else { throw .rateLimited(rule, kind, quota, decision) }
        return decision
    }

    private func decide(_ rule: LimitRule, _ kind: LimitKind, _ client: UInt64, _ quota: RateQuota) -> RateDecision {
        let decision = shared.table.take(rule.limit, kind, client, quota, now: loop.now)
        if !decision.isAdmitted { refused(rule.limit, kind) }
        return decision
    }
}

/// A class with what holds of it.
struct LimitRule {
    let limit: LimitClass
    let policy: LimitPolicy
    /// What an address as a whole may.
    let crowd: RateQuota
    /// `RateLimit-Policy` as it is told to one client, and to an address or an operator.
    private let fields: (client: HTTPFields, crowd: HTTPFields)
    private let beforeLeft: String

    init(_ limit: LimitClass, _ policy: LimitPolicy) {
        self.limit = limit
        self.policy = policy
        crowd = policy.crowd
        func field(_ factor: Int) -> HTTPFields {
            ["RateLimit-Policy": "\"\(limit.rawValue)\";q=\(policy.count * factor);w=\(policy.window)"]
        }
        fields = (field(1), field(LimitPolicy.crowdFactor))
        beforeLeft = "\"\(limit.rawValue)\";r="
    }

    /// `RateLimit-Policy: "read";q=50;w=1` and `RateLimit: "read";r=7;t=3`: what holds, and what is left now with the seconds until
    /// all of it is there again.
    func fields(isCrowd: Bool, _ decision: RateDecision) -> HTTPFields {
        let quota = isCrowd ? crowd : policy.quota
        let left = beforeLeft + String(quota.remaining(decision)) + ";t=" + String(decision.debt.wholeSeconds)
        return (isCrowd ? fields.crowd : fields.client).adding("RateLimit", left)
    }
}

extension UInt64 {
    /// Nanoseconds as seconds, rounded up.
    fileprivate var wholeSeconds: UInt64 { self / 1_000_000_000 + (self % 1_000_000_000 == 0 ? 0 : 1) }
}

/// Lets requests of one class through as long as their client and its address have not asked too much.
///
/// What is left is told with the answers of what changes something, and with every refusal. Answers to questions go without:
/// there are far more of them, each would be a hundred bytes longer, and who asks learns the limit when it matters.
private struct LimitGate: Gate {
    let limits: LoopLimits
    let rule: LimitRule

    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission {
        let left = try limits.take(rule, request)
        switch rule.limit {
        case .booking, .write, .token:
            guard let left else { break }
            let isCrowd = request[Principal.self]?.isOperator ?? false
            request.addResponseFields(rule.fields(isCrowd: isCrowd, left))
        case .read, .connect, .uplink, .view: break
        }
        return .pass
    }
}

extension Problem {
    /// Somebody asks too much (RFC 6585 §4, draft-ietf-httpapi-ratelimit-headers).
    fileprivate static func rateLimited(
        _ rule: LimitRule, _ kind: LimitKind, _ quota: RateQuota, _ decision: RateDecision
    ) -> Problem {
        let who =
            switch kind {
            case .principal: "You ask"
            case .address: "Your network's address asks"
            case .anonymous: "Your address asks, without a token,"
            case .socket: "This WebSocket sends"
            }
        let wait = max(1, quota.wait(decision).wholeSeconds)
        let isCrowd = quota == rule.crowd
        return Problem(
            429, "rate-limited",
            rule.limit.excess(of: who, wait: "\(wait) s"),
            members: Array("\"violated-policies\":[\"\(rule.limit.rawValue)\"]".utf8),
            fields: rule.fields(isCrowd: isCrowd, decision).adding("Retry-After", "\(wait)"),
            type: "https://iana.org/assignments/http-problem-types#quota-exceeded")
    }

    /// A WebSocket sends too much; what it sent this time is not looked at.
    static func rateLimited(_ rule: LimitRule, _ decision: RateDecision) -> Problem {
        rateLimited(rule, .socket, rule.policy.quota, decision)
    }
}
