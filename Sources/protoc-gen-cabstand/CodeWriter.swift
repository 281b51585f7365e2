import Bytes

/// Lines of code with their indentation.
struct CodeWriter {
    private(set) var text = ""
    private var level = 0

    mutating func line(_ line: String = "") {
        if !line.isEmpty { text += String(repeating: "    ", count: level) + line }
        text += "\n"
    }

    mutating func block(
        _ head: String, _ open: String = " {", _ close: String = "}", _ body: (inout CodeWriter) -> Void
    ) {
        line(head + open)
        level += 1
        body(&self)
        level -= 1
        line(close)
    }

    /// A switch: its cases begin where it begins.
    mutating func switchBlock(_ value: String, _ body: (inout CodeWriter) -> Void) {
        line("switch \(value) {")
        body(&self)
        line("}")
    }

    /// A case of a switch with several statements.
    mutating func caseBlock(_ pattern: String, _ body: (inout CodeWriter) -> Void) {
        line("case \(pattern):")
        level += 1
        body(&self)
        level -= 1
    }

    mutating func throwingBlock(
        _ head: String, _ body: (inout CodeWriter) throws(GeneratorError) -> Void
    ) throws(GeneratorError) {
        line(head + " {")
        level += 1
        try body(&self)
        level -= 1
        line("}")
    }

    /// A comment of the `.proto` file as a doc comment.
    mutating func comment(_ path: [Int32], of file: FileDescriptor, otherwise: String = "") {
        let comment = file.comments[path] ?? otherwise
        if comment.isEmpty { return }
        var lines = comment.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        while lines.last?.allSatisfy(\.isWhitespace) == true { lines.removeLast() }
        for text in lines { line(text.isEmpty ? "///" : text.hasPrefix(" ") ? "///\(text)" : "/// \(text)") }
    }
}

func base64(_ bytes: [UInt8]) -> String {
    var buffer = ByteBuffer()
    Base64.encode(bytes.span, into: &buffer)
    return String(decoding: buffer.array(), as: UTF8.self)
}
