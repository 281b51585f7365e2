/// What a server may send to a client, right and wrong, in files (`Tests/HTTP2Tests/Corpus`), by the sections of RFC 9113 that
/// say what must come of it:
///
///     [a name] RFC 9113 §6.5.2
///     < what the client does: request, open (a request that goes on), body STREAM BYTES, end STREAM, reset STREAM; refused: it
///       may open no stream. First of all: before settings (the server's), small windows (100 bytes, of which it takes none)
///     > TYPE STREAM FLAG… | what is in it | …            a frame that the server sends; 9*TYPE sends it nine times
///     + the same: a frame that the client answers with
///     ! what the client's user is told
///     = accepted, connection error CODE reason, stream error CODE on STREAM, or the same on closed STREAM
///     . open, going away or failed, and the streams that are still there
///
/// What is in a frame: `name: value` is a field, not indexed; `NAME number` a setting; `u8`, `u16`, `u32`, `u64` and a number;
/// the name of an error code; `#00ff` bytes; and `"text"` as `CorpusText` has it. A TYPE may be a number, like a FLAG, and the
/// word LENGTH=n after them a length that is not true, R the bit that is reserved.
public struct HTTP2Script: Sendable {
    public enum Step: Sendable {
        /// The server sends these bytes.
        case send([UInt8])
        /// The client does something: its words.
        case act([String])
    }

    public enum Outcome: Sendable {
        case accepted
        case connectionError(code: UInt32, reason: String)
        case streamError(code: UInt32, stream: UInt32, isClosed: Bool)
        /// The client sends a frame.
        case answer([UInt8])
        /// The client's user is told this.
        case told(String)
    }

    public struct Malformed: Error {
        public let line: String
    }

    public var name: String
    public var steps: [Step] = []
    /// In the order in which they come, answers and errors among each other, and errors and what the user is told.
    public var outcomes: [Outcome] = []
    /// "open", "going away" or "failed".
    public var state = ""
    /// Streams that have not ended.
    public var streams: [UInt32] = []

    /// Bytes that the server sends.
    public var size: Int { steps.reduce(0) { if case .send(let bytes) = $1 { $0 + bytes.count } else { $0 } } }

    public static let files = [
        "4-frames", "5.1-streams", "5.4-errors", "6.1-data", "6.2-headers", "6.3-priority", "6.5-settings",
        "6.7-control",
        "6.9-flow-control", "8.1-responses", "8.2-fields",
    ]

    public static func read(_ file: String) throws -> [HTTP2Script] {
        let text = TemporaryFolder.read("\(Tool.repository)/Tests/HTTP2Tests/Corpus/\(file).frames")
        var scripts: [HTTP2Script] = []
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let malformed = Malformed(line: "\(file): \(line)")
            if line.hasPrefix("[") {
                guard let section = line.firstRange(of: "] RFC ") else { throw malformed }
                scripts.append(
                    HTTP2Script(name: "\(line[section.upperBound...]): \(line[..<section.lowerBound].dropFirst())"))
                continue
            }
            guard let index = scripts.indices.last, scripts[index].take(line.prefix(2), line.dropFirst(2)) else {
                throw malformed
            }
        }
        return scripts
    }

    private mutating func take(_ kind: Substring, _ text: Substring) -> Bool {
        switch kind {
        case "> ":
            guard let frame = Self.frame(text) else { return false }
            if case .send(let bytes)? = steps.last {
                steps[steps.count - 1] = .send(bytes + frame)
            } else {
                steps.append(.send(frame))
            }
        case "< ": steps.append(.act(text.split(separator: " ").map(String.init)))
        case "+ ":
            guard let frame = Self.frame(text) else { return false }
            outcomes.append(.answer(frame))
        case "! ": outcomes.append(.told(String(text)))
        case "= ":
            guard let outcome = Self.outcome(text) else { return false }
            outcomes.append(outcome)
        case ". ":
            let words = text.split(separator: " ")
            streams = words.compactMap { UInt32($0) }
            state = words.filter { UInt32($0) == nil }.joined(separator: " ")
            return ["open", "going away", "failed"].contains(state)
        default: return false
        }
        return true
    }

    private static func outcome(_ text: Substring) -> Outcome? {
        let words = text.split(separator: " ")
        if words == ["accepted"] { return .accepted }
        guard words.count >= 4, words[1] == "error", let code = codes.firstIndex(of: String(words[2])) else {
            return nil
        }
        if words[0] == "connection" { return .connectionError(code: UInt32(code), reason: String(words[3])) }
        guard words[0] == "stream", words[3] == "on", let stream = UInt32(words.last!) else { return nil }
        return .streamError(code: UInt32(code), stream: stream, isClosed: words[4] == "closed")
    }

    // MARK: Frames

    private static let types = [
        "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
        "CONTINUATION",
    ]
    private static let flags: [Substring: UInt8] = [
        "END_STREAM": 1, "ACK": 1, "END_HEADERS": 4, "PADDED": 8, "PRIORITY": 0x20,
    ]
    private static let settings = [
        "", "HEADER_TABLE_SIZE", "ENABLE_PUSH", "MAX_CONCURRENT_STREAMS", "INITIAL_WINDOW_SIZE", "MAX_FRAME_SIZE",
        "MAX_HEADER_LIST_SIZE",
    ]
    private static let codes = [
        "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
        "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
    ]

    private static func number<Number: FixedWidthInteger>(_ text: some StringProtocol) -> Number? {
        text.hasPrefix("0x") ? Number(text.dropFirst(2), radix: 16) : Number(text)
    }

    private static func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        (1...Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> (Number.bitWidth - 8 * $0)) }
    }

    private static func frame(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: "|").map { $0.drop { $0 == " " } }
        var words = parts[0].split(separator: " ")
        var times = 1
        if let star = words[0].firstIndex(of: "*") {
            times = Int(words[0][..<star]) ?? 0
            words[0] = words[0][star...].dropFirst()
        }
        guard words.count >= 2, let type = types.firstIndex(of: String(words[0])).map(UInt8.init) ?? number(words[0]),
            var stream: UInt32 = number(words[1])
        else { return nil }
        var payload: [UInt8] = []
        for part in parts.dropFirst() {
            // The blank in front of the next bar is not part of it.
            guard let item = item(part.last == " " ? part.dropLast() : part) else { return nil }
            payload += item
        }
        var flags: UInt8 = 0
        var length = payload.count
        for word in words.dropFirst(2) {
            if word == "R" {
                stream |= 1 << 31
            } else if word.hasPrefix("LENGTH=") {
                guard let claimed = Int(word.dropFirst(7)) else { return nil }
                length = claimed
            } else {
                guard let flag: UInt8 = Self.flags[word] ?? number(word) else { return nil }
                flags |= flag
            }
        }
        let frame = bytes(UInt32(length)).dropFirst() + [type, flags] + bytes(stream) + payload
        return Array(repeatElement(frame, count: times).joined())
    }

    private static func item(_ text: Substring) -> [UInt8]? {
        if text.hasPrefix("#") {
            let digits = text.dropFirst().filter { $0 != " " }
            var result: [UInt8] = []
            for index in stride(from: 0, to: digits.count, by: 2) {
                guard let byte = UInt8(digits.dropFirst(index).prefix(2), radix: 16) else { return nil }
                result.append(byte)
            }
            return result
        }
        if text.hasPrefix("\"") { return CorpusText.bytes(text.dropFirst().dropLast()) }
        if let code = codes.firstIndex(of: String(text)) { return bytes(UInt32(code)) }
        // A field, whose name may begin with a colon, or be one.
        if let colon = text.dropFirst().firstRange(of: ":") {
            guard let name = CorpusText.bytes(text[..<colon.lowerBound]),
                let value = CorpusText.bytes(text[colon.upperBound...].dropFirst())
            else { return nil }
            return [0] + string(name) + string(value)
        }
        let words = text.split(separator: " ")
        guard words.count == 2 else { return nil }
        switch words[0] {
        case "u8": return number(words[1]).map { (value: UInt8) in bytes(value) }
        case "u16": return number(words[1]).map { (value: UInt16) in bytes(value) }
        case "u32": return number(words[1]).map { (value: UInt32) in bytes(value) }
        case "u64": return number(words[1]).map { (value: UInt64) in bytes(value) }
        default:
            guard let name: UInt16 = settings.firstIndex(of: String(words[0])).map(UInt16.init) ?? number(words[0]),
                let value: UInt32 = number(words[1])
            else { return nil }
            return bytes(name) + bytes(value)
        }
    }

    /// A string as HPACK has it, without Huffman code (RFC 7541 §5.2).
    private static func string(_ bytes: [UInt8]) -> [UInt8] {
        if bytes.count < 127 { return [UInt8(bytes.count)] + bytes }
        precondition(bytes.count < 127 + 128 * 128)
        let rest = bytes.count - 127
        return [127, UInt8(rest & 127) | 128, UInt8(rest >> 7)] + bytes
    }
}
