import Bytes

/// The scheme of access tokens in `authorization`, over HTTP and over gRPC (RFC 6750 §2.1).
public enum BearerScheme {
    /// What stands behind the scheme and one or more spaces (RFC 9110 §11.4); nil: it is another scheme, or nothing is behind it.
    @_lifetime(copy value)
    public static func token(in value: Span<UInt8>) -> Span<UInt8>? {
        guard value.count > 7, ASCII.equalsIgnoringCase(value.extracting(..<7), "bearer ") else { return nil }
        var start = 7
        while start < value.count && value[start] == UInt8(ascii: " ") { start += 1 }
        return value.extracting(start...)
    }
}
