import Bytes
import HTTPServer
import RideAPI
import RideDomain

/// Reading requests: what is wrong with one becomes the problem that says so.
extension HTTPRequest {
    /// The decoded pairs of the query.
    func parameters() throws(Problem) -> [(name: String, value: String)] {
        guard let pairs = queryPairs() else {
            throw Problem(400, "invalid-parameter", "The query can't be decoded; percent-encode it as UTF-8.")
        }
        return pairs
    }

    /// The path as it was sent.
    var pathText: String { unsafe path.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) } }

    /// The identifier in the path; nil if it can't be one, and so names nothing.
    func identifier() -> String? {
        guard let id = pathParameter("id"), Identifier.isValid(id) else { return nil }
        return id
    }

    /// Reads the body; what is wrong with it becomes the problem.
    func readBody<Value>(_ read: (Span<UInt8>) throws(BodyError) -> Value) throws(Problem) -> Value {
        do throws(BodyError) {
            return try read(body)
        } catch {
            throw Problem(body: error)
        }
    }
}

/// Before what changes something: no page of a foreign origin comes through, and no body that is not declared as JSON.
struct ChangeGate: Gate {
    /// Whether there must be a body.
    let needsBody: Bool

    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission {
        if request.isForeign { throw .foreignOrigin("change anything") }
        if (needsBody || request.body.count > 0) && !request.isJSON {
            // RFC 5789 §2.2
            throw Problem(
                415, "unsupported-media-type", "The body must be sent as Content-Type: application/json.",
                fields: request.method == .patch
                    ? ["Accept-Patch": "application/merge-patch+json, application/json"] : HTTPFields())
        }
        return .pass
    }
}

extension Problem {
    /// A page that is not listed wants to do something.
    static func foreignOrigin(_ deed: String) -> Problem {
        Problem(403, "foreign-origin", "Pages of this origin may not \(deed) here; ALLOWED_ORIGINS lists who may.")
    }

    init(body error: BodyError) {
        switch error {
        case .malformed(let error):
            self.init(
                400, "invalid-json", "The body is not JSON: \(error.explanation)",
                errors: [Item(pointer: error.pointer, detail: error.explanation)])
        case .invalid(let violations):
            let more = violations.count > 1 ? " (and \(violations.count - 1) more)" : ""
            self.init(
                422, "invalid-body", (violations.first?.detail ?? "The body is not what is taken here.") + more,
                errors: violations.map { Item(pointer: $0.pointer, detail: $0.detail) })
        }
    }

    init(parameter name: String, _ detail: String) {
        self.init(400, "invalid-parameter", detail, errors: [Item(pointer: "/" + name, detail: detail)])
    }

    static func noDriver(_ id: String) -> Problem {
        Problem(404, "driver-not-found", "There is no driver \"\(id.clipped(to: 64))\".")
    }

    static func noTrip(_ id: String) -> Problem {
        Problem(404, "trip-not-found", "There is no trip \"\(id.clipped(to: 64))\".")
    }
}

/// The parameters of a list: a filter and a page. Unknown and repeated names are refused.
struct ListParameters {
    private(set) var filters: [String: String] = [:]
    private(set) var pageSize: UInt32?
    private(set) var pageToken: String?

    /// - Parameter filters: the names that may be filtered by.
    init(_ pairs: [(name: String, value: String)], filters names: [String]) throws(Problem) {
        var seen: [String] = []
        for (sent, value) in pairs {
            // A name that is longer is none of these.
            let name = sent.clippedVisibly(to: 40)
            if seen.contains(name) { throw Problem(parameter: name, "\(name) is given more than once; give it once.") }
            seen.append(name)
            switch name {
            case "page_size":
                guard let size = UInt32(value), Rules.pageSize.range.contains(Double(size)),
                    value.utf8.allSatisfy({ $0 &- 48 < 10 })
                else {
                    throw Problem(
                        parameter: name, Rules.sentence(name, is: Rules.quoted(value), Rules.pageSize.words))
                }
                pageSize = size
            case "page_token":
                guard !value.isEmpty, value.utf8.count <= 1024 else {
                    throw Problem(
                        parameter: name, Rules.sentence(name, is: Rules.quoted(value), Rules.pageToken))
                }
                pageToken = value
            default:
                guard names.contains(name) else {
                    let known = (names + ["page_size"]).joined(separator: ", ") + " and page_token"
                    throw Problem(
                        parameter: name, "\(name) is not a parameter here; there are \(known).")
                }
                filters[name] = value
            }
        }
    }

    /// The identifier to filter by, if there is one.
    func identifier(_ name: String) throws(Problem) -> String? {
        guard let value = filters[name] else { return nil }
        if let violation = Identifier.violation(of: name, value) { throw Problem(parameter: name, violation) }
        return value
    }
}
