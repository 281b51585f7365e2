import Bytes

extension HTTP1Parser {
    /// Reads the chunked coding (RFC 9112 §7.1) from `base[0]` on, up to the next piece of data or the end of the body.
    ///
    /// Byte by byte in the framing, which is short; data is passed on whole. Trailer fields are checked and dropped.
    mutating func nextChunked(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ limits: HTTP1Limits
    ) -> HTTP1Event {
        var offset = 0
        while true {
            if phase == .bodyEnd {
                phase = .head
                searched = 0
                return .end(consumed: offset)
            }
            if offset == count { return .needMore(consumed: offset) }
            if phase == .chunkData {
                let taken = Int(min(UInt64(count - offset), remaining))
                remaining -= UInt64(taken)
                if remaining == 0 { phase = .chunkDataCR }
                return .body(skip: offset, count: taken)
            }
            let byte = unsafe base[offset]
            offset += 1
            if let error = phase.rawValue < Phase.chunkData.rawValue
                ? stepSize(byte, limits) : stepTrailer(byte, limits)
            {
                return fail(error)
            }
        }
    }

    /// One byte of a chunk's first line: `size [ext] CR LF`.
    private mutating func stepSize(_ byte: UInt8, _ limits: HTTP1Limits) -> HTTP1Error? {
        switch phase {
        case .chunkSizeStart:
            guard let value = ASCII.hexValue(byte) else { return byte == 10 ? .bareLineFeed : .badChunkSize }
            remaining = UInt64(value)
            digits = 1
            phase = .chunkSize
        case .chunkSize:
            if let value = ASCII.hexValue(byte) {
                // 15 digits are 2⁶⁰ bytes; leading zeros count, or a size could go on for ever.
                if digits == 15 { return .chunkSizeOverflow }
                digits += 1
                remaining = remaining << 4 | UInt64(value)
            } else {
                return stepAfterSize(byte, limits)
            }
        case .chunkSpace:
            return stepAfterSize(byte, limits)
        case .chunkExtension:
            if byte == 13 {
                phase = .chunkSizeLF
            } else if byte == 10 {
                return .bareLineFeed
            } else if byte < 32 && byte != 9 || byte == 127 {
                return .badChunkExtension
            } else {
                return countExtensionByte(limits)
            }
        default:
            guard byte == 10 else { return .bareCarriageReturn }
            phase = remaining == 0 ? .trailerLine : .chunkData
        }
        return nil
    }

    private mutating func stepAfterSize(_ byte: UInt8, _ limits: HTTP1Limits) -> HTTP1Error? {
        switch byte {
        case 13 where phase == .chunkSize: phase = .chunkSizeLF
        case 32, 9: phase = .chunkSpace
        case UInt8(ascii: ";"): phase = .chunkExtension
        case 10: return .bareLineFeed
        default: return .badChunkSize
        }
        return phase == .chunkSizeLF ? nil : countExtensionByte(limits)
    }

    private mutating func countExtensionByte(_ limits: HTTP1Limits) -> HTTP1Error? {
        searched += 1
        return Int(searched) > limits.chunkExtensionBytes ? .chunkExtensionsTooLong : nil
    }

    /// One byte of the CR LF behind a chunk's data, or of the trailer section.
    private mutating func stepTrailer(_ byte: UInt8, _ limits: HTTP1Limits) -> HTTP1Error? {
        switch phase {
        case .chunkDataCR:
            guard byte == 13 else { return .badChunkTerminator }
            phase = .chunkDataLF
            return nil
        case .chunkDataLF:
            guard byte == 10 else { return .badChunkTerminator }
            phase = .chunkSizeStart
            return nil
        case .lastLF:
            guard byte == 10 else { return .bareCarriageReturn }
            phase = .bodyEnd
            return nil
        default: break
        }
        trailerBytes += 1
        if Int(trailerBytes) > limits.trailerBytes { return .trailerTooLarge }
        switch phase {
        case .trailerLine where byte == 13: phase = .lastLF
        case .trailerLine, .trailerName:
            if byte == UInt8(ascii: ":") && phase == .trailerName {
                phase = .trailerValue
            } else if HTTP1Parser.isTokenByte(byte) {
                phase = .trailerName
            } else {
                return byte == 10 ? .bareLineFeed : .badTrailer
            }
        case .trailerValue:
            if byte == 13 {
                phase = .trailerLineLF
            } else if byte < 32 && byte != 9 || byte == 127 {
                return byte == 10 ? .bareLineFeed : .badTrailer
            }
        default:
            guard byte == 10 else { return .bareCarriageReturn }
            phase = .trailerLine
        }
        return nil
    }

    /// Whether `byte` may be in a token (RFC 9110 §5.6.2).
    static func isTokenByte(_ byte: UInt8) -> Bool {
        unsafe byte < 128 && tokenBytes.utf8Start[Int(byte)] == UInt8(ascii: "1")
    }
}
