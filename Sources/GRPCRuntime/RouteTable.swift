#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Finds a method by the bytes of its path: a hash table that is built once.
@safe struct RouteTable: ~Copyable {
    private let bytes: UnsafeMutablePointer<UInt8>
    private let entries: UnsafeMutablePointer<(offset: UInt32, count: UInt32, method: Int32)>
    private let mask: Int

    init(_ paths: [String]) {
        var size = 16
        while size < paths.count * 2 { size *= 2 }
        mask = size - 1
        unsafe entries = .allocate(capacity: size)
        unsafe entries.initialize(repeating: (0, 0, -1), count: size)
        let all = paths.flatMap { Array($0.utf8) }
        unsafe bytes = .allocate(capacity: max(all.count, 1))
        unsafe bytes.initialize(from: all, count: all.count)
        var offset = 0
        for (method, path) in paths.enumerated() {
            let count = path.utf8.count
            let text = unsafe UnsafeRawBufferPointer(start: bytes + offset, count: count)
            var place = unsafe Self.hash(text) & mask
            while unsafe entries[place].method >= 0 { place = (place + 1) & mask }
            unsafe entries[place] = (UInt32(offset), UInt32(count), Int32(method))
            offset += count
        }
    }

    deinit {
        unsafe entries.deallocate()
        unsafe bytes.deallocate()
    }

    /// The method's index, nil if there is none with this path.
    func find(_ path: UnsafeRawBufferPointer) -> Int? {
        guard let start = path.baseAddress else { return nil }
        var place = unsafe Self.hash(path) & mask
        while true {
            let entry = unsafe entries[place]
            if entry.method < 0 { return nil }
            if Int(entry.count) == path.count, unsafe memcmp(bytes + Int(entry.offset), start, path.count) == 0 {
                return Int(entry.method)
            }
            place = (place &+ 1) & mask
        }
    }

    /// Eight bytes at a time, the last eight of them overlapping.
    private static func hash(_ path: UnsafeRawBufferPointer) -> Int {
        let count = path.count
        var hash = UInt64(truncatingIfNeeded: count) &* 0x9E37_79B9_7F4A_7C15
        if count < 8 {
            for index in 0..<count { hash = (hash ^ UInt64(unsafe path[index])) &* 0x100_0000_01B3 }
        } else {
            var offset = 0
            while offset < count {
                let word = unsafe path.loadUnaligned(fromByteOffset: min(offset, count &- 8), as: UInt64.self)
                hash = (hash ^ word) &* 0x9E37_79B9_7F4A_7C15
                hash ^= hash >> 32
                offset &+= 8
            }
        }
        return Int(truncatingIfNeeded: hash >> 16)
    }
}
