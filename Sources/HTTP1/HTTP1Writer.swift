import Bytes

/// Writes responses (RFC 9112) into a buffer: literals are copied, numbers are written in place, nothing is allocated.
public enum HTTP1Writer {
    /// Appends the status line.
    @inlinable
    public static func statusLine(_ status: Int, to output: inout ByteBuffer) {
        // Most answers are a 200: spare them the table.
        output.append(status == 200 ? "HTTP/1.1 200 OK\r\n" : HTTP1Status.line(status))
    }

    /// Appends `Content-Length: count` with its CR LF.
    @inlinable
    public static func contentLength(_ count: Int, to output: inout ByteBuffer) {
        output.append("Content-Length: ")
        output.append(decimal: count)
        output.append("\r\n")
    }

    /// Appends a field line. A CR, LF or NUL in `value` becomes a space: what comes from outside can't start another line
    /// (response splitting).
    public static func field(_ name: StaticString, _ value: Span<UInt8>, to output: inout ByteBuffer) {
        output.append(name)
        output.append(": ")
        let start = output.count
        output.append(value)
        for offset in start..<output.count where output[offset] == 13 || output[offset] == 10 || output[offset] == 0 {
            output[offset] = 32
        }
        output.append("\r\n")
    }

    /// Appends a field line with text.
    public static func field(_ name: StaticString, _ value: String, to output: inout ByteBuffer) {
        var value = value
        value.withUTF8 { unsafe field(name, Span(_unsafeElements: $0), to: &output) }
    }

    /// Appends one chunk of a chunked body. An empty one is left out: it would end the body.
    public static func chunk(_ data: Span<UInt8>, to output: inout ByteBuffer) {
        guard data.count > 0 else { return }
        var shift = (UInt64.bitWidth - UInt64(data.count).leadingZeroBitCount - 1) / 4 * 4
        while shift >= 0 {
            let digit = UInt8(truncatingIfNeeded: data.count >> shift) & 15
            output.append(digit < 10 ? digit + 48 : digit + 87)
            shift -= 4
        }
        output.append("\r\n")
        output.append(data)
        output.append("\r\n")
    }

    /// Appends the end of a chunked body.
    public static func lastChunk(to output: inout ByteBuffer) {
        output.append("0\r\n\r\n")
    }
}
