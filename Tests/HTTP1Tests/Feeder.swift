import Bytes
import HTTP1

/// What a script of requests gives, in words that are easy to compare.
enum Outcome: Equatable, CustomStringConvertible {
    case request(String, body: String)
    case refused(HTTP1Error)
    case incomplete

    var description: String {
        switch self {
        case .request(let head, let body): "\(head) [\(body)]"
        case .refused(let error): "refused \(error)"
        case .incomplete: "incomplete"
        }
    }
}

/// Feeds bytes to a parser as a server would: what is not consumed is shown again in front of what comes next.
struct Feeder: ~Copyable {
    var parser = HTTP1Parser()
    let table: HTTP1HeadTable
    var waiting: [UInt8] = []
    var head: String?
    var body: [UInt8] = []
    var outcomes: [Outcome] = []
    var isRefused = false

    init(limits: HTTP1Limits = .init()) {
        table = HTTP1HeadTable(limits: limits)
    }

    mutating func feed(_ bytes: some Sequence<UInt8>) {
        waiting += bytes
        while !isRefused {
            let shown = waiting
            let event = parser.next(shown.span, into: table)
            switch event {
            case .needMore(let consumed):
                waiting.removeFirst(consumed)
                return
            case .head(let count):
                let view = HTTP1Head(bytes: shown.span, table: table)
                head = "\(text(view.methodName)) \(text(view.target))"
                body = []
                waiting.removeFirst(count)
                if !parser.expectsBody { finish() }
            case .body(let skip, let count):
                body += waiting[skip..<(skip + count)]
                waiting.removeFirst(skip + count)
            case .end(let consumed):
                waiting.removeFirst(consumed)
                finish()
            case .failed(let error):
                outcomes.append(.refused(error))
                isRefused = true
            }
        }
    }

    private mutating func finish() {
        outcomes.append(.request(head ?? "no head", body: String(decoding: body, as: UTF8.self)))
        head = nil
    }

    /// The outcomes, and whether something unfinished is left.
    func result() -> [Outcome] {
        !isRefused && (!waiting.isEmpty || head != nil) ? outcomes + [.incomplete] : outcomes
    }
}

func text(_ bytes: Span<UInt8>) -> String {
    var result = ""
    for index in 0..<bytes.count { result.unicodeScalars.append(Unicode.Scalar(bytes[index])) }
    return result
}

/// The outcomes of `pieces`, fed one after the other.
func outcomes(_ pieces: [ArraySlice<UInt8>], limits: HTTP1Limits = .init()) -> [Outcome] {
    var feeder = Feeder(limits: limits)
    for piece in pieces { feeder.feed(piece) }
    return feeder.result()
}

func outcomes(_ script: String, limits: HTTP1Limits = .init()) -> [Outcome] {
    outcomes([Array(script.utf8)[...]], limits: limits)
}

/// Calls `body` with the head of a well-formed request.
func withHead(_ script: String, _ body: (borrowing HTTP1Head) -> Void) -> HTTP1Event {
    let bytes = Array(script.utf8)
    var parser = HTTP1Parser()
    let table = HTTP1HeadTable()
    let event = parser.next(bytes.span, into: table)
    if case .head = event { body(HTTP1Head(bytes: bytes.span, table: table)) }
    return event
}
