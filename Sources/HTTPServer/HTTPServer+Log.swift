import HTTP1
import Telemetry

// Lines about requests. All of this is off the common path: whoever calls it has compared before.
extension HTTPServer {
    /// The request whose handler is being called was answered within the turn, or upgraded.
    @inline(never)
    func noteCurrent(_ status: Int) {
        note(context.value.route, status, 0, context.value.requestID, context.value.trace)
    }

    /// A request was answered.
    ///
    /// - Parameter duration: nanoseconds from its dispatch.
    @inline(never)
    func note(_ target: borrowing ResponseTarget, _ status: Int, _ duration: UInt64) {
        if !target.isCurrent, let answer = target.answer {
            note(target.route, status, duration, answer.value.requestID, answer.value.trace)
        } else {
            note(target.route, status, duration, context.value.requestID, context.value.trace)
        }
    }

    @inline(never)
    func note(_ route: Int, _ status: Int, _ duration: UInt64, _ id: RequestID, _ trace: TraceContext) {
        let known = route < 0 ? nil : router.routes[route]
        let isReport = known.map { router.reports.contains($0.pattern) } ?? false
        core.value.log.note(
            isReport ? nil : Self.level(status), "request", nanoseconds: duration, now: loop.now,
            RequestOrigin(requestID: id.text, trace: trace),
            [
                ("method", .text(known.map { "\($0.method.name)" } ?? "any")),
                ("route", .text(known?.pattern ?? "other")), ("status", .integer(status)),
            ])
    }

    /// 501 and 505 are answers to what the client wants, not failures of this side.
    private static func level(_ status: Int) -> LogLevel? {
        switch status {
        case ..<500, 501, 505: nil
        case 502...504: .warning
        default: .error
        }
    }
}
