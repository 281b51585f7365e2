#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension RoadGraph {
    /// Reads a file of streets. Blocking: at start, before the loop runs.
    init(path: String) throws(RoadGraphError) {
        guard let file = unsafe fopen(path, "rb") else {
            let reason = unsafe String(cString: strerror(errno))
            throw .file("\(path): \(reason). The simulated drivers need it; CABSTAND_PUBLIC_DIR says where it is.")
        }
        defer { unsafe fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe fread(&buffer, 1, buffer.count, file)
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        try self.init(json: bytes)
    }
}
