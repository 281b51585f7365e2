import Reactor
import Telemetry

/// A folder of static files that is served as it is now: a saved file is sent with the next request.
///
///     let folder = try LiveFolder("public")
///     router.fallback { request, responder in folder.files.respond(to: request, responder) }
///     folder.watch(on: loop) { files in … }
///
/// The kernel tells of changes; nothing is polled. Changes are gathered until they are quiet, then a thread reads what has
/// changed and the loop gets the new `StaticFiles`, whole and immutable; requests in flight keep theirs.
///
///               an event             50 ms quiet, or 1 s gone           no event meanwhile
///     watching ───────────▶ gathering ────────────────────────▶ reading ───────────────────▶ watching
///                               ▲                                  │ an event meanwhile
///                               └──────────────────────────────────┘
///
/// What can't be served keeps its last form, and the log says why, once: a file that is being written or can't be read that
/// file alone, a folder that can't be read or has become too large all of them.
///
/// To be used on the loop that watches, or before that runs.
public final class LiveFolder {
    /// Nanoseconds without a change after which files are read.
    static let quietTime: UInt64 = 50_000_000
    /// Nanoseconds after the first change when files are read although others still change.
    static let longestWait: UInt64 = 1_000_000_000
    /// Nanoseconds after its last write when a file that nobody has closed is read as it is: some writers never close.
    static let writingTime: UInt64 = 10_000_000_000

    private let path: String
    private let limits: StaticFiles.Limits
    private let policy: String
    private let events: FolderEvents?
    private let logger: Logger
    /// The latest.
    public private(set) var files: StaticFiles
    /// What the log has said of what is not served.
    private var reported: Set<StaticFiles.Omission> = []
    private var hasReportedWatching = false

    private var loop: EventLoop?
    private var watch: WatchID?
    private var onChange: (StaticFiles) -> Void = { _ in }
    /// Files that were written and not closed, and when, in loop nanoseconds.
    private var unfinished: [FolderEvents.Entry: UInt64] = [:]
    /// When the first change came that was not read.
    private var changedAt: UInt64?
    private var timer: TimerID?
    private var isReading = false

    /// Reads the folder and watches it. Blocking: call it before the loops run.
    ///
    /// - Throws: `StaticFilesError` when the folder can't be read. One that can't be watched is served as it is at start,
    ///   and the log says so.
    public convenience init(
        _ path: String, contentSecurityPolicy: String = StaticFiles.defaultContentSecurityPolicy,
        limits: StaticFiles.Limits = .init(), logger: Logger = Logger(label: "files")
    ) throws(StaticFilesError) {
        try self.init(
            path, contentSecurityPolicy: contentSecurityPolicy, limits: limits, logger: logger,
            events: { () throws(SystemError) in try FolderEvents() })
    }

    /// - Parameter events: asks the kernel.
    init(
        _ path: String, contentSecurityPolicy: String = StaticFiles.defaultContentSecurityPolicy,
        limits: StaticFiles.Limits = .init(), logger: Logger, events makeEvents: () throws(SystemError) -> FolderEvents
    ) throws(StaticFilesError) {
        self.path = path
        self.limits = limits
        self.logger = logger
        policy = contentSecurityPolicy
        do throws(SystemError) {
            events = try makeEvents()
        } catch {
            events = nil
            logger.notice("changes of files show after the next start only", metadata: ["error": "\(error)"])
        }
        var scan = FolderScan(limits: limits, events: events)
        try scan.readAll(path)
        files = StaticFiles(scan, contentSecurityPolicy: contentSecurityPolicy)
        report(files.omissions, scan.watchFailure)
    }

    /// Calls `onChange` on `loop` with the new files after each change.
    public func watch(on loop: EventLoop, onChange: @escaping (StaticFiles) -> Void) {
        guard let events else { return }
        self.loop = loop
        self.onChange = onChange
        do throws(SystemError) {
            watch = try loop.watch(readable: events.descriptor) { [weak self] in self?.takeEvents() }
        } catch {
            logger.notice("changes of files show after the next start only", metadata: ["error": "\(error)"])
        }
    }

    /// Watches no longer; the files stay.
    public func close() {
        guard let loop, let watch else { return }
        self.watch = nil
        loop.unwatch(watch)
        if let timer { loop.cancel(timer) }
    }

    // MARK: Gathering

    private func takeEvents() {
        guard let events, let loop else { return }
        var hasChanged = false
        events.read { event in
            switch event {
            case .writing(let entry): unfinished[entry] = loop.now
            case .changed(let entry): unfinished[entry] = nil
            case .overflow: unfinished = [:]
            case .forgotten(let folder):
                unfinished = unfinished.filter { $0.key.folder != folder }
                return
            }
            hasChanged = true
        }
        if hasChanged { gather() }
    }

    private func gather() {
        guard let loop else { return }
        let first = changedAt ?? loop.now
        changedAt = first
        if isReading { return }
        schedule(at: min(loop.now + Self.quietTime, first + Self.longestWait))
    }

    private func schedule(at time: UInt64) {
        guard let loop else { return }
        if let timer { loop.cancel(timer) }
        timer = loop.schedule(after: time > loop.now ? time - loop.now : 0) { [weak self] in
            self?.timer = nil
            self?.read()
        }
    }

    // MARK: Reading

    private func read() {
        guard let loop, watch != nil else { return }
        isReading = true
        changedAt = nil
        unfinished = unfinished.filter { loop.now - $0.value < Self.writingTime }
        let prepared = FolderScan(limits: limits, events: events, previous: files, unfinished: Set(unfinished.keys))
        let path = path
        loop.runBlocking("files") { () -> Result<FolderScan, StaticFilesError> in
            var scan = prepared
            do throws(StaticFilesError) {
                try scan.readAll(path)
                return .success(scan)
            } catch {
                return .failure(error)
            }
        } then: { [weak self] in
            self?.adopt($0)
        }
    }

    private func adopt(_ result: Result<FolderScan, StaticFilesError>) {
        guard watch != nil else { return }
        isReading = false
        switch result {
        case .failure(let error):
            let omission = StaticFiles.Omission(
                path: error.path, reason: error.reason + "; all files stay as they were")
            report(files.omissions + [omission])
        case .success(let scan):
            let new = StaticFiles(scan, contentSecurityPolicy: policy)
            report(new.omissions, scan.watchFailure)
            let changes = new.changes(since: files)
            // Also without a change: it knows more of the files, so that the next reading has less to do.
            files = new
            if changes > 0 {
                logger.info("files have changed", metadata: ["changes": "\(changes)", "files": "\(new.paths.count)"])
                onChange(new)
            }
        }
        if changedAt != nil {
            gather()
        } else if let first = unfinished.values.min() {
            schedule(at: first + Self.writingTime)
        }
    }

    /// Says what is not served as it is or not watched, once as long as it stays so.
    private func report(_ omissions: [StaticFiles.Omission], _ watchFailure: SystemError? = nil) {
        for omission in omissions where !reported.contains(omission) {
            logger.warning("not served as it is", metadata: ["path": omission.path, "reason": omission.reason])
        }
        reported = Set(omissions)
        if let watchFailure, !hasReportedWatching {
            hasReportedWatching = true
            logger.notice(
                "some changes of files show after the next start only", metadata: ["error": "\(watchFailure)"])
        }
    }
}
