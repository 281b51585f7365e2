import Reactor
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What the kernel tells of changes in folders (inotify(7)). Folders are watched, never files: an editor that saves by
/// renaming puts another file in the place, and a layered file system copies a file when it is first written.
///
/// Of most folders everything counts but names that begin with a dot: those are not served, and editors write many. Where links
/// lead through, the names on their way count, whatever they begin with.
///
/// Costs nothing while nothing changes. Thread-safe: folders are added on one thread while events are read on another.
final class FolderEvents: Sendable {
    /// A name in a watched folder.
    struct Entry: Hashable, Sendable {
        /// The kernel's number of the folder's watch.
        let folder: Int32
        let name: String
    }

    enum Event {
        /// A file is being written: what is read now may be half of it.
        case writing(Entry)
        /// A file or folder has come, gone, changed its rights, or was closed after writing.
        case changed(Entry)
        /// The kernel dropped events: anything may have changed.
        case overflow
        /// The kernel has forgotten a folder, because it is gone.
        case forgotten(Int32)
    }

    private static let mask =
        IN_MODIFY | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF
        | IN_MOVE_SELF | IN_ONLYDIR

    /// Readable while there are events.
    let descriptor: Int32
    private let watched = Mutex(Watched())

    private struct Watched {
        /// In which everything counts.
        var folders: Set<Int32> = []
        /// What counts in these and in others.
        var names: Set<Entry> = []

        var numbers: Set<Int32> { folders.union(names.map(\.folder)) }
    }

    /// - Throws: `SystemError` where the kernel, a seccomp filter or a limit refuses.
    init() throws(SystemError) {
        descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
        if descriptor < 0 { throw SystemError(operation: "inotify_init1", errno: errno) }
    }

    deinit { close(descriptor) }

    /// Watches the folder at `path`, or goes on watching it.
    ///
    /// - Returns: its number.
    func watch(_ path: String) throws(SystemError) -> Int32 {
        let number = try add(path)
        watched.withLock { _ = $0.folders.insert(number) }
        return number
    }

    /// Watches one name in the folder at `path`.
    func watch(_ path: String, for name: String) throws(SystemError) -> Entry {
        let entry = Entry(folder: try add(path), name: name)
        watched.withLock { _ = $0.names.insert(entry) }
        return entry
    }

    private func add(_ path: String) throws(SystemError) -> Int32 {
        let number = unsafe inotify_add_watch(descriptor, path, UInt32(Self.mask))
        if number < 0 { throw SystemError(operation: "inotify_add_watch \(path)", errno: errno) }
        return number
    }

    /// Watches the nearest folder above `path` that is there, so that its coming back is noticed.
    func watchForReturn(of path: String) {
        var watched: String?
        while true {
            let nearest = watchNearest(above: path)
            // The same twice: what came meanwhile would have been nearer, and what comes from here on makes an event.
            if nearest == watched { return }
            watched = nearest
        }
    }

    private func watchNearest(above path: String) -> String? {
        var path = path[...]
        while path != "/" && path != "." && !path.isEmpty {
            while path.count > 1 && path.last == "/" { path.removeLast() }
            let slash = path.lastIndex(of: "/")
            path = slash.map { $0 == path.startIndex ? "/" : path[..<$0] } ?? "."
            if (try? watch(String(path))) != nil { return String(path) }
        }
        return nil
    }

    /// Lets go of every folder and name but these.
    func keep(_ folders: Set<Int32>, _ names: Set<Entry>) {
        let dropped = watched.withLock { watched in
            let before = watched.numbers
            watched = Watched(folders: folders, names: names)
            return before.subtracting(watched.numbers)
        }
        for number in dropped { inotify_rm_watch(descriptor, number) }
    }

    /// Reads what has happened to what counts.
    func read(_ each: (Event) -> Void) {
        let size = 16 * 1024
        unsafe withUnsafeTemporaryAllocation(byteCount: size, alignment: MemoryLayout<inotify_event>.alignment) {
            buffer in
            while true {
                let count = unsafe Glibc.read(descriptor, buffer.baseAddress, size)
                if count <= 0 { return }
                var offset = 0
                while offset < count {
                    let header = unsafe buffer.load(fromByteOffset: offset, as: inotify_event.self)
                    // Proof: the kernel writes whole events, each with `len` bytes of a name that ends in NULs.
                    let bytes = unsafe buffer[(offset + MemoryLayout<inotify_event>.size)...].prefix(Int(header.len))
                    let name = unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                    offset += MemoryLayout<inotify_event>.size + Int(header.len)
                    if counts(header, name) { each(event(header, name)) }
                }
            }
        }
    }

    private func counts(_ header: inotify_event, _ name: String) -> Bool {
        // Of the folder itself, or of the queue.
        if name.isEmpty { return true }
        return watched.withLock { watched in
            !name.hasPrefix(".") && watched.folders.contains(header.wd)
                || watched.names.contains(Entry(folder: header.wd, name: name))
        }
    }

    private func event(_ header: inotify_event, _ name: String) -> Event {
        let mask = Int32(bitPattern: header.mask)
        if mask & Int32(IN_Q_OVERFLOW) != 0 { return .overflow }
        if mask & Int32(IN_IGNORED) != 0 {
            watched.withLock { watched in
                watched.folders.remove(header.wd)
                watched.names = watched.names.filter { $0.folder != header.wd }
            }
            return .forgotten(header.wd)
        }
        let entry = Entry(folder: header.wd, name: name)
        return mask & Int32(IN_MODIFY) != 0 ? .writing(entry) : .changed(entry)
    }
}
