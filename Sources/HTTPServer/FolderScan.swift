import Bytes
import CZlib
import HTTP1

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Reads a folder and everything below it into memory, at start.
struct FolderScan {
    let limits: StaticFiles.Limits
    var files: [String: StaticFiles.File] = [:]
    var skipped: [String] = []
    private var entries = 0
    private var bytes = 0

    init(limits: StaticFiles.Limits) { self.limits = limits }

    /// Reads the folder `path`; its files are known under `prefix`, which ends in a slash.
    mutating func read(_ path: String, at prefix: String) throws(StaticFilesError) {
        guard let folder = unsafe opendir(path) else { throw StaticFilesError(path: path, errno: errno) }
        defer { unsafe closedir(folder) }
        while let entry = unsafe readdir(folder) {
            // Proof: d_name is NUL-terminated inside the entry, which is valid up to the next readdir.
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name.hasPrefix(".") { continue }
            entries += 1
            var status = stat()
            guard entries <= limits.entries, unsafe lstat("\(path)/\(name)", &status) == 0 else {
                skipped.append(prefix + name)
                continue
            }
            switch status.st_mode & S_IFMT {
            case S_IFDIR: try read("\(path)/\(name)", at: "\(prefix)\(name)/")
            case S_IFREG: readFile("\(path)/\(name)", prefix + name, status)
            default: skipped.append(prefix + name)
            }
        }
    }

    private mutating func readFile(_ path: String, _ name: String, _ status: stat) {
        let size = Int(status.st_size)
        guard size <= limits.fileBytes, bytes + size <= limits.totalBytes, let content = contents(path, size) else {
            skipped.append(name)
            return
        }
        bytes += content.count
        let type = MediaType.of(name)
        let tag = Self.tag(content)
        let compressed = type.compresses && content.count > 256 ? Self.gzip(content) : nil
        var date = ByteBuffer()
        HTTP1Date.append(unixSeconds: Int64(status.st_mtim.tv_sec), to: &date)
        files[name] = StaticFiles.File(
            type: type.name, content: SharedBytes(content), compressed: compressed, tag: "\"\(tag)\"",
            compressedTag: "\"\(tag)-gzip\"", modified: String(decoding: date.array(), as: UTF8.self))
    }

    /// The whole file, or nil. A link that was put in the file's place meanwhile is not followed.
    private func contents(_ path: String, _ size: Int) -> [UInt8]? {
        let descriptor = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var content: [UInt8] = []
        content.reserveCapacity(size)
        var piece = [UInt8](repeating: 0, count: 64 * 1024)
        while content.count <= limits.fileBytes {
            let count = unsafe piece.withUnsafeMutableBytes {
                unsafe readDescriptor(descriptor, $0.baseAddress, $0.count)
            }
            if count == 0 { return content }
            if count < 0 {
                if errno == EINTR { continue }
                return nil
            }
            content += piece[..<count]
        }
        return nil
    }

    /// A strong validator from the content: FNV-1a in 128 bits' worth of two runs, and the length.
    private static func tag(_ content: [UInt8]) -> String {
        var first: UInt64 = 0xCBF2_9CE4_8422_2325
        var second: UInt64 = 0x9E37_79B9_7F4A_7C15
        for byte in content {
            first = (first ^ UInt64(byte)) &* 0x100_0000_01B3
            second = (second &+ UInt64(byte)) &* 0xFF51_AFD7_ED55_8CCD
            second ^= second >> 29
        }
        return String(first, radix: 36) + String(second, radix: 36) + String(content.count, radix: 36)
    }

    /// The gzip form (RFC 1952), unless it saves less than a tenth.
    static func gzip(_ content: [UInt8]) -> SharedBytes? {
        var stream = unsafe z_stream()
        // 15 bits of window; 16 more ask for the gzip wrapper.
        guard unsafe czlib_deflateInit2(&stream, 9, 15 + 16, 9) == Z_OK else { return nil }
        defer { unsafe deflateEnd(&stream) }
        let bound = unsafe Int(deflateBound(&stream, UInt(content.count)))
        var output = ByteBuffer(capacity: bound)
        var input = content
        let outcome = unsafe input.withUnsafeMutableBufferPointer { input in
            var result = Z_OK
            unsafe output.appendUninitialized(bound) { space in
                unsafe stream.next_in = input.baseAddress
                unsafe stream.avail_in = UInt32(input.count)
                unsafe stream.next_out = space.assumingMemoryBound(to: UInt8.self).baseAddress
                unsafe stream.avail_out = UInt32(space.count)
                result = unsafe deflate(&stream, Z_FINISH)
                return unsafe space.count - Int(stream.avail_out)
            }
            return result
        }
        guard outcome == Z_STREAM_END, output.count < content.count - content.count / 10 else { return nil }
        return SharedBytes(output)
    }
}

/// The media type of a file by its name's ending.
struct MediaType {
    let name: StaticString
    /// Whether gzip is worth trying.
    let compresses: Bool

    static func of(_ path: String) -> MediaType {
        let ending = path.lastIndex(of: ".").map { path[path.index(after: $0)...].lowercased() } ?? ""
        switch ending {
        case "html", "htm": return MediaType(name: "text/html; charset=utf-8", compresses: true)
        case "js", "mjs": return MediaType(name: "text/javascript; charset=utf-8", compresses: true)
        case "css": return MediaType(name: "text/css; charset=utf-8", compresses: true)
        case "json", "map": return MediaType(name: "application/json", compresses: true)
        case "geojson": return MediaType(name: "application/geo+json", compresses: true)
        case "webmanifest": return MediaType(name: "application/manifest+json", compresses: true)
        case "svg": return MediaType(name: "image/svg+xml", compresses: true)
        case "txt", "md": return MediaType(name: "text/plain; charset=utf-8", compresses: true)
        case "csv": return MediaType(name: "text/csv; charset=utf-8", compresses: true)
        case "wasm": return MediaType(name: "application/wasm", compresses: true)
        case "bin": return MediaType(name: "application/octet-stream", compresses: true)
        case "png": return MediaType(name: "image/png", compresses: false)
        case "jpg", "jpeg": return MediaType(name: "image/jpeg", compresses: false)
        case "webp": return MediaType(name: "image/webp", compresses: false)
        case "ico": return MediaType(name: "image/x-icon", compresses: false)
        case "woff2": return MediaType(name: "font/woff2", compresses: false)
        default: return MediaType(name: "application/octet-stream", compresses: false)
        }
    }
}

/// `read(2)`: inside `FolderScan` the name means something else.
private func readDescriptor(_ descriptor: Int32, _ memory: UnsafeMutableRawPointer?, _ count: Int) -> Int {
    unsafe read(descriptor, memory, count)
}
