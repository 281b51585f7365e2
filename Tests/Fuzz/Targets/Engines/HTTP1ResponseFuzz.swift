import Bytes
import HTTP1

/// RFC 9112 from the client's side: what a run of bytes means must not depend on how the network cuts it.
func fuzzHTTP1Responses(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let seed = input.byte()
    let ends = seed & 2 != 0
    let methods = (0..<4).map { seed >> (4 + $0) & 1 == 1 ? HTTP1Method.head : .get }
    var limits = HTTP1Limits()
    if seed & 1 == 1 {
        limits.headBytes = 200
        limits.fields = 8
        limits.chunkExtensionBytes = 16
        limits.trailerBytes = 40
    }
    let script = input.rest()
    let whole = read([script[...]], methods, ends, limits)
    for cuts in [0, seed] {
        let cut = read(pieces(script, seed: cuts), methods, ends, limits)
        try promise(cut == whole, "cut by \(cuts): \(cut), whole: \(whole)")
    }
}

/// Heads and bodies, one after the other, and what was wrong at the end.
private struct Reading: Equatable {
    var parts: [[UInt8]] = []
    var error: HTTP1Error?
}

private func read(
    _ pieces: [ArraySlice<UInt8>], _ methods: [HTTP1Method], _ ends: Bool, _ limits: HTTP1Limits
) -> Reading {
    var parser = HTTP1ResponseParser()
    let table = HTTP1HeadTable(limits: limits)
    var methods = methods[...]
    var reading = Reading()
    var waiting: [UInt8] = []
    func expectNext() {
        if parser.isIdle, let next = methods.popFirst() { parser.expect(next) }
    }
    expectNext()
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
                let head = HTTP1Head(bytes: waiting.span.extracting(offset..<(offset + count)), table: table)
                reading.parts.append(
                    Array("\(head.status) \(head.minorVersion) \(parser.isReusable) \(parser.isIdle)".utf8)
                        + array(head.reason))
                for index in 0..<head.fieldCount {
                    reading.parts.append(array(head.name(at: index)) + [58] + array(head.value(at: index)))
                }
                reading.parts.append([])
                offset += count
                expectNext()
            case .body(let skip, let count):
                reading.parts[reading.parts.count - 1] += waiting[(offset + skip)..<(offset + skip + count)]
                offset += skip + count
            case .end(let consumed):
                offset += consumed
                reading.parts.append(Array("end".utf8))
                expectNext()
            case .failed(let error):
                reading.error = error
                return reading
            }
        }
        waiting.removeFirst(offset)
    }
    if ends { reading.error = parser.inputEnded() }
    return reading
}
