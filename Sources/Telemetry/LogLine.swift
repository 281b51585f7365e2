import Bytes
import Glibc
import Reactor

/// The two forms of a log line. A message from outside cannot forge a second line in either: control characters are
/// escaped.
enum LogLine {
    static func text(
        _ level: LogLevel, _ label: String, _ message: String, _ context: [(name: String, value: String)],
        _ values: [(String, LogValue)], into line: inout ByteBuffer
    ) {
        appendTime(into: &line)
        line.append(UInt8(ascii: " "))
        line.append(utf8: level.rawValue)
        line.append(UInt8(ascii: " "))
        line.append(utf8: label)
        line.append(": ")
        appendEscaped(message, quotes: false, into: &line)
        for (name, value) in context { appendPair(name, value, into: &line) }
        for (name, value) in values { appendPair(name, value.description, into: &line) }
        line.append(UInt8(ascii: "\n"))
    }

    static func json(
        _ level: LogLevel, _ label: String, _ message: String, _ context: [(name: String, value: String)],
        _ values: [(String, LogValue)], into line: inout ByteBuffer
    ) {
        line.append("{\"time\":\"")
        appendTime(into: &line)
        line.append("\",\"level\":\"")
        line.append(utf8: level.rawValue)
        line.append(UInt8(ascii: "\""))
        appendMember("label", label, into: &line)
        appendMember("message", message, into: &line)
        for (name, value) in context { appendMember(name, value, into: &line) }
        for (name, value) in values {
            if case .text(let text) = value {
                appendMember(name, text, into: &line)
            } else {
                line.append(",\"")
                appendEscaped(name, quotes: true, into: &line)
                line.append("\":")
                line.append(utf8: value.description)
            }
        }
        line.append("}\n")
    }

    private static func appendPair(_ name: String, _ value: String, into line: inout ByteBuffer) {
        line.append(UInt8(ascii: " "))
        appendEscaped(name, quotes: false, into: &line)
        line.append(UInt8(ascii: "="))
        let needsQuotes = value.isEmpty || value.utf8.contains { $0 <= 32 || $0 == UInt8(ascii: "\"") || $0 == 0x7F }
        if needsQuotes { line.append(UInt8(ascii: "\"")) }
        appendEscaped(value, quotes: needsQuotes, into: &line)
        if needsQuotes { line.append(UInt8(ascii: "\"")) }
    }

    private static func appendMember(_ name: String, _ value: String, into line: inout ByteBuffer) {
        line.append(",\"")
        appendEscaped(name, quotes: true, into: &line)
        line.append("\":\"")
        appendEscaped(value, quotes: true, into: &line)
        line.append(UInt8(ascii: "\""))
    }

    /// What is plain, nearly always all of it, is copied in runs.
    private static func appendEscaped(_ text: String, quotes: Bool, into line: inout ByteBuffer) {
        var text = text
        text.withUTF8 { bytes in
            let bytes = UnsafeRawBufferPointer(bytes)
            var start = 0
            for place in 0..<bytes.count {
                let byte = unsafe bytes[place]
                switch byte {
                case 0..<32, 0x7F: break
                case UInt8(ascii: "\""), UInt8(ascii: "\\"): if !quotes { continue }
                default: continue
                }
                unsafe line.append(UnsafeRawBufferPointer(rebasing: bytes[start..<place]))
                start = place + 1
                appendEscape(of: byte, into: &line)
            }
            unsafe line.append(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        }
    }

    private static func appendEscape(of byte: UInt8, into line: inout ByteBuffer) {
        switch byte {
        case UInt8(ascii: "\n"): line.append("\\n")
        case UInt8(ascii: "\r"): line.append("\\r")
        case UInt8(ascii: "\t"): line.append("\\t")
        case UInt8(ascii: "\""): line.append("\\\"")
        case UInt8(ascii: "\\"): line.append("\\\\")
        default:
            line.append("\\u00")
            line.append(hexDigit(byte >> 4))
            line.append(hexDigit(byte & 15))
        }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? value + 48 : value + 87 }

    /// RFC 3339 in UTC with milliseconds.
    private static func appendTime(into line: inout ByteBuffer) {
        let now = SystemClock.unixTime()
        var seconds = time_t(now.seconds)
        var calendar = unsafe tm()
        unsafe gmtime_r(&seconds, &calendar)
        unsafe appendPadded(Int(calendar.tm_year) + 1900, 4, into: &line)
        line.append(UInt8(ascii: "-"))
        unsafe appendPadded(Int(calendar.tm_mon) + 1, 2, into: &line)
        line.append(UInt8(ascii: "-"))
        unsafe appendPadded(Int(calendar.tm_mday), 2, into: &line)
        line.append(UInt8(ascii: "T"))
        unsafe appendPadded(Int(calendar.tm_hour), 2, into: &line)
        line.append(UInt8(ascii: ":"))
        unsafe appendPadded(Int(calendar.tm_min), 2, into: &line)
        line.append(UInt8(ascii: ":"))
        unsafe appendPadded(Int(calendar.tm_sec), 2, into: &line)
        line.append(UInt8(ascii: "."))
        appendPadded(Int(now.nanoseconds / 1_000_000), 3, into: &line)
        line.append(UInt8(ascii: "Z"))
    }

    private static func appendPadded(_ value: Int, _ width: Int, into line: inout ByteBuffer) {
        var limit = 10
        for _ in 1..<width {
            if value < limit { line.append(UInt8(ascii: "0")) }
            limit *= 10
        }
        line.append(decimal: value)
    }
}
