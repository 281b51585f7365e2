import SQLiteStore
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A folder that is removed with its content when the test ends.
final class TemporaryFolder {
    let path: String

    init() {
        var template = Array("/tmp/cabstand-sqlite-XXXXXX".utf8CString)
        path = unsafe template.withUnsafeMutableBufferPointer { unsafe String(cString: mkdtemp($0.baseAddress!)) }
    }

    func file(_ name: String) -> String { path + "/" + name }

    deinit {
        guard let folder = unsafe opendir(path) else { return }
        while let entry = unsafe readdir(folder) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { unsafe unlink(file(name)) }
        }
        unsafe closedir(folder)
        unsafe rmdir(path)
    }
}

/// A loop's mailbox that the test empties itself.
final class Mailbox: SQLiteCompletionTarget {
    private let work = Mutex<[@Sendable () -> Void]>([])

    func submit(_ item: @escaping @Sendable () -> Void) { work.withLock { $0.append(item) } }
    func afterEvents(_ item: @escaping @Sendable () -> Void) { item() }

    /// Runs what has arrived; returns how many entries there were.
    @discardableResult
    func run() -> Int {
        let items = work.withLock { queue in
            defer { queue = [] }
            return queue
        }
        for item in items { item() }
        return items.count
    }

    /// Runs entries until `done` (bounded by 10 s, so that a broken test ends).
    func run(until done: () -> Bool) {
        for _ in 0..<10_000 where !done() {
            if run() == 0 { usleep(1_000) }
        }
    }
}

func copyFile(_ from: String, _ to: String) {
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
