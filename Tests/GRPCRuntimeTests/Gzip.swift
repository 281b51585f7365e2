import CZlib

/// Messages in gzip as a peer may send them.
enum Gzip {
    /// One member (RFC 1952), as small as zlib makes it.
    static func pack(_ bytes: [UInt8], windowBits: Int32 = 15 + 16) -> [UInt8] {
        var stream = unsafe z_stream()
        guard unsafe czlib_deflateInit2(&stream, 9, windowBits, 9) == Z_OK else { return [] }
        defer { unsafe deflateEnd(&stream) }
        var input = bytes
        var output = [UInt8](repeating: 0, count: bytes.count + bytes.count / 100 + 100)
        unsafe input.withUnsafeMutableBufferPointer { from in
            unsafe output.withUnsafeMutableBufferPointer { to in
                unsafe stream.next_in = from.baseAddress
                unsafe stream.avail_in = UInt32(from.count)
                unsafe stream.next_out = to.baseAddress
                unsafe stream.avail_out = UInt32(to.count)
                unsafe _ = deflate(&stream, Z_FINISH)
            }
        }
        return unsafe Array(output.prefix(Int(stream.total_out)))
    }

    /// What is in one member; nil if it is none.
    static func unpack(_ bytes: [UInt8], limit: Int = 8 << 20) -> [UInt8]? {
        var stream = unsafe z_stream()
        guard unsafe czlib_inflateInit2(&stream, 15 + 16) == Z_OK else { return nil }
        defer { unsafe inflateEnd(&stream) }
        var input = bytes
        var output = [UInt8](repeating: 0, count: limit)
        let result = unsafe input.withUnsafeMutableBufferPointer { from in
            unsafe output.withUnsafeMutableBufferPointer { to in
                unsafe stream.next_in = from.baseAddress
                unsafe stream.avail_in = UInt32(from.count)
                unsafe stream.next_out = to.baseAddress
                unsafe stream.avail_out = UInt32(to.count)
                return unsafe inflate(&stream, Z_FINISH)
            }
        }
        return unsafe result == Z_STREAM_END ? Array(output.prefix(Int(stream.total_out))) : nil
    }

    /// A message as it stands in DATA.
    static func framed(_ bytes: [UInt8], flag: UInt8 = 1) -> [UInt8] {
        [flag] + (0..<4).map { UInt8(truncatingIfNeeded: bytes.count >> (24 - 8 * $0)) } + bytes
    }
}
