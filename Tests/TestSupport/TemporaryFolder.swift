import Glibc

/// A folder of a test's own, removed with everything in it when the object goes.
public final class TemporaryFolder: Sendable {
    public let path: String

    public init() {
        var template = Array("/tmp/cabstand-test-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { fatalError("no temporary folder: errno \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        Self.remove(path)
    }

    /// Removes a file or a folder with everything in it; links are removed, not followed.
    private static func remove(_ path: String) {
        if unsafe unlink(path) == 0 || errno == ENOENT { return }
        for name in names(path) { remove(path + "/" + name) }
        unsafe rmdir(path)
    }

    /// What a folder has, in order; nothing if it is none.
    public static func names(_ path: String) -> [String] {
        guard let folder = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(folder) }
        var names: [String] = []
        while let entry = unsafe readdir(folder) {
            // Proof: d_name is a C string within the entry, which is valid until the next readdir.
            let name = unsafe withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The path of `name` in this folder.
    public func file(_ name: String) -> String { path + "/" + name }

    /// Copies a file of this folder to another name.
    public func copy(_ from: String, _ to: String) {
        let bytes = Self.bytes(file(from))
        let descriptor = unsafe open(file(to), O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        defer { close(descriptor) }
        let count = unsafe Glibc.write(descriptor, bytes, bytes.count)
        guard count == bytes.count else { fatalError("\(to) can't be written: errno \(errno)") }
    }

    /// Writes `text` to `name` and answers its path.
    @discardableResult
    public func write(_ name: String, _ text: String) -> String {
        let path = file(name)
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        guard descriptor >= 0 else { fatalError("\(path) can't be written: errno \(errno)") }
        defer { close(descriptor) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { fatalError("\(path) can't be written: errno \(errno)") }
            rest = rest.dropFirst(count)
        }
        return path
    }

    /// The whole of a file as text; empty if it is not there.
    public static func read(_ path: String) -> String { String(decoding: bytes(path), as: UTF8.self) }

    /// The bytes of a file; none if there is none.
    public static func bytes(_ path: String) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = unsafe Glibc.read(descriptor, &chunk, chunk.count)
            guard count > 0 else { return bytes }
            bytes += chunk.prefix(count)
        }
    }
}
