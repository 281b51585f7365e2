import Bytes

/// The rules for whole header blocks (RFC 9113 §8.2, §8.3). A block that breaks one is malformed: a stream error.
///
/// They change nothing: the decoder is `inout` because Swift 6.3 copies one that is borrowed, all of it, to the stack.
enum HeaderBlock {
    /// A request. Returns what `content-length` promises, -1 when it says nothing; nil: malformed.
    static func checkRequest(_ headers: inout HPACKDecoder) -> Int64? {
        var seen: UInt32 = 0  // pseudo-headers, by token
        var regular = false
        var isConnect = false
        var length: Int64 = -1
        for index in 0..<headers.count {
            let field = headers[index]
            guard field.isNameValid && field.isValueValid else { return nil }
            switch field.token {
            case .method, .path, .scheme, .authority:
                // Before all others, each at most once (§8.3).
                let bit = UInt32(1) << UInt32(field.token.rawValue)
                guard !regular && seen & bit == 0 else { return nil }
                seen |= bit
                if field.token == .path && field.valueCount == 0 { return nil }
                if field.token == .method { isConnect = field.valueEquals("CONNECT") }
            case .status, .protocol:
                return nil
            default:
                regular = true
                guard isAllowed(field, &length) else { return nil }
            }
        }
        let method = UInt32(1) << 2
        let path = UInt32(1) << 4
        let scheme = UInt32(1) << 6
        let authority = UInt32(1) << 1
        if isConnect { return seen == method | authority ? length : nil }  // §8.5
        return seen & (method | path | scheme) == method | path | scheme ? length : nil
    }

    /// A response. 204 and 304 have no content, whatever they say of its length (RFC 9110 §6.4.1). Nil: malformed.
    static func checkResponse(
        _ headers: inout HPACKDecoder
    ) -> (isInformational: Bool, contentLength: Int64)? {
        var status = 0
        var regular = false
        var length: Int64 = -1
        for index in 0..<headers.count {
            let field = headers[index]
            guard field.isNameValid && field.isValueValid else { return nil }
            switch field.token {
            case .status:
                guard !regular, status == 0, field.valueCount == 3,
                    let value = unsafe ASCII.decimal(Span(_unsafeBytes: field.value)), value >= 100, value != 101
                else { return nil }
                status = Int(value)
            case .method, .path, .scheme, .authority, .protocol:
                return nil
            default:
                regular = true
                guard isAllowed(field, &length) else { return nil }
            }
        }
        guard status != 0 else { return nil }
        return (status < 200, status == 204 || status == 304 ? 0 : length)
    }

    /// Trailers: no pseudo-headers.
    static func checkTrailers(_ headers: inout HPACKDecoder) -> Bool {
        var length: Int64 = -1
        for index in 0..<headers.count {
            let field = headers[index]
            guard field.isNameValid && field.isValueValid else { return false }
            switch field.token {
            case .method, .path, .scheme, .authority, .protocol, .status: return false
            default: guard isAllowed(field, &length) else { return false }
            }
        }
        return true
    }

    /// Connection-specific fields are not allowed (§8.2.2), `te` only with `trailers`; `content-length` is a number that does
    /// not change.
    @inline(__always)
    private static func isAllowed(_ field: HeaderField, _ length: inout Int64) -> Bool {
        switch field.token {
        case .connection, .keepAlive, .proxyConnection, .upgrade, .transferEncoding:
            return false
        case .te:
            return field.valueEquals("trailers")
        case .contentLength:
            guard let value = unsafe ASCII.decimal(Span(_unsafeBytes: field.value)), value <= UInt64(Int64.max),
                length == -1 || length == Int64(value)
            else { return false }
            length = Int64(value)
            return true
        default:
            return true
        }
    }
}
