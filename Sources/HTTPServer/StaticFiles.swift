import Bytes
import HTTP1

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The files of a folder, read once at start: no request ever waits for a disk, and no path can lead out of the folder,
/// because a path is only looked up among the files that are there. Links and names that begin with a dot are left out.
///
/// Shared by all loops. Text is compressed once, at start. A changed file is served after the next start.
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
        /// An IMF-fixdate.
        let modified: String
    }

    /// What is read at most.
    public struct Limits: Sendable {
        /// Bytes of one file; a larger one is left out.
        public var fileBytes = 64 << 20
        /// Bytes of all files; what comes beyond is left out.
        public var totalBytes = 512 << 20
        /// Files and folders.
        public var entries = 20_000
        public init() {}
    }

    /// Sent with every file (Content Security Policy level 3): nothing but the folder's own scripts, styles and pictures,
    /// and connections to the same host.
    public static let defaultContentSecurityPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        + "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        + "frame-ancestors 'none'"

    private let files: [String: File]
    private let commonFields: HTTPFields
    /// Paths that were left out because of a limit.
    public let skipped: [String]

    /// Reads the folder. Blocking: call it before the loops run, or on another thread.
    ///
    /// - Throws: `StaticFilesError` when the folder can't be read.
    public init(
        folder: String, contentSecurityPolicy: String = StaticFiles.defaultContentSecurityPolicy,
        limits: Limits = .init()
    ) throws(StaticFilesError) {
        var scan = FolderScan(limits: limits)
        try scan.read(folder, at: "/")
        files = scan.files
        skipped = scan.skipped
        var fields = HTTPFields()
        fields.add("Content-Security-Policy", contentSecurityPolicy)
        fields.add("X-Content-Type-Options", "nosniff")
        fields.add("Referrer-Policy", "same-origin")
        fields.add("Cache-Control", "no-cache")
        fields.add("Accept-Ranges", "bytes")
        commonFields = fields
    }

    /// Paths that are served.
    public var paths: [String] { files.keys.sorted() }

    /// Answers GET and HEAD for a file of the folder: a router's fallback. Other methods get 405 where there is a file, and
    /// everything else 404.
    public func respond(to request: borrowing HTTPRequest, _ responder: HTTPResponder) {
        guard let path = PercentCoding.decode(request.path), let file = file(at: path) else {
            let text = PercentCoding.decode(request.path) ?? "that path"
            return responder.problem(Problem(404, "not-found", "There is nothing at \(text.prefix(200))."))
        }
        guard request.method == .get else {
            let problem = Problem(405, "method-not-allowed", "This path takes GET, HEAD, OPTIONS.")
            return responder.problem(problem, fields: ["Allow": "GET, HEAD, OPTIONS"])
        }
        var fields = commonFields
        fields.add("Last-Modified", file.modified)
        let range = request.head.text("range")
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
        if isUnchanged(request.head, file, tag) { return responder.respond(304, fields: fields) }
        if let range, rangeApplies(request.head, file), let wanted = Negotiation.range(range, of: form.count) {
            return respond(responder, file, wanted, fields)
        }
        responder.respond(200, file.type, fields: fields, shared: form)
    }

    /// The file at a decoded path; a path that ends in a slash is its folder's index.
    private func file(at path: String) -> File? {
        files[path.hasSuffix("/") ? path + "index.html" : path]
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
            file.content.withSpan {
                responder.respond(206, file.type, fields: fields, body: $0.extracting(bytes))
            }
        }
    }

    /// RFC 9110 §13.2.2: the tag decides if there is one, else the date.
    private func isUnchanged(_ head: HTTP1Head, _ file: File, _ tag: String) -> Bool {
        if let tags = head.text("if-none-match") { return Negotiation.matches(tags, tag) }
        return head.text("if-modified-since") == file.modified
    }

    /// RFC 9110 §13.1.5: a range counts only for the very bytes the client knows.
    private func rangeApplies(_ head: HTTP1Head, _ file: File) -> Bool {
        guard let condition = head.text("if-range") else { return true }
        return condition == file.tag || condition == file.modified
    }
}

/// Why a folder can't be served.
public struct StaticFilesError: Error, CustomStringConvertible {
    public let path: String
    public let errno: Int32

    public var description: String { "the folder \(path) can't be read: \(unsafe String(cString: strerror(errno)))" }
}
