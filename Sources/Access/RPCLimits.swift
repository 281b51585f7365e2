import Basics
import GRPCRuntime
import Operations
import Reactor
import RideAPI

/// Refuses calls of those who ask more of a service than is given to one: RESOURCE_EXHAUSTED, with `RetryInfo` that says when one
/// more is let through. It stands in `RPCAccess`, between who calls and whether they may, and counts by what is known by then:
/// other services ask as much as their task takes, and what the gateway passes on it has judged already. Belongs to the server's
/// loop.
public final class RPCLimits: ServerInterceptor {
    private struct Rule {
        let limit: LimitClass
        let policy: LimitPolicy
    }

    /// Of new tokens.
    private let tokens: Rule?
    /// By the method's place; nil: it is not limited.
    private let rules: [Rule?]
    private let uplink: LimitPolicy?
    private let table = RateTable(capacity: keys)
    private let metrics = LimitMetrics()
    private let loop: EventLoop

    /// Clients that are remembered at once, each in each class: 1 MiB at most. Reason: drivers' apps, a few thousand, and whoever
    /// tries a token of a rider's here.
    private static let keys = 1 << 16

    /// - Parameter policies: what holds of each class.
    init(_ server: GRPCServer, _ policies: [LimitClass: LimitPolicy]) {
        tokens = policies[.token].map { Rule(limit: .token, policy: $0) }
        loop = server.loop
        uplink = policies[.uplink]
        rules = server.methods.map { path in
            guard let limit = RPCRight.limit(of: path), let policy = policies[limit] else { return nil }
            return Rule(limit: limit, policy: policy)
        }
    }

    public func intercept(_ call: InterceptedCall) throws(RPCError) {
        guard let principal = call[Principal.self], !principal.isService, call[RelayedCall.self] == nil else { return }
        if !call.isUnary, let uplink { call.attach(MessageRate(uplink, metrics)) }
        guard let rule = rules[call.method] else { return }
        try take(
            rule, .principal, principal.digest,
            principal.isOperator ? rule.policy.crowd : rule.policy.quota)
        guard let peer = call.peer else { return }
        try take(rule, .address, ClientDigest.of(peer.network), rule.policy.crowd)
    }

    /// Takes one of the new tokens that an address may bring, as at the gateway.
    ///
    /// - Throws: RESOURCE_EXHAUSTED.
    func takeToken(of call: InterceptedCall) throws(RPCError) {
        guard let tokens, let peer = call.peer else { return }
        try take(tokens, .address, ClientDigest.of(peer.network), tokens.policy.crowd)
    }

    private func take(
        _ rule: Rule, _ kind: LimitKind, _ client: UInt64, _ quota: RateQuota
    ) throws(RPCError) {
        let decision = table.take(rule.limit, kind, client, quota, now: loop.now)
        guard !decision.isAdmitted else { return }
        metrics.refused(rule.limit, kind)
        throw .rateLimited(
            kind == .principal ? "You ask" : "Your network's address asks", rule.limit, wait: quota.wait(decision))
    }
}

/// How many messages one stream of a driver's app may send, and what it has sent: class `uplink`. An interceptor attaches it to
/// the streams of those who are limited. Belongs to the call's loop.
public final class MessageRate {
    private let quota: RateQuota
    private let metrics: LimitMetrics
    private var arrival: UInt64 = 0

    init(_ policy: LimitPolicy, _ metrics: LimitMetrics) {
        quota = policy.quota
        self.metrics = metrics
    }

    /// Takes one message.
    ///
    /// - Parameter now: the loop's, in nanoseconds.
    /// - Throws: RESOURCE_EXHAUSTED, with which the stream is to end.
    public func take(now: UInt64) throws(RPCError) {
        let decision = quota.take(&arrival, now: now)
        guard !decision.isAdmitted else { return }
        metrics.refused(.uplink, .socket)
        throw .rateLimited("This stream sends", .uplink, wait: quota.wait(decision))
    }
}

extension RPCError {
    static let rateLimitedCode = "rate-limited"

    /// - Parameter wait: nanoseconds until one more is let through.
    fileprivate static func rateLimited(_ who: String, _ limit: LimitClass, wait: UInt64) -> RPCError {
        let milliseconds = Int64(clamping: wait / 1_000_000 + 1)
        return RPCError(
            ProblemDetails(
                code: rateLimitedCode,
                detail: limit.excess(of: who, wait: "\(milliseconds) ms"),
                metadata: ["class": limit.rawValue], retryAfter: milliseconds), code: .resourceExhausted)
    }
}
