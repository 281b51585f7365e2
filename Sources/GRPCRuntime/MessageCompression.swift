import Bytes
import Compression
import HTTP2

/// How messages are compressed on their way (gRPC's "Compression"): each by itself, so that one stream may have both kinds.
public enum MessageCompression: UInt8, Sendable, Hashable {
    /// They go as they are.
    case identity
    /// RFC 1952, at zlib's fastest level. The loop does it: about 10 ms for a mebibyte, in one piece. A message that would not
    /// become smaller goes as it is.
    case gzip

    /// What this side understands, as `grpc-accept-encoding` says it.
    static let accepted: StaticString = "identity,gzip"
}

/// What a call has agreed on with the other side, and does just now.
struct CallCompression: OptionSet {
    let rawValue: UInt8
    /// The other side's messages may be in gzip: it has said `grpc-encoding: gzip`.
    static let incoming = CallCompression(rawValue: 1)
    /// Server: the client takes answers in gzip. Client: the server may answer in gzip.
    static let accepted = CallCompression(rawValue: 2)
    /// This side's messages are compressed, and its headers say so.
    static let outgoing = CallCompression(rawValue: 4)
    /// All but the next one.
    static let skipsNext = CallCompression(rawValue: 8)
    /// The other side's last message was compressed.
    static let wasCompressed = CallCompression(rawValue: 16)
    /// A message is on its way out of gzip.
    static let inflating = CallCompression(rawValue: 32)

    /// What a call asks for.
    init(_ call: CallOptions, _ channel: ChannelOptions) {
        switch call.compression ?? channel.compression {
        case .identity: self = call.acceptsCompression ?? channel.acceptsCompression ? .accepted : []
        case .gzip: self = call.acceptsCompression == false ? .outgoing : [.outgoing, .accepted]
        }
    }

    init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Whether a list of codings has gzip (`grpc-accept-encoding`; names are lower-case in gRPC).
    static func lists(gzip list: UnsafeRawBufferPointer) -> Bool {
        // The letters of an element, without spaces; beyond four it is another one.
        var element: UInt64 = 0
        for index in 0...list.count {
            switch unsafe index < list.count ? list[index] : UInt8(ascii: ",") {
            case UInt8(ascii: " "): continue
            case UInt8(ascii: ","):
                if element == 0x677A_6970 { return true }
                element = 0
            case let byte: if element <= UInt32.max { element = element << 8 | UInt64(byte) }
            }
        }
        return false
    }
}

/// What one side of a loop needs to compress its calls' messages and to decompress the others'; made when it is first needed.
final class MessageCompressor {
    /// Inflaters that are kept for the next messages.
    private static let maximumSpare = 4
    /// A message that has less can't become smaller: gzip's own frame has 18 bytes.
    private static let smallest = 24
    private var spare: [InflateStream] = []
    private var deflater: DeflateStream?
    /// What is left to inflate in the turn that began at `turn`.
    private var left = 0
    private var turn: UInt64 = 0
    /// Messages that are on their way out of gzip, by their call's token.
    private var inflations: [UInt64: Inflation] = [:]

    /// A new turn has certainly begun: there is work for one step at least.
    func turnBegan(_ now: UInt64) {
        turn = now
        left = GRPCLimits.inflationPerTurn
    }

    /// Whether this turn has inflated all that it may.
    var isSpent: Bool { left <= 0 }

    /// Whether messages are on their way out of gzip.
    var isInflating: Bool { !inflations.isEmpty }

    /// What a call keeps while one of its messages is on its way. Bytes.
    func held(_ call: UInt64) -> Int { inflations[call]?.bytes ?? 0 }

    /// A call has ended, or does not want its message any more.
    func forget(_ call: UInt64) {
        guard let inflater = inflations.removeValue(forKey: call)?.inflater else { return }
        if spare.count < Self.maximumSpare { spare.append(inflater) }
    }

    /// Begins with a message of a call, and goes on with one that was begun.
    ///
    /// - Parameters:
    ///   - message: the compressed message with its prefix, when it begins; what came out of it, when it is whole.
    ///   - limit: a message may become so large. Bytes.
    ///   - isTurnSpent: asked after each step of some 64 KiB.
    func inflate(
        _ message: inout ByteBuffer, of call: UInt64, begins: Bool, limit: Int, now: UInt64, isTurnSpent: () -> Bool
    ) -> Inflation.Outcome {
        if turn != now { turnBegan(now) }
        if begins { inflations[call] = Inflation(&message) }
        guard left > 0, let inflation = inflations[call] else { return .unfinished }
        if inflation.inflater == nil {
            inflation.inflater = spare.popLast() ?? InflateStream(.gzip)
            inflation.inflater?.reset()
        }
        let outcome = inflation.run(limit: limit, budget: &left, isTurnSpent: isTurnSpent)
        if case .whole = outcome { swap(&message, &inflation.output) }
        if case .unfinished = outcome { return outcome }
        forget(call)
        return outcome
    }

    /// Appends the gzip form of a message, if it is smaller.
    ///
    /// - Returns: whether it is.
    func deflate(_ message: UnsafeRawBufferPointer, into output: inout ByteBuffer) -> Bool {
        guard message.count >= Self.smallest, let deflater = deflater ?? DeflateStream(.gzip, level: 1) else {
            return false
        }
        self.deflater = deflater
        deflater.reset()
        let start = output.count
        let (isSmaller, _) = unsafe deflater.step(
            Span(_unsafeBytes: message), flush: .finish, into: &output, room: message.count &- 1)
        if !isSmaller { output.truncate(to: start) }
        return isSmaller
    }
}

/// One message on its way out of gzip (RFC 1952): what takes too long for one turn of the loop goes on in the next. How much a message
/// becomes is not to be seen from its size. It may have several members, one behind the other, whose contents belong together (§2.2);
/// nothing else may follow.
final class Inflation {
    enum Outcome {
        case whole, unfinished
        case failed(RPCError)
    }

    /// What one step reads and writes at most. Bytes; 50 µs or so.
    private static let stepSize = 64 << 10
    /// What a step costs besides, in bytes: a message may be nothing but empty members.
    private static let stepCost = 256

    /// Nil until it begins: many may wait for their turn.
    var inflater: InflateStream?
    private var input = ByteBuffer()
    private var position = GRPCMessage.prefixSize
    var output = ByteBuffer()

    init(_ message: inout ByteBuffer) { swap(&input, &message) }

    var bytes: Int { (inflater == nil ? 0 : CompressionFormat.gzip.inflatingMemory) + input.capacity + output.capacity }

    /// - Parameter budget: bytes that may still be read and written in this turn.
    func run(limit: Int, budget: inout Int, isTurnSpent: () -> Bool) -> Outcome {
        guard let inflater else { return .failed(.noMemoryToInflate) }
        while budget > 0 {
            let before = output.count
            // One byte more than may come shows that it is too much.
            let (outcome, taken) = inflater.step(
                input.span.extracting(position..<min(input.count, position &+ Self.stepSize)), into: &output,
                room: min(limit &+ 1 &- output.count, Self.stepSize))
            position &+= taken
            budget -= taken &+ output.count &- before &+ Self.stepCost
            if output.count > limit { return .failed(.tooLarge(inflated: limit)) }
            switch outcome {
            case .ended where position == input.count: return .whole
            case .needsInput where position == input.count: return .failed(.malformed)
            case .more, .needsInput, .ended: if isTurnSpent() { return .unfinished }
            case .corrupt: return .failed(.malformed)
            case .noMemory: return .failed(.noMemoryToInflate)
            }
        }
        return .unfinished
    }
}

extension RPCError {
    static let malformed = RPCError(
        code: .internal, message: "a compressed message is not whole and valid gzip (RFC 1952)")

    static let noMemoryToInflate = RPCError(
        code: .resourceExhausted, message: "there is no memory to decompress a message")

    static func tooLarge(inflated limit: Int) -> RPCError {
        RPCError(
            code: .resourceExhausted, message: "a compressed message becomes larger than the limit of \(limit) bytes")
    }
}
