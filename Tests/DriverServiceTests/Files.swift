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
}
