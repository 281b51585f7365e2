/// What a gate has decided.
public enum Admission: Sendable, Hashable {
    /// The next gate, and at last the handler, may have the request.
    case pass
    /// The gate has answered, or will; nobody behind it hears of the request.
    case answered
    /// It has to wait first: a gate that is an `AsyncGate`, too, decides in that form. What is common costs no task then.
    case undecided
}

/// Stands before handlers: decides whether a request may reach them, and can attach what it has found out (`attach`) or add
/// field lines to the answer (`addResponseField`). It is called for every route of its group, WebSocket handshakes and
/// files included, when the whole request is there. What it throws is the answer.
///
/// Gates belong to the loop of their server.
public protocol Gate {
    /// Decides on a request, on the loop of the server. What it throws is the answer.
    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission
}

/// A gate that has to wait for something: it gets a copy of the request. Its task runs on the server's loop, and is
/// cancelled when the client goes away; what comes behind the request on its connection is answered after it, as always.
public protocol AsyncGate {
    /// Decides on a request, as a task on the loop of the server. What it throws is the answer.
    func admit(_ request: HeldRequest, _ responder: HTTPResponder) async throws(Problem) -> Admission
}

/// The gates of a group, in order.
enum AnyGate {
    case fast(any Gate)
    case async(any AsyncGate)
}

/// A handler behind gates.
final class GatedHandler {
    private let gates: [AnyGate]
    private let handler: HTTPHandler

    init(_ gates: [AnyGate], _ handler: @escaping HTTPHandler) {
        self.gates = gates
        self.handler = handler
    }

    /// Asks the gates one after the other; where one waits, the rest follows when it has decided.
    func handle(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        try goOn(from: 0, request, responder, copy: nil)
    }

    /// - Parameter copy: that which a gate in front has waited with: one serves them all.
    private func goOn(
        from first: Int, _ request: borrowing HTTPRequest, _ responder: HTTPResponder, copy: HeldRequest?
    ) throws(Problem) {
        for index in first..<gates.count {
            switch gates[index] {
            case .fast(let gate):
                switch try gate.admit(request, responder) {
                case .pass: continue
                case .answered: return
                case .undecided:
                    guard let patient = gate as? any AsyncGate else {
                        preconditionFailure("a gate that can't wait has decided nothing")
                    }
                    return wait(for: patient, at: index, request, responder, copy: copy)
                }
            case .async(let gate): return wait(for: gate, at: index, request, responder, copy: copy)
            }
        }
        try handler(request, responder)
    }

    private func wait(
        for gate: any AsyncGate, at index: Int, _ request: borrowing HTTPRequest, _ responder: HTTPResponder,
        copy: HeldRequest?
    ) {
        let held = copy ?? HeldRequest(request)
        responder.wait(for: held) { () async throws(Problem) in
            let admission = try await gate.admit(held, responder)
            precondition(admission != .undecided, "a gate that has waited decides")
            guard admission == .pass, responder.isOpen, !Task.isCancelled else { return }
            try held.view { (request) throws(Problem) in
                try self.goOn(from: index + 1, request, responder, copy: held)
            }
        }
    }
}
