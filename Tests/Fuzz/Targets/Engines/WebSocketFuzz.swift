import Bytes
import WebSockets

/// RFC 6455 and RFC 7692: frames mean the same however they are cut, compressed or not; texts are UTF-8; no message is longer than
/// its bound; what we write, we read.
func fuzzWebSocketFrames(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let seed = input.byte()
    let role: Role = seed & 1 == 1 ? .client : .server
    let limits = WebSocketLimits(maximumMessageSize: 400, maximumFramesPerMessage: 6)
    let script = seed & 2 == 2 ? wellFormedFrames(&input, role) : input.rest()
    let deflates = seed & 4 == 4
    let whole = read([script[...]], role, limits, deflates)
    for cuts in [0, seed] {
        let cut = read(pieces(script, seed: cuts), role, limits, deflates)
        try promise(cut == whole, "cut by \(cuts): \(cut), whole: \(whole)")
    }
    for case .text(let text) in whole {
        try promise(text.count <= limits.maximumMessageSize, "a text of \(text.count) bytes")
        try promise(String(validating: text, as: UTF8.self) != nil, "a text that is not UTF-8: \(text)")
    }
}

/// Frames with the writer's own hand, so that the fuzzer need not learn the header.
private func wellFormedFrames(_ input: inout FuzzInput, _ role: Role) -> [UInt8] {
    var buffer = ByteBuffer()
    while !input.isEmpty {
        let first = input.byte()
        let opcode = Opcode(rawValue: first & 15) ?? .text
        let mask = role == .server ? input.uint32() : nil
        var payload = input.run()
        // With one bit what is compressed is a message, without it any bytes.
        if first & 0x60 == 0x60 {
            var deflater = Deflater(windowBits: 8 + first & 7)
            var compressed = ByteBuffer()
            _ = deflater.deflate(payload.span, into: &compressed)
            payload = compressed.array()
        }
        FrameWriter.append(
            opcode, payload.span, isFinal: first & 0x80 != 0, isDeflated: first & 0x40 != 0, mask: mask, to: &buffer)
    }
    return buffer.array()
}

private enum Heard: Equatable {
    case text([UInt8])
    case binary([UInt8])
    case ping([UInt8])
    case pong([UInt8])
    case close(UInt16, [UInt8])
    case violation(ProtocolViolation)
}

private func read(
    _ pieces: [ArraySlice<UInt8>], _ role: Role, _ limits: WebSocketLimits, _ deflates: Bool
) -> [Heard] {
    var parser = FrameParser(role: role, deflates: deflates)
    var inflater = Inflater()
    var inflated = ByteBuffer()
    var heard: [Heard] = []
    var message: [UInt8] = []
    var waiting: [UInt8] = []
    for piece in pieces {
        waiting += piece
        var offset = 0
        taking: while true {
            var shown = waiting.mutableSpan
            let event = parser.next(&shown, &offset, limits)
            switch event {
            case .needsMoreBytes: break taking
            case .message(let piece):
                message += waiting[piece.offset..<(piece.offset + piece.count)]
                guard piece.isLast else { continue }
                heard.append(piece.isText ? .text(message) : .binary(message))
                message = []
            case .deflated(let piece):
                let before = piece.isFirst ? 0 : inflated.count
                if piece.isFirst { inflated.removeAll() }
                let payload = Array(waiting[piece.offset..<(piece.offset + piece.count)])
                let outcome = inflater.inflate(
                    payload.span, isLast: piece.isLast, limit: limits.maximumMessageSize, into: &inflated)
                let fresh = Array(inflated.array()[before...])
                // The same end, however it is cut: the first thing that is wrong may be another in a shorter piece.
                guard outcome == .taken, !piece.isText || parser.acceptText(fresh.span, isLast: piece.isLast) else {
                    return heard + [.violation(.invalidDeflate)]
                }
                guard piece.isLast else { continue }
                heard.append(piece.isText ? .text(inflated.array()) : .binary(inflated.array()))
            case .ping(let start, let count): heard.append(.ping(Array(waiting[start..<(start + count)])))
            case .pong(let start, let count): heard.append(.pong(Array(waiting[start..<(start + count)])))
            case .close(let code, let start, let count):
                heard.append(.close(code.rawValue, Array(waiting[start..<(start + count)])))
            case .violation(let found): heard.append(.violation(found))
            }
        }
        waiting.removeFirst(offset)
    }
    return heard
}
