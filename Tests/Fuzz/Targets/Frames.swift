import Bytes
import HTTP2

/// HTTP/2 frames as fuzz targets write them: legal ones, and with `flags` and `payload` any others.
enum Frames {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        var buffer = ByteBuffer()
        HTTP2FrameHeader.append(
            length: payload.count, type: HTTP2FrameType(rawValue: type), flags: flags, streamID: stream, into: &buffer)
        buffer.append(payload)
        return buffer.array()
    }

    static func settings(_ values: [(UInt16, UInt32)] = []) -> [UInt8] {
        frame(4, 0, 0, values.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] + bigEndian($1) })
    }

    static var settingsAck: [UInt8] { frame(4, 1, 0, []) }

    static func headers(_ stream: UInt32, _ fields: [(String, String)], endStream: Bool) -> [UInt8] {
        frame(1, 4 | (endStream ? 1 : 0), stream, block(fields))
    }

    static func data(_ stream: UInt32, _ payload: [UInt8], endStream: Bool) -> [UInt8] {
        frame(0, endStream ? 1 : 0, stream, payload)
    }

    static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> [UInt8] {
        frame(8, 0, stream, bigEndian(increment))
    }

    static func reset(_ stream: UInt32, _ code: UInt32) -> [UInt8] { frame(3, 0, stream, bigEndian(code)) }

    static func goAway(_ last: UInt32, _ code: UInt32) -> [UInt8] { frame(7, 0, 0, bigEndian(last) + bigEndian(code)) }

    static func ping(_ value: UInt32, ack: Bool = false) -> [UInt8] {
        frame(6, ack ? 1 : 0, 0, bigEndian(value) + bigEndian(value))
    }

    /// Fields as literals without indexing: a block that needs no table. Values longer than 126 bytes are cut.
    static func block(_ fields: [(String, String)]) -> [UInt8] {
        var result: [UInt8] = []
        for (name, value) in fields {
            result.append(0)
            for text in [name, value] {
                let bytes = text.utf8.prefix(126)
                result.append(UInt8(bytes.count))
                result += bytes
            }
        }
        return result
    }

    /// A gRPC message with its prefix.
    static func message(_ payload: [UInt8], claims: Int? = nil) -> [UInt8] {
        [0] + bigEndian(UInt32(truncatingIfNeeded: claims ?? payload.count)) + payload
    }

    /// A message whose flag says that it is compressed.
    static func compressed(_ payload: [UInt8]) -> [UInt8] { [1] + message(payload).dropFirst() }

    /// A gzip member (RFC 1952) with one stored block: 64 KiB at most.
    static func gzip(_ bytes: [UInt8]) -> [UInt8] {
        func littleEndian(_ value: UInt32) -> [UInt8] { bigEndian(value).reversed() }
        let count = UInt16(truncatingIfNeeded: bytes.count)
        let lengths = littleEndian(UInt32(count) | UInt32(~count) << 16)
        var sum = UInt32.max
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1 == 0 ? 0 : 0xedb8_8320) }
        }
        return [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1] + lengths + bytes + littleEndian(~sum)
            + littleEndian(UInt32(bytes.count))
    }

    /// 4,096 zeros in gzip.
    static let packedZeros: [UInt8] = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xed, 0xc1, 1, 0x0d, 0, 0, 0, 0xc2, 0xa0, 0xf7, 0x4f, 0x6d, 0x0f, 7, 0x14,
        0, 0, 0, 0xf0, 0x6e, 0x11, 0, 0x1c, 0xc7, 0, 0x10, 0, 0,
    ]

    static func bigEndian(_ value: UInt32) -> [UInt8] {
        [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
    }

    /// A frame that was received.
    struct Received {
        let type: UInt8
        let flags: UInt8
        let stream: UInt32
        let payload: [UInt8]
    }

    /// Takes the whole frames at the front of `bytes`.
    static func take(from bytes: inout [UInt8]) -> [Received] {
        var frames: [Received] = []
        var offset = 0
        while bytes.count - offset >= 9 {
            let length = Int(bytes[offset]) << 16 | Int(bytes[offset + 1]) << 8 | Int(bytes[offset + 2])
            guard bytes.count - offset - 9 >= length else { break }
            let stream = bytes[(offset + 5)..<(offset + 9)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } & 0x7fff_ffff
            frames.append(
                Received(
                    type: bytes[offset + 3], flags: bytes[offset + 4], stream: stream,
                    payload: Array(bytes[(offset + 9)..<(offset + 9 + length)])))
            offset += 9 + length
        }
        bytes.removeFirst(offset)
        return frames
    }
}
