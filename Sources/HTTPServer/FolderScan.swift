import Basics
import Bytes
import Compression
import HTTP1
import Reactor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Reads a folder and everything below it into memory; of what was read before, only what has changed. Blocking.
///
/// Links are followed within the folder (`FolderLinks`). When one leads elsewhere at the end than it did at the beginning,
/// everything is read anew: no reading has files of before and of after an exchange.
struct FolderScan: Sendable {
    /// By what a file is known to be the same without reading it.
    struct Identity: Sendable, Equatable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        let modified: Int128
        let changed: Int128
    }

    private let limits: StaticFiles.Limits
    /// Told of each folder before it is read, so that no change falls between the watching and the reading.
    private let events: FolderEvents?
    private let previous: StaticFiles?
    /// Files that are being written: they keep their form.
    private let unfinished: Set<FolderEvents.Entry>
    private(set) var files: [String: StaticFiles.File] = [:]
    private(set) var identities: [String: Identity] = [:]
    private(set) var omissions: [StaticFiles.Omission] = []
    /// Why a folder could not be watched.
    private(set) var watchFailure: SystemError?
    private var watched: Set<Int32> = []
    private var watchedNames: Set<FolderEvents.Entry> = []
    private var links = FolderLinks.none
    /// Links in the folder, and where each led; nil: to nothing that is served.
    private var followed: [(link: String, place: String?)] = []
    /// Device and inode of the folders that are being read, from the top.
    private var above: [InodeNumber] = []
    private var entries = 0
    private var bytes = 0
    /// Unix nanoseconds. A file that changed after this could change again within the same tick of the file system's
    /// clock: it is read anew next time, whatever its times say.
    private var settledBefore: Int128 = 0

    init(
        limits: StaticFiles.Limits, events: FolderEvents? = nil, previous: StaticFiles? = nil,
        unfinished: Set<FolderEvents.Entry> = []
    ) {
        self.limits = limits
        self.events = events
        self.previous = previous
        self.unfinished = unfinished
    }

    /// Reads the folder.
    ///
    /// - Throws: `StaticFilesError` when it or a folder below it can't be read; when there are files from before, also when
    ///   there is too much now: which files were left out would be a matter of chance.
    mutating func readAll(_ path: String) throws(StaticFilesError) {
        for _ in 0..<Self.attempts {
            var scan = self
            try scan.readOnce(path)
            guard scan.linksHold(path) else { continue }
            self = scan
            events?.keep(watched, watchedNames)
            return
        }
        throw StaticFilesError(path: path, reason: "its links change while it is read")
    }

    private static let attempts = 8

    private mutating func readOnce(_ path: String) throws(StaticFilesError) {
        let now = SystemClock.unixTime()
        settledBefore = Int128(now.seconds) * 1_000_000_000 + Int128(now.nanoseconds) - 100_000_000
        var way: [(folder: String, name: String)] = []
        links = FolderLinks(path) { way.append(($0, $1)) }
        for step in way { watch(step.folder, for: step.name) }
        do throws(StaticFilesError) {
            try read(links.folder, at: "/")
        } catch {
            guard error.isMissing, let events else { throw error }
            events.watchForReturn(of: path)
            try read(links.folder, at: "/")
        }
    }

    /// Whether every link leads where it led.
    private func linksHold(_ path: String) -> Bool {
        FolderLinks(path) { _, _ in } == links
            && followed.allSatisfy { followed in (try? links.follow(followed.link) { _, _ in }) == followed.place }
    }

    /// Reads the folder `path`; its files are known under `prefix`, which ends in a slash.
    private mutating func read(_ path: String, at prefix: String) throws(StaticFilesError) {
        let number = watch(path)
        guard let folder = unsafe opendir(path) else {
            // Gone since its name was read: the watch of the folder above tells of it.
            if errno == ENOENT && prefix != "/" { return }
            throw StaticFilesError(path: path, errno: errno)
        }
        defer { unsafe closedir(folder) }
        var status = stat()
        if unsafe fstat(dirfd(folder), &status) != 0 { throw StaticFilesError(path: path, errno: errno) }
        let inode = InodeNumber(status)
        if above.contains(inode) {
            omissions.append(.init(path: prefix, reason: "it is a link to a folder that it lies in"))
            return
        }
        above.append(inode)
        defer { above.removeLast() }
        while let entry = unsafe readdir(folder) {
            // Proof: d_name is NUL-terminated inside the entry, which is valid up to the next readdir.
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name.hasPrefix(".") { continue }
            entries += 1
            if entries > limits.entries {
                try omitForSize(prefix + name, "there are more than \(limits.entries) files and folders")
                continue
            }
            guard let status = try self.status("\(path)/\(name)") else { continue }
            if status.st_mode & S_IFMT == S_IFLNK {
                try follow("\(path)/\(name)", prefix + name)
            } else {
                try readEntry("\(path)/\(name)", prefix + name, status, FolderEvents.Entry(folder: number, name: name))
            }
        }
    }

    /// Of the name itself, not of what a link leads to; nil: it is gone.
    private func status(_ path: String) throws(StaticFilesError) -> stat? {
        var status = stat()
        if unsafe lstat(path, &status) == 0 { return status }
        if errno == ENOENT { return nil }
        throw StaticFilesError(path: path, errno: errno)
    }

    private mutating func readEntry(
        _ path: String, _ name: String, _ status: stat, _ entry: FolderEvents.Entry?
    ) throws(StaticFilesError) {
        switch status.st_mode & S_IFMT {
        case S_IFDIR: try read(path, at: name + "/")
        case S_IFREG:
            try take(path, name, status, isUnfinished: entry.map { unfinished.contains($0) } ?? false)
        default: omissions.append(.init(path: name, reason: "it is not a regular file"))
        }
    }

    /// Reads what the link at `path` leads to, under the link's name.
    private mutating func follow(_ path: String, _ name: String) throws(StaticFilesError) {
        let link = String(path.dropFirst(links.folder.count))
        var way: [(folder: String, name: String)] = []
        var place: String?
        do throws(FolderLinks.Failure) {
            place = try links.follow(link) { way.append(($0, $1)) }
        } catch {
            omissions.append(.init(path: name, reason: error.reason))
        }
        for step in way { watch(step.folder, for: step.name) }
        followed.append((link, place))
        guard let place, let status = try status(place), let slash = place.lastIndex(of: "/") else { return }
        let entry = watch(String(place[..<slash]), for: String(place[place.index(after: slash)...]))
        try readEntry(place, name, status, entry)
    }

    @discardableResult
    private mutating func watch(_ folder: String, for name: String) -> FolderEvents.Entry? {
        guard let events else { return nil }
        do throws(SystemError) {
            let entry = try events.watch(folder.isEmpty ? "/" : folder, for: name)
            watchedNames.insert(entry)
            return entry
        } catch {
            if error.errno != ENOENT { watchFailure = error }
            return nil
        }
    }

    /// - Returns: the number of the folder's watch; -1: it has none.
    private mutating func watch(_ path: String) -> Int32 {
        guard let events else { return -1 }
        do throws(SystemError) {
            let number = try events.watch(path)
            watched.insert(number)
            return number
        } catch {
            if error.errno != ENOENT { watchFailure = error }
            return -1
        }
    }

    private mutating func take(
        _ path: String, _ name: String, _ status: stat, isUnfinished: Bool
    ) throws(StaticFilesError) {
        let identity = Identity(status)
        if let known = previous?.identities[name], known == identity, let file = previous?.files[name] {
            identities[name] = known
            return try add(file, name)
        }
        if isUnfinished { return try keep(name, "it is being written") }
        let size = Int(status.st_size)
        if size > limits.fileBytes { return try keep(name, "it has more than \(limits.fileBytes) bytes") }
        if bytes + size > limits.totalBytes { return try omitForSize(name, Self.tooMuch(limits)) }
        guard let content = contents(path, size) else {
            let reason = unsafe String(cString: strerror(errno))
            return errno == ENOENT ? () : try keep(name, "it can't be read: \(reason)")
        }
        if identity.changed < settledBefore { identities[name] = identity }
        var date = ByteBuffer()
        HTTP1Date.append(unixSeconds: Int64(status.st_mtim.tv_sec), to: &date)
        let modified = String(decoding: date.array(), as: UTF8.self)
        let tag = "\"\(Self.tag(content))\""
        let before = previous?.files[name]
        if let before, before.tag == tag && before.modified == modified { return try add(before, name) }
        let type = MediaType.of(name)
        let compressed = type.compresses && content.count > 256 ? Self.gzip(content) : nil
        try add(
            StaticFiles.File(
                type: type.name, content: SharedBytes(content), compressed: compressed, tag: tag,
                compressedTag: "\(tag.dropLast())-gzip\"", modified: modified,
                modifiedAt: HTTP1Date.parse(modified.utf8.span, now: 0) ?? 0, isDateStrong: before?.modified != modified
            ),
            name)
    }

    private mutating func add(_ file: StaticFiles.File, _ name: String) throws(StaticFilesError) {
        guard bytes + file.content.count <= limits.totalBytes else {
            return try omitForSize(name, Self.tooMuch(limits))
        }
        bytes += file.content.count
        files[name] = file
    }

    /// A file can't be served as it is: as it was, then, if it was.
    private mutating func keep(_ name: String, _ reason: String) throws(StaticFilesError) {
        omissions.append(.init(path: name, reason: reason))
        if let file = previous?.files[name] { try add(file, name) }
    }

    private mutating func omitForSize(_ name: String, _ reason: String) throws(StaticFilesError) {
        if previous != nil { throw StaticFilesError(path: name, reason: reason) }
        omissions.append(.init(path: name, reason: reason))
    }

    private static func tooMuch(_ limits: StaticFiles.Limits) -> String {
        "all files together have more than \(limits.totalBytes) bytes"
    }

    /// Anybody may give a file a time, and a file system keeps those of many centuries, whose nanoseconds no 64 bits hold.
    fileprivate static func nanoseconds(_ time: timespec) -> Int128 {
        Int128(time.tv_sec) * 1_000_000_000 + Int128(time.tv_nsec)
    }

    /// The whole file, or nil and `errno`. A link that was put in the file's place meanwhile is not followed.
    private func contents(_ path: String, _ size: Int) -> [UInt8]? {
        let descriptor = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer {
            let failure = errno
            close(descriptor)
            errno = failure
        }
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
        errno = EFBIG
        return nil
    }

    /// A strong validator from the content: FNV-1a in 128 bits' worth of two runs, and the length.
    private static func tag(_ content: [UInt8]) -> String {
        var first = FNV1a()
        var second: UInt64 = 0x9E37_79B9_7F4A_7C15
        for byte in content {
            first.add(byte)
            second = (second &+ UInt64(byte)) &* 0xFF51_AFD7_ED55_8CCD
            second ^= second >> 29
        }
        return String(first.value, radix: 36) + String(second, radix: 36) + String(content.count, radix: 36)
    }

    /// The gzip form (RFC 1952), unless it saves less than a tenth, or there is no memory to make it.
    static func gzip(_ content: [UInt8]) -> SharedBytes? {
        guard let stream = DeflateStream(.gzip, level: 9, memoryLevel: 9) else { return nil }
        var output = ByteBuffer()
        let room = content.count - content.count / 10 - 1
        guard room > 0, stream.step(content.span, flush: .finish, into: &output, room: room).isDone else { return nil }
        return SharedBytes(output)
    }
}

/// What a folder is known by, whatever its path.
private struct InodeNumber: Equatable, Sendable {
    let device: UInt64
    let inode: UInt64

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
    }
}

extension FolderScan.Identity {
    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        modified = FolderScan.nanoseconds(status.st_mtim)
        changed = FolderScan.nanoseconds(status.st_ctim)
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
