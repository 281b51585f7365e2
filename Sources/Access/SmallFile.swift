#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Files of keys, read and written as a whole, before a loop runs or on the thread of signals.
enum SmallFile {
    /// A longer one is no file of keys.
    private static let limit = 256 << 10

    /// - Throws: `AccessSettingError`, which names the file.
    static func read(_ path: String) throws(AccessSettingError) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path, "can't be read") }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: limit + 1)
        var count = 0
        while count < bytes.count {
            let taken = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe Glibc.read(descriptor, buffer.baseAddress.unsafelyUnwrapped + count, buffer.count - count)
            }
            if taken < 0 && errno == EINTR { continue }
            guard taken >= 0 else { throw failure(path, "can't be read") }
            if taken == 0 { return Array(bytes.prefix(count)) }
            count += taken
        }
        throw AccessSettingError(description: "\(path) is longer than a file of keys can be.")
    }

    static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    /// Makes a file that only its owner can read, the whole of it or none: it gets its name when it is written. One that is there
    /// already stays as it is.
    static func makePrivate(_ path: String, _ bytes: [UInt8]) throws(AccessSettingError) {
        let draft = "\(path).\(getpid())"
        let descriptor = unsafe open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure(path, "can't be made") }
        defer {
            close(descriptor)
            _ = unsafe unlink(draft)
        }
        let written = unsafe bytes.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
        guard written == bytes.count, fsync(descriptor) == 0 else { throw failure(path, "can't be written") }
        if unsafe link(draft, path) == 0 || errno == EEXIST { return }
        // Not every file system has hard links.
        guard exists(path) || (unsafe rename(draft, path) == 0) else { throw failure(path, "can't be made") }
    }

    private static func failure(_ path: String, _ what: String) -> AccessSettingError {
        unsafe AccessSettingError(description: "\(path) \(what): \(String(cString: strerror(errno))).")
    }
}
