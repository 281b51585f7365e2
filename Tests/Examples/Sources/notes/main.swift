// A JSON API: notes that belong to whoever has written them.
//   curl -H 'authorization: Bearer ada' -d '{"text":"milk"}' localhost:8080/notes
//   curl -H 'authorization: Bearer ada' localhost:8080/notes/1

import Glibc
import HTTPServer

/// Who asks. A real one would look the token up.
struct Person {
    let name: String
}

/// Lets nobody in without a token, and tells the handler whose it is.
struct Authentication: Gate {
    func admit(_ request: borrowing HTTPRequest, _ response: HTTPResponder) throws(Problem) -> Admission {
        guard let field = request.text("authorization"), field.hasPrefix("Bearer "), field.count > 7 else {
            throw Problem(
                401, "no-token", "Send a token, as in Authorization: Bearer ada.",
                fields: ["WWW-Authenticate": "Bearer"])
        }
        request.attach(Person(name: String(field.dropFirst(7))))
        return .pass
    }
}

/// Lets in ten requests at once, and a hundred a second; the rest is told when to come back. One for each loop.
final class Limit: Gate {
    private var limit = RateLimit(burst: 10, interval: .milliseconds(100))

    func admit(_ request: borrowing HTTPRequest, _ response: HTTPResponder) throws(Problem) -> Admission {
        if limit.take(now: request.startedAt) { return .pass }
        throw Problem(429, "too-many-requests", "Come back in a second.", fields: ["Retry-After": "1"])
    }
}

/// The notes of one loop, which is the only one here.
final class Notes {
    private var notes: [(owner: String, text: String)] = []

    func add(_ request: borrowing HTTPRequest, _ response: HTTPResponder) throws(Problem) {
        notes.append((request[Person.self]?.name ?? "", try text(request.body)))
        let number = notes.count
        response.json(status: 201, fields: ["Location": "/notes/\(number)"]) {
            $0.appendJSON("number", integer: number)
        }
    }

    /// `{"text":"…"}`, whatever else there is.
    private func text(_ body: Span<UInt8>) throws(Problem) -> String {
        do throws(JSONError) {
            var reader = JSONReader(body)
            var text: String?
            try reader.beginObject()
            while let name = try reader.nextMember() {
                if reader.isEqual(name, "text") { text = try reader.readString() } else { try reader.skipValue() }
            }
            try reader.finish()
            if let text { return text }
        } catch {
            throw Problem(400, "invalid-json", "The body is not JSON: \(error.explanation)")
        }
        throw Problem(422, "no-text", "The body has no text; send {\"text\":\"milk\"}.")
    }

    /// Waits a moment, as for a database: the loop serves others meanwhile.
    func get(_ request: HeldRequest) async throws(Problem) -> HTTPResponse {
        try? await Task.sleep(for: .milliseconds(10))
        guard let number = request.pathParameter("number").flatMap({ Int($0) }), notes.indices.contains(number - 1),
            notes[number - 1].owner == request[Person.self]?.name
        else { throw Problem(404, "no-note", "You have no such note.") }
        return .json { $0.appendJSON("text", string: notes[number - 1].text) }
    }
}

let port = CommandLine.arguments.dropFirst().first.flatMap { UInt16($0) } ?? 8080
let status = Server.run(at: .loopback(port: port), loops: 1) { router, _ in
    let notes = Notes()
    let api = router.group("/notes", gates: [Limit(), Authentication()])
    api.post("", bodyBytes: 4096, notes.add)
    api.get("/{number}", deadline: .seconds(2), notes.get)
} ready: {
    print("http://\($0)/notes")
}
exit(status)
