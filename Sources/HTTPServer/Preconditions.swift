import HTTP1

/// What is known of the form of a file that would be sent, and what the conditions of a request (RFC 9110 §13) make of it.
struct Validators {
    /// Strong, with its quotation marks.
    let tag: String
    /// When the file was changed, Unix seconds.
    let modified: Int64
    /// Whether no other form of it was changed in the same second.
    let isDateStrong: Bool
    /// Unix seconds, for years of two digits.
    let now: Int64

    enum Outcome {
        case send, notModified, failed
    }

    /// The conditions of GET and HEAD, in the order of RFC 9110 §13.2.2: a tag goes before a date, and what forbids before
    /// what spares. A date that is none, or that is there twice, is no condition.
    func judge(_ head: HTTP1Head) -> Outcome {
        if head.has("if-match") {
            if !isListed(head, "if-match", strongly: true) { return .failed }
        } else if let date = date(head, "if-unmodified-since"), modified > date {
            return .failed
        }
        if head.has("if-none-match") { return isListed(head, "if-none-match", strongly: false) ? .notModified : .send }
        if let date = date(head, "if-modified-since"), modified <= date { return .notModified }
        return .send
    }

    /// Whether the client has a part of the very bytes that it asks for the rest of (RFC 9110 §13.1.5).
    func rangeApplies(_ head: HTTP1Head) -> Bool {
        guard let condition = head.value("if-range") else { return true }
        if head.count(of: "if-range") > 1 { return false }
        return isTag(condition) || isDateStrong && date(head, "if-range") == modified
    }

    private func date(_ head: HTTP1Head, _ name: StaticString) -> Int64? {
        guard let value = head.value(name), head.count(of: name) == 1 else { return nil }
        return HTTP1Date.parse(value, now: now)
    }

    private func isListed(_ head: HTTP1Head, _ name: StaticString, strongly: Bool) -> Bool {
        var index = head.index(of: name)
        while index >= 0 {
            if isIn(head.value(at: index), strongly: strongly) { return true }
            index = head.index(of: name, from: index + 1)
        }
        return false
    }

    /// Whether a line of tags (RFC 9110 §8.8.3), in which a comma may be part of one, has this one, or is `*`.
    private func isIn(_ line: Span<UInt8>, strongly: Bool) -> Bool {
        if line.count == 1 { return line[0] == UInt8(ascii: "*") }
        let quote = UInt8(ascii: "\"")
        var offset = 0
        while offset < line.count {
            let start = offset
            offset += 1
            if line[start] != quote { continue }
            while offset < line.count, line[offset] != quote { offset += 1 }
            if offset == line.count { return false }
            offset += 1
            let isWeak = start > 0 && line[start - 1] == UInt8(ascii: "/")
            if isTag(line.extracting(start..<offset)), !(strongly && isWeak) { return true }
        }
        return false
    }

    private func isTag(_ text: Span<UInt8>) -> Bool {
        guard text.count == tag.utf8.count else { return false }
        var index = 0
        for byte in tag.utf8 {
            if text[index] != byte { return false }
            index += 1
        }
        return true
    }
}
