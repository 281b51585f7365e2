import Bytes
import WebSockets

/// What a connection's parser said, with the pieces of a message joined: independent of how the bytes were split.
enum Said: Equatable {
    case text(String)
    case binary([UInt8])
    case ping([UInt8])
    case pong([UInt8])
    case close(UInt16, String)
    case violation(ProtocolViolation)
}

/// A parser with the loop's side of the bargain: bytes that were not used come again in front of the next ones.
struct Peer {
    var parser: FrameParser
    var limits: WebSocketLimits
    var said: [Said] = []
    private var left: [UInt8] = []
    private var message: [UInt8] = []
    /// Bytes that were left at most: what a connection can make the loop keep.
    private(set) var mostLeft = 0
    /// nil: permessage-deflate was not agreed upon.
    private let deflate: DeflateParameters?
    private var inflater: InflaterBox?

    init(_ role: Role = .server, limits: WebSocketLimits = .init(), deflate: DeflateParameters? = nil) {
        parser = FrameParser(role: role, deflates: deflate != nil)
        self.limits = limits
        self.deflate = deflate
    }

    mutating func receive(_ bytes: [UInt8]) {
        var input = left + bytes
        var offset = 0
        var events: [(FrameEvent, [UInt8])] = []
        var span = input.mutableSpan
        while true {
            let event = parser.next(&span, &offset, limits)
            if event == .needsMoreBytes { break }
            var payload: [UInt8] = []
            switch event {
            case .message(let piece), .deflated(let piece):
                for index in 0..<piece.count { payload.append(span[piece.offset + index]) }
            case .ping(let start, let count), .pong(let start, let count), .close(_, let start, let count):
                for index in 0..<count { payload.append(span[start + index]) }
            case .violation, .needsMoreBytes: break
            }
            events.append((event, payload))
        }
        left = Array(input[offset...])
        mostLeft = max(mostLeft, left.count)
        for (event, payload) in events where said.last?.isViolation != true { take(event, payload) }
    }

    private mutating func take(_ event: FrameEvent, _ payload: [UInt8]) {
        switch event {
        case .needsMoreBytes: break
        case .message(let piece):
            precondition(piece.isFirst == message.isEmpty || message.isEmpty, "only the first piece is first")
            message += payload
            guard piece.isLast else { return }
            said.append(piece.isText ? .text(String(decoding: message, as: UTF8.self)) : .binary(message))
            message = []
        case .deflated(let piece): inflate(piece, payload)
        case .ping: said.append(.ping(payload))
        case .pong: said.append(.pong(payload))
        case .close(let code, _, _): said.append(.close(code.rawValue, String(decoding: payload, as: UTF8.self)))
        case .violation(let violation): said.append(.violation(violation))
        }
    }
}

extension Peer {
    /// What the endpoint does with a compressed piece.
    private mutating func inflate(_ piece: MessagePiece, _ payload: [UInt8]) {
        precondition(payload.count <= FrameParser.maximumDeflatedPiece, "a piece is too long")
        let (noContextTakeover, bits) = deflate!.receiving(as: parser.role)
        let box = inflater ?? InflaterBox(bits)
        inflater = box
        if piece.isFirst {
            box.message.removeAll()
            if noContextTakeover { box.inflater.reset() }
        }
        let before = box.message.count
        switch box.inflater.inflate(
            payload.span, isLast: piece.isLast, limit: limits.maximumMessageSize, into: &box.message)
        {
        case .tooBig:
            precondition(box.message.count == limits.maximumMessageSize + 1, "more than the bound was inflated")
            return said.append(.violation(.messageTooBig))
        case .corrupt: return said.append(.violation(.invalidDeflate))
        case .noMemory: preconditionFailure("no memory")
        case .taken: break
        }
        let whole = box.message.array()
        if piece.isText, !parser.acceptText(Array(whole[before...]).span, isLast: piece.isLast) {
            return said.append(.violation(.invalidUTF8))
        }
        guard piece.isLast else { return }
        said.append(piece.isText ? .text(String(decoding: whole, as: UTF8.self)) : .binary(whole))
    }
}

/// An inflater that a copyable peer can hold.
private final class InflaterBox {
    var inflater: Inflater
    var message = ByteBuffer()
    init(_ windowBits: UInt8) { inflater = Inflater(windowBits: windowBits) }
}

extension Said {
    var isViolation: Bool { if case .violation = self { true } else { false } }
}

/// What a server says to `bytes` that come in one piece.
func hear(
    _ bytes: [UInt8], as role: Role = .server, limits: WebSocketLimits = .init(), deflate: DeflateParameters? = nil
) -> [Said] {
    var peer = Peer(role, limits: limits, deflate: deflate)
    peer.receive(bytes)
    return peer.said
}

/// A client's frame, masked with a key that has four different bytes, unless told otherwise.
func frame(
    _ opcode: Opcode, _ payload: [UInt8] = [], fin: Bool = true, deflated: Bool = false, mask: UInt32? = 0xD40C_B137
) -> [UInt8] {
    var buffer = ByteBuffer()
    FrameWriter.append(opcode, payload.span, isFinal: fin, isDeflated: deflated, mask: mask, to: &buffer)
    return buffer.array()
}

func frame(_ opcode: Opcode, _ text: String, fin: Bool = true, mask: UInt32? = 0xD40C_B137) -> [UInt8] {
    frame(opcode, Array(text.utf8), fin: fin, mask: mask)
}

/// A Close frame of a client.
func close(_ code: UInt16, _ reason: [UInt8] = []) -> [UInt8] {
    frame(.close, [UInt8(code >> 8), UInt8(code & 0xFF)] + reason)
}
