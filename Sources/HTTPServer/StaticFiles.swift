import Bytes
import HTTP1

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The files of a folder as they were when they were read: no request ever waits for a disk, and no path can lead out of
/// the folder, because a path is only looked up among the files that are there. Names that begin with a dot are left out,
/// and links that lead out of the folder; others lead to what is served under their names. Text is compressed when it is read.
///
/// Immutable and shared by all loops. `LiveFolder` makes new ones when files change.
public final class StaticFiles: Sendable {
    /// One file, in the forms in which it is sent.
    struct File: Sendable {
        let type: StaticString
        let content: SharedBytes
        /// gzip, when it is worth it.
        let compressed: SharedBytes?
        /// Strong validators (RFC 9110 §8.8.3) of both forms, with their quotation marks.
        let tag: String
        let compressedTag: String
        /// An IMF-fixdate, and the same in Unix seconds.
        let modified: String
        let modifiedAt: Int64
        /// Whether nothing else was served of it that was changed in the same second (RFC 9110 §8.8.2.2).
        let isDateStrong: Bool
    }

    /// What is read at most.
    public struct Limits: Sendable {
        /// Bytes of one file; a larger one is left out.
        public var fileBytes = 64 << 20
        /// Bytes of all files; what comes beyond is left out.
        public var totalBytes = 512 << 20
        /// Files and folders.
        public var entries = 20_000
        /// The defaults.
        public init() {}
    }

    /// Sent with every file (Content Security Policy level 3): nothing but the folder's own scripts, styles and pictures,
    /// and connections to the same host.
    public static let defaultContentSecurityPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        + "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        + "frame-ancestors 'none'"

    /// A file that is not served, or not as it is now.
    public struct Omission: Sendable, Hashable {
        /// Where it lies.
        public let path: String
        /// Why it is not served.
        public let reason: String
    }

    let files: [String: File]
    /// For the next reading.
    let identities: [String: FolderScan.Identity]
    private let commonFields: HTTPFields
    /// Bytes.
    private let longestPath: Int
    /// What was left out, or kept as it was before.
    public let omissions: [Omission]

    /// Reads the folder once. Blocking: call it before the loops run, or on another thread.
    ///
    /// - Throws: `StaticFilesError` when the folder can't be read.
    public convenience init(
        folder: String, contentSecurityPolicy: String = StaticFiles.defaultContentSecurityPolicy,
        limits: Limits = .init()
    ) throws(StaticFilesError) {
        var scan = FolderScan(limits: limits)
        try scan.readAll(folder)
        self.init(scan, contentSecurityPolicy: contentSecurityPolicy)
    }

    init(_ scan: FolderScan, contentSecurityPolicy: String) {
        files = scan.files
        longestPath = scan.files.keys.map(\.utf8.count).max() ?? 0
        identities = scan.identities
        omissions = scan.omissions
        var fields = HTTPFields()
        fields.add("Content-Security-Policy", contentSecurityPolicy)
        fields.add("X-Content-Type-Options", "nosniff")
        fields.add("Referrer-Policy", "same-origin")
        // Kept, but asked for each time: a reload shows what has changed, and costs a 304 where nothing has.
        fields.add("Cache-Control", "no-cache")
        fields.add("Accept-Ranges", "bytes")
        commonFields = fields
    }

    /// Paths that are served.
    public var paths: [String] { files.keys.sorted() }

    /// Whether there is a file at the path, which begins with a slash and is decoded.
    public func serves(_ path: String) -> Bool { files[path] != nil }

    /// How many files are new, gone or different.
    func changes(since old: StaticFiles) -> Int {
        let gone = old.files.keys.count { files[$0] == nil }
        return gone
            + files.count {
                guard let before = old.files[$0.key] else { return true }
                return before.tag != $0.value.tag || before.modified != $0.value.modified
            }
    }

    /// Answers GET, HEAD and OPTIONS for a file of the folder: a router's fallback. A folder with an index is redirected to
    /// its path with a slash, other methods get 405 where there is a file, and everything else is 404.
    public func respond(to request: borrowing HTTPRequest, _ responder: HTTPResponder) {
        guard let path = PercentCoding.decode(request.path), let file = file(at: path) else {
            let text = PercentCoding.decode(request.path) ?? "that path"
            if file(at: text + "/") != nil, let name = text.split(separator: "/").last {
                return redirect(responder, toFolder: String(name))
            }
            return responder.problem(Problem(404, "not-found", "There is nothing at \(text.clipped(to: 200))."))
        }
        let allow = "GET, HEAD, OPTIONS"
        guard request.method == .get else {
            if request.method == .options { return responder.options(allow, to: request) }
            let problem = Problem(405, "method-not-allowed", "This path takes \(allow).")
            return responder.problem(problem, fields: ["Allow": allow])
        }
        var fields = commonFields
        fields.add("Last-Modified", file.modified)
        // Ranges are for GET alone (RFC 9110 §14.2).
        let hasRange = request.head.method == .get && request.head.count(of: "range") == 1
        let range = hasRange ? request.head.text("range") : nil
        var form = file.content
        var tag = file.tag
        if let compressed = file.compressed {
            fields.add("Vary", "Accept-Encoding")
            // A range is of the plain form: half a gzip stream is of no use to anyone.
            if range == nil && Negotiation.acceptsGzip(request.head) {
                form = compressed
                tag = file.compressedTag
                fields.add("Content-Encoding", "gzip")
            }
        }
        fields.add("ETag", tag)
        let validators = Validators(
            tag: tag, modified: file.modifiedAt, isDateStrong: file.isDateStrong, now: responder.unixSeconds)
        switch validators.judge(request.head) {
        case .send: break
        case .notModified: return responder.respond(304, fields: fields)
        case .failed:
            let problem = Problem(
                412, "precondition-failed", "The file is not as If-Match or If-Unmodified-Since wants it; get it again."
            )
            return responder.problem(problem, fields: fields)
        }
        if let range, validators.rangeApplies(request.head), let wanted = Negotiation.range(range, of: form.count) {
            return respond(responder, file, wanted, fields)
        }
        responder.respond(200, file.type, fields: fields, shared: form)
    }

    /// The file at a decoded path; a path that ends in a slash is its folder's index.
    private func file(at path: String) -> File? {
        // To be looked up among strings, a text is brought into its normal form: that takes long for one that is made for it.
        guard path.utf8.count <= longestPath else { return nil }
        return files[path.utf8.last == UInt8(ascii: "/") ? path + "index.html" : path]
    }

    /// From a folder's path without a slash to that with one: the index's relative links would lead beside the folder.
    private func redirect(_ responder: HTTPResponder, toFolder name: String) {
        var location = ByteBuffer()
        PercentCoding.encode(name, to: &location)
        responder.respond(308, fields: ["Location": String(decoding: location.array(), as: UTF8.self) + "/"])
    }

    private func respond(
        _ responder: HTTPResponder, _ file: File, _ range: Negotiation.ByteRange, _ fields: HTTPFields
    ) {
        let size = file.content.count
        switch range {
        case .unsatisfiable:
            let problem = Problem(416, "range-not-satisfiable", "The file has \(size) bytes.")
            responder.problem(problem, fields: fields.adding("Content-Range", "bytes */\(size)"))
        case .bytes(let bytes):
            let fields = fields.adding("Content-Range", "bytes \(bytes.lowerBound)-\(bytes.upperBound - 1)/\(size)")
            responder.respond(206, file.type, fields: fields, shared: file.content.slice(bytes))
        }
    }
}

/// Why a folder can't be served.
public struct StaticFilesError: Error, CustomStringConvertible {
    /// What could not be read.
    public let path: String
    /// Why, in words.
    public let reason: String
    /// The folder is not there.
    let isMissing: Bool

    init(path: String, errno: Int32) {
        self.path = path
        reason = unsafe "the folder can't be read: \(String(cString: strerror(errno)))"
        isMissing = errno == ENOENT || errno == ENOTDIR
    }

    init(path: String, reason: String) {
        self.path = path
        self.reason = reason
        isMissing = false
    }

    public var description: String { "\(path): \(reason)" }
}
