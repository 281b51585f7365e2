import GRPCRuntime
import RideAPI
import RideDomain
import Telemetry

/// Writes down what comes to a service past the gateway: each change, and each refusal by role. What the gateway passes on, or
/// asks for in its own name, it has written down itself. Belongs to the server's loop.
///
///     RPCAccess ─▶ refused by role: recorded
///         └──────▶ handler, which says what it is about ─▶ the call's end: recorded
final class RPCAudit {
    private let trail: AuditTrail
    private let metrics: AccessMetrics

    init(trail: AuditTrail, metrics: AccessMetrics) {
        self.trail = trail
        self.metrics = metrics
    }

    /// Somebody's role does not let them.
    func refused(_ call: InterceptedCall, _ principal: Principal, _ error: RPCError) {
        let audited = AuditedCall(call)
        trail.record(
            principal, address: audited.address, operation: call.path, target: nil, .denied,
            code: error.problem?.code, origin: audited.origin)
    }

    /// Looks after a call that was let in. A service is not refused what its task is: of one that only looks nothing is recorded.
    func follow(_ call: InterceptedCall, _ principal: Principal, _ right: RPCRight) {
        if principal.isService, !right.change || principal.subject == ServiceName.gateway.rawValue { return }
        let audited = AuditedCall(call)
        call.attach(audited)
        let path = call.path
        call.onEnd { [self] error in
            let code = error.map { $0.problem?.code ?? $0.code.description }
            if let code, error?.code == .permissionDenied {
                metrics.refused(code)
            } else if !right.change || code == RPCError.rateLimitedCode && audited.target == nil {
                // Who asks too much was not heard, and would only fill the topic.
                return
            }
            trail.record(
                principal, address: audited.address, operation: path, target: audited.target,
                AuditRecord.Outcome(error?.code ?? .ok), code: code, origin: audited.origin)
        }
    }
}

/// A call that the audit looks after. Handlers find it in their call, and say what it is about.
public final class AuditedCall {
    fileprivate let address: String?
    fileprivate let origin: RequestOrigin
    fileprivate private(set) var target: String?

    fileprivate init(_ call: InterceptedCall) {
        address = call.peer?.ip
        // Anybody may call: what is no identifier may be anything, a token included.
        let origin = call.origin
        self.origin =
            Identifier.isWellFormed(origin.requestID) ? origin : RequestOrigin(requestID: "", trace: origin.trace)
    }

    /// It is about the driver or the trip of this id. What names nothing is not taken: it may be anything, a token included.
    public func isAbout(_ id: String) { if Identifier.isValid(id) { target = id } }

    /// It is about a subject, or a token by its name, as the topic of revocations names them. Both were looked at.
    public func isAbout(_ revoked: Revocation.Target) { target = revoked.key }
}

extension AuditRecord.Outcome {
    /// What came of a call that ended so.
    init(_ code: StatusCode) {
        self =
            switch code {
            case .ok: .done
            case .permissionDenied, .unauthenticated: .denied
            case .invalidArgument, .notFound, .alreadyExists, .failedPrecondition, .aborted, .outOfRange,
                .resourceExhausted:
                .rejected
            default: .failed
            }
    }
}
