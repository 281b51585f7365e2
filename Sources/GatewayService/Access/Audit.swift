import Access
import Basics
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
    private let loop: EventLoop
    private let metrics: AccessMetrics
    private let publish: (AuditRecord) -> Void
    private let logger = Logger(label: "audit")
    private var identifiers = UUIDv7Generator()

    /// - Parameter publish: takes each record, on the loop.
    init(loop: EventLoop, metrics: AccessMetrics, publish: @escaping (AuditRecord) -> Void) {
        self.loop = loop
        self.metrics = metrics
        self.publish = publish
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
            requestID: request.requestID, target: target)
    }

    fileprivate func record(_ entry: borrowing AuditEntry, _ outcome: AuditRecord.Outcome, _ code: String?) {
        let now = loop.wallClockMilliseconds
        let random = (loop.randomNumber(), loop.randomNumber())
        let record = AuditRecord(
            eventID: identifiers.next(milliseconds: now, random: random).text, at: now, service: "gateway",
            subject: entry.principal?.subject, roles: entry.principal?.roles.map(\.rawValue).sorted() ?? [],
            address: entry.address, operation: "\(entry.operation)", target: entry.target, outcome: outcome, code: code,
            requestID: entry.requestID)
        var line: [(String, LogValue)] = [
            ("operation", .text(record.operation)), ("outcome", .text(outcome.rawValue)),
            ("subject", .text(record.subject ?? "")), ("roles", .text(record.roles.joined(separator: " "))),
            ("request_id", .text(record.requestID)), ("event_id", .text(record.eventID)),
        ]
        if let address = record.address { line.append(("address", .text(address))) }
        if let target = record.target { line.append(("target", .text(target))) }
        if let code { line.append(("code", .text(code))) }
        logger.log(.notice, outcome == .denied ? "denied" : "changed", values: line)
        publish(record)
    }

    fileprivate func countDenied(_ code: String) { metrics.refused(code) }
}

/// One request that changes something, until it is known what came of it. Belongs to its loop.
final class AuditEntry {
    private let audit: Audit
    fileprivate let operation: Operation
    fileprivate let principal: Principal?
    fileprivate let address: String?
    fileprivate let requestID: String
    /// On what: an id, which the handler may know better than the path.
    var target: String?
    /// Whether there is something to be recorded.
    private var isDue: Bool
    private var isSettled = false

    fileprivate init(
        _ audit: Audit, _ operation: Operation, _ principal: Principal?, address: String?, requestID: String,
        target: String?
    ) {
        self.audit = audit
        self.operation = operation
        self.principal = principal
        self.address = address
        self.requestID = requestID
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
