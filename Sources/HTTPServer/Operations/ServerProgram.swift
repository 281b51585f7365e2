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
}

/// The life of a program: start, run until SIGTERM or SIGINT, end in order within the grace period.
///
/// A second signal exits at once. Returns never: exit 0 after an orderly end, 1 when it did not start or finish in time.
public enum ServerProgram {
    /// - Parameters:
    ///   - settings: for logging and the grace period.
    ///   - start: makes and starts the servers; called on the main thread, after signals are blocked everywhere.
    public static func run(settings: SettingsValues, start: () throws -> [any ServerProcess]) -> Never {
        LogSink.standard.configure(
            level: LogLevel(rawValue: settings[CabstandSettings.logLevel]) ?? .info,
            format: LogFormat(rawValue: settings[CabstandSettings.logFormat]) ?? .text)
        let logger = Logger(label: "program")
        for warning in settings.warnings { logger.warning("\(warning)") }
        ProcessMetrics.install()
        let seconds = settings[CabstandSettings.drainDelaySeconds] + settings[CabstandSettings.graceSeconds]
        let grace = UInt64(seconds) * 1_000_000_000
        do {
            let loop = try EventLoop()
            let servers = ServerList()
            // A peer that goes away is an error of its socket, not of the process.
            signal(SIGPIPE, SIG_IGN)
            var isEnding = false
            // Before any thread is made: they all inherit the blocked signals.
            try loop.onSignals([SIGTERM, SIGINT]) { _ in
                if isEnding { end(1) }
                isEnding = true
                logger.notice("ending")
                loop.schedule(after: grace) {
                    logger.error("not everything ended within the grace period")
                    end(1)
                }
                drain(servers.all, on: loop)
            }
            servers.all = try start()
            loop.run()
            end(0)
        } catch {
            logger.critical("not started", metadata: ["error": "\(error)"])
            end(1)
        }
    }

    /// One after the other, in the given order: what serves requests goes before what it asks.
    private static func drain(_ servers: [any ServerProcess], on loop: EventLoop) {
        guard let first = servers.first else { return loop.stop() }
        first.drain { loop.submit { drain(Array(servers.dropFirst()), on: loop) } }
    }

    private static func end(_ status: Int32) -> Never {
        LogSink.standard.flush()
        // Not exit: its handlers tear down libraries that other threads still use.
        fflush(nil)
        _exit(status)
    }
}

/// Touched on the main thread only: set once there before the loop runs, read in its turns.
private final class ServerList {
    var all: [any ServerProcess] = []
}
