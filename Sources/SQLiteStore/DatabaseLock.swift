import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Somebody else uses the database file already.
public struct DatabaseInUse: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file, as it was named to us.
    public let path: String
    /// Who has it, as far as the system says: `process 1234 (trip)`.
    public let holder: String

    public var description: String {
        "the database \(path) is in use by \(holder); two programs on one database would undo each other's work. "
            + "End the other one first."
    }
}

/// The right to use a database file, which one user at a time has: in this process and among all processes of the machine.
///
/// It is an flock(2) on the file itself, so that every name of it (symbolic and hard links) leads to the same lock, nothing
/// is left over after kill −9, and nothing lies beside a database that was closed. A second one lies on the write-ahead log:
/// a file that was put in the database's place while a process still writes the old one's log must not be opened with it.
///
/// SQLite's own locks are of another kind (fcntl) and belong to the process: closing *any* descriptor of the file would end
/// them. So a file that this process has open already is refused by its device and number, without opening it.
///
/// Proof of `@unchecked Sendable`: `logDescriptor` and `isReleased` are touched by the thread that has the database; it is
/// handed from the one that opens to the one that closes.
final class DatabaseLock: @unchecked Sendable {
    private struct FileKey: Hashable {
        let device: UInt64
        let number: UInt64

        init(_ information: stat) {
            device = UInt64(information.st_dev)
            number = UInt64(information.st_ino)
        }
    }

    /// The files that this process has, with the names by which it opened them.
    private static let held = Mutex<[FileKey: String]>([:])

    private let path: String
    private let key: FileKey
    private let descriptor: Int32
    private var logDescriptor: Int32 = -1
    private var isReleased = false

    /// Locks the file, making an empty one when it is missing. Does not wait.
    /// - Throws: `DatabaseInUse`, or `SQLiteError` with the system's reason if the file can't be opened for writing.
    init(_ path: String) throws {
        // SQLite's names for databases without a file. Ours has two connections and outlives the program.
        guard !path.isEmpty, path != ":memory:" else {
            throw SQLiteError.system("a database needs a file, not \"\(path)\"", EINVAL)
        }
        self.path = path
        (descriptor, key) = try Self.held.withLock { held in
            try Self.refuse(path, Self.information(path), held)
            let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else { throw SQLiteError.system("\(path) can't be opened for writing", errno) }
            do {
                let key = try Self.lock(descriptor, path, held)
                held[key] = path
                return (descriptor, key)
            } catch {
                close(descriptor)
                throw error
            }
        }
    }

    deinit { release() }

    private static func information(_ path: String) -> stat? {
        var information = stat()
        return unsafe stat(path, &information) == 0 ? information : nil
    }

    private static func refuse(_ path: String, _ information: stat?, _ held: [FileKey: String]) throws {
        guard let information else { return }
        guard information.st_mode & S_IFMT == S_IFREG else {
            throw SQLiteError.system("\(path) is no regular file", EINVAL)
        }
        guard let other = held[FileKey(information)] else { return }
        throw DatabaseInUse(path: path, holder: "this program itself, as \(other)")
    }

    private static func lock(_ descriptor: Int32, _ path: String, _ held: [FileKey: String]) throws -> FileKey {
        var information = stat()
        guard unsafe fstat(descriptor, &information) == 0 else { throw SQLiteError.system(path, errno) }
        try take(descriptor, information, path)
        // Whoever still writes the log that lies here has a file of the same name, not this one.
        let log = unsafe open(logPath(of: path), O_RDWR | O_CLOEXEC)
        if log >= 0 {
            defer { close(log) }
            if unsafe fstat(log, &information) == 0 { try take(log, information, path) }
            unsafe fstat(descriptor, &information)
        }
        return FileKey(information)
    }

    private static func take(_ descriptor: Int32, _ information: stat, _ path: String) throws {
        if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return }
        let code = errno
        guard code == EWOULDBLOCK else { throw SQLiteError.system("\(path) can't be locked", code) }
        throw DatabaseInUse(path: path, holder: holder(of: information))
    }

    /// SQLite puts the log beside the file that a symbolic link leads to.
    private static func logPath(of path: String) -> String {
        guard let real = unsafe realpath(path, nil) else { return path + "-wal" }
        defer { unsafe free(real) }
        return unsafe String(cString: real) + "-wal"
    }

    /// Once SQLite has opened the file: nobody else may write its log either.
    func holdLog() {
        guard logDescriptor < 0 else { return }
        let log = unsafe open(Self.logPath(of: path), O_RDWR | O_CLOEXEC)
        guard log >= 0 else { return }
        guard flock(log, LOCK_EX | LOCK_NB) == 0 else {
            close(log)
            return
        }
        logDescriptor = log
    }

    /// Whether the file is still where it was, with its log: one that was deleted or replaced takes what is written to it
    /// along into nothing.
    var isInPlace: Bool {
        guard let information = Self.information(path), FileKey(information) == key else { return false }
        if logDescriptor < 0 { return true }
        var log = stat()
        guard unsafe fstat(logDescriptor, &log) == 0 else { return true }
        return log.st_nlink > 0
    }

    /// After SQLite has closed the file.
    func release() {
        guard !isReleased else { return }
        isReleased = true
        Self.held.withLock { held in
            held[key] = nil
            close(descriptor)
        }
        if logDescriptor >= 0 { close(logDescriptor) }
    }

    // MARK: Who has it

    /// The process that holds an flock on a file, by the kernel's own table.
    private static func holder(of information: stat) -> String {
        let device = UInt64(information.st_dev)
        let (major, minor) = ((device >> 8) & 0xFFF, (device & 0xFF) | ((device >> 12) & 0xFFF00))
        for line in text("/proc/locks").split(separator: "\n") {
            // 1: FLOCK  ADVISORY  WRITE 4711 fe:01:131099 0 EOF
            let fields = line.split(separator: " ")
            guard fields.count >= 6, fields[1] == "FLOCK", let process = Int(fields[4]), process > 0 else { continue }
            let file = fields[5].split(separator: ":")
            guard file.count == 3, UInt64(file[2]) == UInt64(information.st_ino), UInt64(file[0], radix: 16) == major,
                UInt64(file[1], radix: 16) == minor
            else { continue }
            let name = text("/proc/\(process)/comm").split(separator: "\n").first ?? "unknown"
            return "process \(process) (\(name))"
        }
        return "another process"
    }

    private static func text(_ path: String) -> String {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = unsafe read(descriptor, &chunk, chunk.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk.prefix(count)
        }
    }
}
