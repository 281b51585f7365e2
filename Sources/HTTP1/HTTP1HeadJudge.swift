import Bytes

/// Where the judge is in a head.
@usableFromInline
enum HeadStep: UInt8, Sendable, BitwiseCopyable {
    /// In front of the request line, or behind a CR there.
    case start, startLF
    case method, target, version, versionLF
    /// In front of a field line or of the empty line.
    case line
    case name, value, valueLF
    /// Behind the CR of the empty line.
    case endLF
}

/// What the judge found.
enum HeadVerdict {
    case unfinished
    /// The head ends before this offset.
    case good(Int)
    case bad(HTTP1Error)
}

/// Judges a head byte by byte (RFC 9112 §2 to §5): a head that comes in pieces, and every one in which something is wrong.
///
///     start ─▶ method ─▶ target ─▶ version ─▶ line ─▶ name ─▶ value ─▶ line ─▶ … ─▶ end
///
/// The verdict is that of the first byte that no good head can have in its place. So it is the same whether the bytes come
/// one by one or all at once, and it comes with that byte: nobody waits for a line's end to hear that its beginning was
/// wrong.
extension HTTP1Parser {
    /// Looks at the bytes that were not judged before.
    mutating func judgeHead(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> HeadVerdict {
        let limits = unsafe table.pointee.limits
        var offset = Int(searched)
        while offset < count {
            if offset >= limits.headBytes { return .bad(.headTooLarge) }
            let byte = unsafe base[offset]
            offset += 1
            let error =
                unsafe step.rawValue < HeadStep.line.rawValue
                ? judgeRequestLine(byte, base, offset, table, limits) : judgeField(byte, table)
            if let error { return .bad(error) }
            if step == .endLF, byte == 10 {
                step = .start
                judgedFields = 0
                searched = 0
                return .good(offset)
            }
        }
        searched = Int32(clamping: count)
        return .unfinished
    }

    /// One byte of the request line or of the empty lines in front of it; `end` lies behind it.
    private mutating func judgeRequestLine(
        _ byte: UInt8, _ base: UnsafePointer<UInt8>, _ end: Int, _ table: UnsafeMutablePointer<HTTP1HeadStorage>,
        _ limits: HTTP1Limits
    ) -> HTTP1Error? {
        switch step {
        case .start:
            if byte == 13 {
                step = .startLF
            } else if byte <= 13 {
                return byte == 10 ? .bareLineFeed : .badRequestLine
            } else {
                begin(.method, end - 1)
                return judgeMethod(byte, end, limits)
            }
        case .startLF:
            guard byte == 10 else { return .bareCarriageReturn }
            if end > 2 * limits.leadingEmptyLines { return .badRequestLine }
            step = .start
        case .method: return judgeMethod(byte, end, limits)
        case .target: return judgeTarget(byte, end, limits)
        case .version: return unsafe judgeVersion(byte, base, end)
        default:
            guard byte == 10 else { return .bareCarriageReturn }
            unsafe table.pointee.reset()
            // All bytes are allowed where they are; what is left is the form of the target.
            guard let start = unsafe skipEmptyLines(base, end, limits),
                unsafe readRequestLine(base, start, end, table, limits) != nil
            else { return .badTarget }
            step = .line
        }
        return nil
    }

    private mutating func begin(_ next: HeadStep, _ offset: Int) {
        step = next
        // A head has no more than 65,535 bytes.
        partStart = UInt16(clamping: offset)
    }

    private mutating func judgeMethod(_ byte: UInt8, _ end: Int, _ limits: HTTP1Limits) -> HTTP1Error? {
        let before = end - 1 - Int(partStart)
        if HTTP1Parser.isTokenByte(byte) { return before < limits.methodBytes ? nil : .badRequestLine }
        guard byte == 32, before > 0 else { return byte == 10 ? .bareLineFeed : .badRequestLine }
        begin(.target, end)
        return nil
    }

    private mutating func judgeTarget(_ byte: UInt8, _ end: Int, _ limits: HTTP1Limits) -> HTTP1Error? {
        let before = end - 1 - Int(partStart)
        if byte > 32 {
            if byte == UInt8(ascii: "#") || byte >= 127 { return .badTarget }
            return before < limits.targetBytes ? nil : .targetTooLong
        }
        guard byte == 32, before > 0 else { return byte == 10 ? .bareLineFeed : .badRequestLine }
        begin(.version, end)
        return nil
    }

    /// "HTTP/", a digit, ".", a digit, CR.
    private mutating func judgeVersion(_ byte: UInt8, _ base: UnsafePointer<UInt8>, _ end: Int) -> HTTP1Error? {
        let index = end - 1 - Int(partStart)
        switch index {
        case 5, 7:
            guard byte &- 48 < 10 else { return .badVersion }
            // A version of two digits that is not ours is another fault than what is no version.
            if index == 7, unsafe base[end - 3] != UInt8(ascii: "1") { return .unsupportedVersion }
        case 8:
            guard byte == 13 else { return byte == 10 ? .bareLineFeed : .badVersion }
            step = .versionLF
        default:
            let name: StaticString = "HTTP/ ."
            guard unsafe byte == name.utf8Start[index] else { return .badVersion }
        }
        return nil
    }

    /// One byte of a field line or of the empty line at the end.
    private mutating func judgeField(
        _ byte: UInt8, _ table: UnsafeMutablePointer<HTTP1HeadStorage>
    ) -> HTTP1Error? {
        switch step {
        case .line:
            if HTTP1Parser.isTokenByte(byte) {
                step = .name
            } else if byte == 13 {
                step = .endLF
            } else {
                return switch byte {
                case 10: .bareLineFeed
                case UInt8(ascii: ":"): .emptyFieldName
                case 32, 9: .obsoleteFold
                default: .badFieldName
                }
            }
        case .name:
            if byte == UInt8(ascii: ":") {
                step = .value
            } else if !HTTP1Parser.isTokenByte(byte) {
                return byte == 10 ? .bareLineFeed : .badFieldName
            }
        case .value:
            if byte == 13 {
                step = .valueLF
            } else if byte < 32 && byte != 9 || byte == 127 {
                return byte == 10 ? .bareLineFeed : .badFieldValue
            }
        case .valueLF:
            guard byte == 10 else { return .bareCarriageReturn }
            if unsafe Int(judgedFields) >= table.pointee.maximumFields { return .tooManyFields }
            judgedFields += 1
            step = .line
        default:
            guard byte == 10 else { return .bareCarriageReturn }
        }
        return nil
    }
}
