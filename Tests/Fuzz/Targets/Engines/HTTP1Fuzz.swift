import Bytes
import HTTP1

/// RFC 9112: what a run of bytes means must not depend on how the network cuts it.
func fuzzHTTP1(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let seed = input.byte()
    var limits = HTTP1Limits()
    if seed & 1 == 1 {
        limits.headBytes = 300
        limits.targetBytes = 60
        limits.fields = 8
        limits.chunkExtensionBytes = 16
        limits.trailerBytes = 40
    }
    // With the end of a line behind it: before that, a line need not be judged.
    let script = input.rest() + Array("\r\n\r\n".utf8)
    let whole = read([script[...]], limits)
    for cuts in [0, seed] {
        let cut = read(pieces(script, seed: cuts), limits)
        try promise(cut == whole, "cut by \(cuts): \(cut), whole: \(whole)")
    }
}

private struct Reading: Equatable {
    var requests: [Request] = []
    var error: HTTP1Error?
}

private struct Request: Equatable {
    var head: [[UInt8]]
    var body: [UInt8] = []
    var hasEnded = false
}

/// Reads as a server does: what is not consumed is shown again in front of what comes next.
private func read(_ pieces: [ArraySlice<UInt8>], _ limits: HTTP1Limits) -> Reading {
    var parser = HTTP1Parser()
    let table = HTTP1HeadTable(limits: limits)
    var reading = Reading()
    var waiting: [UInt8] = []
    for piece in pieces {
        waiting += piece
        var offset = 0
        taking: while true {
            let event = parser.next(waiting.span.extracting(offset..<waiting.count), into: table)
            switch event {
            case .needMore(let consumed):
                offset += consumed
                break taking
            case .head(let count):
                let shown = waiting.span.extracting(offset..<(offset + count))
                reading.requests.append(Request(head: describe(HTTP1Head(bytes: shown, table: table))))
                offset += count
                if !parser.expectsBody { reading.requests[reading.requests.count - 1].hasEnded = true }
            case .body(let skip, let count):
                reading.requests[reading.requests.count - 1].body += waiting[(offset + skip)..<(offset + skip + count)]
                offset += skip + count
            case .end(let consumed):
                offset += consumed
                reading.requests[reading.requests.count - 1].hasEnded = true
            case .failed(let error):
                reading.error = error
                return reading
            }
        }
        waiting.removeFirst(offset)
    }
    return reading
}

/// All that can be asked of a head.
private func describe(_ head: HTTP1Head) -> [[UInt8]] {
    var parts = [
        array(head.methodName), array(head.target), array(head.path), array(head.query), array(head.authority),
        Array(
            """
            \(head.minorVersion) \(head.isKeepAlive) \(head.isChunked) \(head.contentLength ?? 0) \
            \(head.hasToken("connection", "upgrade")) \(head.count(of: "cookie"))
            """.utf8),
    ]
    for index in 0..<head.fieldCount {
        parts.append(array(head.name(at: index)))
        parts.append(array(head.value(at: index)))
    }
    if let value = head.value("x-request-id") { parts.append(array(value)) }
    return parts
}

func array(_ span: Span<UInt8>) -> [UInt8] {
    // Proof: the pointer does not leave the closure.
    unsafe span.withUnsafeBufferPointer { unsafe Array($0) }
}
