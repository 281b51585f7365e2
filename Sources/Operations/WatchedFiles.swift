#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Notices that files were replaced or written: by what a path leads to, so that a link that is set to another folder counts, as
/// Kubernetes does it with a secret. For one thread.
final class WatchedFiles {
    /// What tells one state of a file from another.
    private struct Stamp: Equatable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        let seconds: Int64
        let nanoseconds: Int64

        /// Nil: there is no such file, or it can't be looked at.
        init?(_ path: String) {
            var info = stat()
            guard unsafe stat(path, &info) == 0 else { return nil }
            device = UInt64(info.st_dev)
            inode = UInt64(info.st_ino)
            size = Int64(info.st_size)
            seconds = Int64(info.st_mtim.tv_sec)
            nanoseconds = Int64(info.st_mtim.tv_nsec)
        }
    }

    private let paths: [String]
    private var stamps: [Stamp?]

    /// Remembers how the files are now.
    init(_ paths: [String]) {
        self.paths = paths
        stamps = paths.map(Stamp.init)
    }

    /// Whether a file is another than the last time. One that has gone is not: it may be about to be replaced.
    func haveChanged() -> Bool {
        let now = paths.map(Stamp.init)
        var changed = false
        for (place, stamp) in now.enumerated() {
            guard let stamp, stamp != stamps[place] else { continue }
            stamps[place] = stamp
            changed = true
        }
        return changed
    }
}
