#if canImport(Glibc)
    import Glibc
#endif

enum Files {
    static func copy(_ from: String, _ to: String) {
        guard let source = unsafe fopen(from, "rb"), let target = unsafe fopen(to, "wb") else { return }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe fread(&buffer, 1, buffer.count, source)
            if count == 0 { break }
            unsafe fwrite(buffer, 1, count, target)
        }
        unsafe fclose(source)
        unsafe fclose(target)
    }

    static func read(_ path: String) -> [UInt8] {
        guard let source = unsafe fopen(path, "rb") else { return [] }
        defer { unsafe fclose(source) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe fread(&buffer, 1, buffer.count, source)
            if count == 0 { return bytes }
            bytes += buffer.prefix(count)
        }
    }

    static func contains(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
        bytes.indices.contains { bytes[$0] == part[0] && bytes[$0...].starts(with: part) }
    }
}
