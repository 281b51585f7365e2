import Bytes
import HTTPServer
import JSONWire
import ProtobufWire
import Reactor
import RideAPI

/// Answers requests with lists of drivers, of one loop. A short one is written at once; long ones are written one after the
/// other, a part each turn, so that nobody else waits for them.
final class DriverListAnswers {
    /// Bytes of lists that may wait to be written. Beyond them a request is answered with 503: those who ask for long lists
    /// all the time must not take the memory of everybody.
    private static let heldBytes = 64 << 20

    private struct Waiting {
        let parts: DriverListParts
        let responder: HTTPResponder
    }

    /// The list that is being written.
    private struct Writing: ~Copyable {
        let parts: [[UInt8]]
        let responder: HTTPResponder
        var next = 0
        var text = ByteBuffer()
        var count = 0
        var revision: UInt64 = 0
        var asOf: Int64 = 0
        var isTruncated = false
    }

    private let loop: EventLoop
    private let maximumHeldBytes: Int
    private var waiting: [Waiting] = []
    private var held = 0
    private var current: Writing?

    init(loop: EventLoop, maximumHeldBytes: Int = DriverListAnswers.heldBytes) {
        self.loop = loop
        self.maximumHeldBytes = maximumHeldBytes
    }

    /// Answers with the list, now or in some turns.
    func answer(_ responder: HTTPResponder, with parts: DriverListParts) {
        if parts.parts.count <= 1 {
            var writing = Writing(parts: parts.parts, responder: responder)
            loop.charge(parts.byteCount >> 7)
            while !step(&writing) {}
            return
        }
        let bytes = parts.byteCount
        guard held + bytes <= maximumHeldBytes else { return responder.problem(.backendUnavailable(.driver)) }
        held += bytes
        if isIdle { loop.eachTurn { [weak self] in self?.work() ?? false } }
        waiting.append(Waiting(parts: parts, responder: responder))
    }

    private var isIdle: Bool { current == nil && waiting.isEmpty }

    /// One part. False: nothing is left to do.
    private func work() -> Bool {
        goOn()
        return !isIdle
    }

    private func goOn() {
        if current == nil, !waiting.isEmpty {
            let next = waiting.removeFirst()
            held -= next.parts.byteCount
            current = Writing(parts: next.parts.parts, responder: next.responder)
        }
        guard var writing = current.take() else { return }
        // Nobody waits for it any more.
        guard writing.responder.isOpen else { return }
        if !step(&writing) { current = consume writing }
    }

    /// Writes the next part, and answers behind the last one: true.
    private func step(_ writing: inout Writing) -> Bool {
        if writing.next < writing.parts.count {
            do throws(ProtobufError) {
                let text = try DriverListText(decoding: writing.parts[writing.next])
                if writing.count > 0, text.count > 0 { writing.text.append(UInt8(ascii: ",")) }
                writing.text.append(text.drivers)
                writing.count += text.count
                if text.revision != 0 { writing.revision = text.revision }
                if let asOf = text.asOf { writing.asOf = asOf.unixMilliseconds }
                if text.truncated { writing.isTruncated = true }
            } catch {
                writing.responder.problem(.backendBroken(.driver))
                return true
            }
            writing.next += 1
            if writing.next < writing.parts.count { return false }
        }
        writing.responder.respond(200, "application/json") { output in
            output.append("{\"drivers\":[")
            output.append(writing.text.span)
            output.append("]")
            output.appendJSON("version", integer: writing.revision)
            output.appendJSON("as_of", instant: writing.asOf)
            output.appendJSON("truncated", bool: writing.isTruncated)
            output.append("}")
        }
        return true
    }
}
