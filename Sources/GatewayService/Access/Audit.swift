import Access
import HTTPServer
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// What the audit keeps of an operation beside refusals by role, which it keeps of all.
enum Change {
    /// It changes nothing.
    case none
    /// Each is a change.
    case always
    /// Most are none: the handler says which one is.
    case sometimes
}

/// Records who does what on one loop: a line in the log, and a record for Kafka. Belongs to its loop.
///
///     gates ─▶ refused by role: recorded
///       └────▶ entry ─▶ handler ─▶ a problem, or the service's answer: the entry is settled, whether the client still waits or not
final class Audit {
    private let trail: AuditTrail
    private let metrics: AccessMetrics

    /// - Parameter publish: takes each record, on the loop.
    init(loop: EventLoop, metrics: AccessMetrics, publish: @escaping (AuditRecord) -> Void) {
        trail = AuditTrail(loop: loop, service: .gateway, publish: publish)
        self.metrics = metrics
    }

    /// A handler of `operation` that is looked after: what it throws or is answered settles the request's entry.
    func audited(_ operation: Operation, _ handler: @escaping HTTPHandler) -> HTTPHandler {
        if operation.change == .none {
            return { [self] request, responder throws(Problem) in
                do throws(Problem) {
                    try handler(request, responder)
                } catch {
                    if error.status == 403 { entry(operation, request).settle(error) }
                    throw error
                }
            }
        }
        return { [self] request, responder throws(Problem) in
            let entry = entry(operation, request)
            request.attach(entry)
            do throws(Problem) {
                try handler(request, responder)
            } catch {
                entry.settle(error)
                throw error
            }
        }
    }

    /// Records that somebody's role does not let them.
    func refuse(_ operation: Operation, _ request: borrowing HTTPRequest, _ principal: Principal, _ problem: Problem) {
        entry(operation, request, principal).settle(problem, isCounted: true)
    }

    private func entry(
        _ operation: Operation, _ request: borrowing HTTPRequest, _ known: Principal? = nil
    ) -> AuditEntry {
        // What names nothing may be anything, a token included.
        let target = request.pathParameter("id").flatMap { Identifier.isValid($0) ? $0 : nil }
        return AuditEntry(
            self, operation, known ?? request[Principal.self], address: request.clientAddress?.ip,
            origin: RequestOrigin(requestID: request.requestID, trace: request.trace), target: target)
    }

    fileprivate func record(_ entry: borrowing AuditEntry, _ outcome: AuditRecord.Outcome, _ code: String?) {
        trail.record(
            entry.principal, address: entry.address, operation: entry.operation.rawValue, target: entry.target, outcome,
            code: code, origin: entry.origin)
    }

    fileprivate func countDenied(_ code: String) { metrics.refused(code) }
}

/// One request that changes something, until it is known what came of it. Belongs to its loop.
final class AuditEntry {
    private let audit: Audit
    fileprivate let operation: Operation
    fileprivate let principal: Principal?
    fileprivate let address: String?
    fileprivate let origin: RequestOrigin
    /// On what: an id, which the handler may know better than the path.
    var target: String?
    /// Whether there is something to be recorded.
    private var isDue: Bool
    private var isSettled = false

    fileprivate init(
        _ audit: Audit, _ operation: Operation, _ principal: Principal?, address: String?, origin: RequestOrigin,
        target: String?
    ) {
        self.audit = audit
        self.operation = operation
        self.principal = principal
        self.address = address
        self.origin = origin
        self.target = target
        isDue = operation.change != .sometimes
    }

    /// Something was changed, by an operation that seldom does.
    func happened(to target: String?) {
        self.target = target
        isDue = true
    }

    /// It was done.
    func settle() { settle(.done, nil) }

    /// It was not done, or nobody knows.
    ///
    /// - Parameter isCounted: whoever refused it has counted it.
    func settle(_ problem: Problem, isCounted: Bool = false) {
        // Somebody else has the token, too: that is what matters here of all refreshing.
        if problem.code == "refresh-token-reused" { isDue = true }
        if problem.status == 403, !isCounted, !isSettled { audit.countDenied(problem.code) }
        let outcome: AuditRecord.Outcome =
            switch problem.status {
            case 401, 403: .denied
            case 400..<500: .rejected
            default: .failed
            }
        settle(outcome, problem.code)
    }

    func settle<Value>(_ result: Result<Value, Problem>) {
        switch result {
        case .success: settle()
        case .failure(let problem): settle(problem)
        }
    }

    private func settle(_ outcome: AuditRecord.Outcome, _ code: String?) {
        guard !isSettled, isDue else { return }
        isSettled = true
        audit.record(self, outcome, code)
    }
}
