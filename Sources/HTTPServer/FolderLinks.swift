#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Follows links step by step, so that each link on the way is known, and none leads out of a folder unseen.
///
/// Kubernetes mounts a ConfigMap as links: `index.html` leads to `..data/index.html`, `..data` to a folder with the date, and an
/// update makes another folder and exchanges `..data` for a new link (rename(2)).
struct FolderLinks: Equatable, Sendable {
    /// Why a link is not followed.
    enum Failure: Error {
        case leadsOut, leadsToNothing, leadsTooFar
        case unreadable(Int32)

        var reason: String {
            switch self {
            case .leadsOut: "it is a link that leads out of the folder"
            case .leadsToNothing: "it is a link that leads to nothing"
            case .leadsTooFar: "it is a link over more than \(FolderLinks.maximumLinks) others"
            case .unreadable(let code): unsafe "it is a link that can't be followed: \(String(cString: strerror(code)))"
            }
        }
    }

    /// As many as the kernel follows.
    static let maximumLinks = 40

    /// The folder that no link may lead out of; empty: any may lead anywhere.
    let folder: String
    /// The same as an absolute path without a link, by which an absolute link is known to lead into it.
    let realFolder: String

    /// Before there is any.
    static let none = FolderLinks(folder: "", realFolder: "")

    /// The folder at `path`, and where it lies if links lead there.
    ///
    /// - Parameter meet: told of each link: the folder that it lies in, and its name.
    init(_ path: String, meeting meet: (String, String) -> Void) {
        let start = path.hasPrefix("/") ? "" : Self.workingFolder
        var hasLinks = false
        let real = try? Self.none.follow(start + "/" + path) { folder, name in
            hasLinks = true
            meet(folder, name)
        }
        self.init(folder: hasLinks ? real ?? path : path, realFolder: real ?? path)
    }

    private init(folder: String, realFolder: String) {
        self.folder = folder
        self.realFolder = realFolder
    }

    private static var workingFolder: String {
        guard let text = unsafe getcwd(nil, 0) else { return "" }
        defer { unsafe free(text) }
        return unsafe String(cString: text)
    }

    /// Where `path`, which is relative to the folder, leads.
    ///
    /// - Parameter meet: told of each link on the way, and of what is missing there: the folder and the name.
    /// - Returns: a path without links.
    func follow(_ path: String, meeting meet: (String, String) -> Void) throws(Failure) -> String {
        var done: [Substring] = []
        var left = Array(path.split(separator: "/").reversed())
        var links = 0
        while let name = left.popLast() {
            if name == "." { continue }
            if name == ".." {
                if done.popLast() == nil, !folder.isEmpty { throw .leadsOut }
                continue
            }
            let place = done.isEmpty ? folder : "\(folder)/\(done.joined(separator: "/"))"
            var status = stat()
            if unsafe lstat("\(place)/\(name)", &status) != 0 {
                let failure = errno
                meet(place, String(name))
                throw failure == ENOENT || failure == ENOTDIR ? .leadsToNothing : .unreadable(failure)
            }
            guard status.st_mode & S_IFMT == S_IFLNK else {
                done.append(name)
                continue
            }
            meet(place, String(name))
            links += 1
            if links > Self.maximumLinks { throw .leadsTooFar }
            var target = try Self.target("\(place)/\(name)")[...]
            if target.hasPrefix("/") {
                guard folder.isEmpty || target == realFolder || target.hasPrefix(realFolder + "/") else {
                    throw .leadsOut
                }
                done = []
                target = folder.isEmpty ? target : target.dropFirst(realFolder.count)
            }
            left += target.split(separator: "/").reversed()
        }
        return done.isEmpty && !folder.isEmpty ? folder : "\(folder)/\(done.joined(separator: "/"))"
    }

    private static func target(_ path: String) throws(Failure) -> String {
        let size = 4096
        let text = unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: size) { buffer -> String? in
            let count = unsafe buffer.withMemoryRebound(to: CChar.self) { unsafe readlink(path, $0.baseAddress!, size) }
            return count < 0 ? nil : unsafe String(decoding: buffer.prefix(count), as: UTF8.self)
        }
        guard let text else { throw errno == ENOENT ? .leadsToNothing : .unreadable(errno) }
        return text
    }
}
