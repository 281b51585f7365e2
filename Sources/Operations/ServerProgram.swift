import HTTPServer
import KafkaClient
import Reactor
import Settings
import Telemetry

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A server that a program runs: it has its own threads, and ends in order when asked.
public protocol ServerProcess: AnyObject, Sendable {
    /// Begins to end: readiness turns, what is in flight finishes. Thread-safe. `completion` may come on any thread.
    func drain(_ completion: @escaping @Sendable () -> Void)
    /// Reads again what may have been replaced while it runs (certificates, keys), on SIGHUP and when one of `files` has changed. What
    /// can't be read is logged, and what was read before stays in force. May block; not on a loop that serves.
    func reload()
    /// What `reload` reads.
    var files: [String] { get }
}

extension ServerProcess {
    /// Most have nothing of the kind.
    public func reload() {}
    public var files: [String] { [] }
}

/// The life of a program: start, run until SIGTERM or SIGINT, end in order within the grace period.
///
///     signals blocked ─▶ settings ─▶ start ──────▶ serving ──SIGTERM──▶ draining ─▶ exit 0
///                           │          │fails         ▲ │SIGHUP: reload   │grace over, second signal
///                           ▼ 64       ▼ 1            └─┘                 ▼ 1
///
/// Signals are blocked before anything else happens, so that no thread, whoever starts it and when, takes one; a thread of
/// its own waits for them (`ProgramSignals`). Never returns.
public enum ServerProgram {
    enum Limits {
        /// Milliseconds for what must be done before the process ends, such as closing a database, once the time of an
        /// orderly end is over. Reason: a checkpoint of a write-ahead log of some MB takes less, and whoever sent the signal
        /// kills a few seconds later.
        static let exitWork: UInt64 = 2_000
        /// Milliseconds for the last log lines. Reason: a reader that reads takes them at once; one that stalls never does.
        static let lastLines = 1_000
        /// The same after a second signal, which ends the program at once.
        static let lastLinesAtOnce = 100
        /// Nanoseconds between two looks at files that may be replaced. Reason: a key that has leaked is to be out within seconds, and
        /// a look is a system call for each file.
        static let look: UInt64 = 2_000_000_000
    }

    /// - Parameters:
    ///   - declaration: the program's settings.
    ///   - check: does what `--check` asks for.
    ///   - start: makes and starts the servers; called on the main thread.
    public static func run(
        _ declaration: SettingsDeclaration<CabstandSettings>, check: (ProgramSettings) -> Never,
        start: (ProgramSettings) throws -> [any ServerProcess]
    ) -> Never {
        let inherited = SignalMask.block()
        // A peer or a reader that goes away, and a file that may not grow, are errors of the call, not of the process.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        ProcessDescriptors.widen()
        let settings = declaration.readOrExit(leaving: { SignalMask.restore(inherited) }, check: check)
        LogSink.standard.configure(
            level: LogLevel(rawValue: settings.logLevel) ?? .info,
            format: LogFormat(rawValue: settings.logFormat) ?? .text)
        let logger = Logger(label: "program")
        for warning in settings.warnings { logger.warning("\(warning)") }
        MetricRegistry.shared.use(namespace: Product.metricNamespace)
        ProcessMetrics.install()
        let seconds = settings.drainDelaySeconds + settings.graceSeconds
        do {
            let loop = try EventLoop()
            let servers = ServerList()
            let known = LoopBound(servers, loop: loop)
            // What comes before the loop runs waits in its mailbox: a start is finished, then it ends in order.
            try ProgramSignals.start(grace: UInt64(seconds) * 1_000_000_000) { request in
                known.loop.submit {
                    let servers = known.value
                    switch request {
                    case .end:
                        servers.isEnding = true
                        drain(servers.all, on: known.loop)
                    case .reload:
                        guard !servers.isEnding else { return }
                        for server in servers.all { server.reload() }
                    }
                }
            }
            servers.all = try start(settings)
            watch(servers, on: loop, logger)
            loop.run()
            end(0)
        } catch {
            logger.critical("not started", metadata: ["error": "\(words(error))"])
            end(1)
        }
    }

    /// What is wrong, with the settings that name it: the libraries know of none.
    private static func words(_ error: any Error) -> String {
        switch error {
        case is KafkaError:
            "\(error); CABSTAND_KAFKA_CONFIG and CABSTAND_KAFKA_BOOTSTRAP_SERVERS say how Kafka is reached."
        case is StaticFilesError: "\(error); CABSTAND_PUBLIC_DIR names the folder."
        case is TLSError: "\(error); CABSTAND_TLS_CERT and CABSTAND_TLS_KEY name the files."
        default: "\(error)"
        }
    }

    /// Lets servers read again what was replaced. On the program's own loop, which serves nobody, and may wait for a disk.
    private static func watch(_ servers: ServerList, on loop: EventLoop, _ logger: Logger) {
        let watched = servers.all.filter { !$0.files.isEmpty }.map { ($0, WatchedFiles($0.files)) }
        if watched.isEmpty { return }
        loop.schedule(every: Limits.look) {
            if servers.isEnding { return }
            for (server, files) in watched where files.haveChanged() {
                logger.notice("files were replaced, reading them again")
                server.reload()
            }
        }
    }

    /// One after the other, in the given order: what serves requests goes before what it asks.
    private static func drain(_ servers: [any ServerProcess], on loop: EventLoop) {
        guard let first = servers.first else { return loop.stop() }
        first.drain { loop.submit { drain(Array(servers.dropFirst()), on: loop) } }
    }

    /// Ends the process in a bounded time, whoever reads its lines or not.
    static func end(_ status: Int32, atOnce: Bool = false) -> Never {
        if !atOnce { ExitWork.shared.run(within: Limits.exitWork) }
        let patience = atOnce ? Limits.lastLinesAtOnce : Limits.lastLines
        LogSink.standard.flush(within: patience)
        LogSink.output.flush(within: patience)
        // Not exit: its handlers tear down libraries that other threads still use, and wait for standard output.
        _exit(status)
    }
}

/// Touched on the main thread only: set once there before the loop runs, read in its turns.
private final class ServerList {
    var all: [any ServerProcess] = []
    var isEnding = false
}
