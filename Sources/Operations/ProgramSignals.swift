import Reactor
import Telemetry

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The one thread that takes a program's signals, by signalfd on a loop of its own: no code runs in a signal handler, and
/// whatever the rest of the program does (starts, waits for a disk, for a reader of its lines), the second SIGTERM and the end
/// of the grace period are heard. (Not by `sigwait`: while a thread waits in it, the kernel takes the signals out of its mask.)
///
/// | signal | what it does |
/// |---|---|
/// | SIGTERM, SIGINT | the first: end in order; the second: exit at once |
/// | SIGHUP | read certificates again |
/// | SIGQUIT | exit at once, with a core where cores are allowed |
/// | SIGUSR1, SIGUSR2 | nothing, said in the log |
/// | others that can be blocked | nothing |
final class ProgramSignals {
    enum Request: Sendable { case end, reload }

    private static let taken = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2]

    /// Nanoseconds from the first signal to the end, at most.
    private let grace: UInt64
    private let act: @Sendable (Request) -> Void
    private let logger = Logger(label: "program")
    private var ignored = LogRateLimit()
    private var isEnding = false

    private init(grace: UInt64, _ act: @escaping @Sendable (Request) -> Void) {
        self.grace = grace
        self.act = act
    }

    /// Starts the thread; signals are blocked everywhere by then. `act` is called on it and must not block.
    /// - Throws: `SystemError` if there is no thread or no descriptor to be had.
    static func start(grace: UInt64, _ act: @escaping @Sendable (Request) -> Void) throws(SystemError) {
        let group = try EventLoopGroup(count: 1)
        let loop = group.loops[0]
        let signals = ProgramSignals(grace: grace, act)
        try loop.onSignals(taken) { signals.take($0, loop) }
        try group.start(named: "signals") { _ in }
    }

    private func take(_ signal: Int32, _ loop: EventLoop) {
        switch signal {
        case SIGTERM, SIGINT:
            if isEnding { ServerProgram.end(1, atOnce: true) }
            isEnding = true
            logger.notice("ending")
            loop.schedule(after: grace) { [logger] in
                logger.error("not everything ended within the grace period")
                ServerProgram.end(1)
            }
            act(.end)
        case SIGHUP:
            logger.notice("reading certificates again, because of SIGHUP")
            act(.reload)
        case SIGQUIT: dump()
        default:
            if ignored.admit(now: loop.now) != nil {
                logger.notice("this signal means nothing here: SIGTERM ends, SIGHUP reads certificates again")
            }
        }
    }

    /// What SIGQUIT does by default, with the last lines written before.
    private func dump() -> Never {
        logger.critical("ending at once, because of SIGQUIT")
        LogSink.standard.flush(within: ServerProgram.Limits.lastLinesAtOnce)
        signal(SIGQUIT, SIG_DFL)
        var mask = sigset_t()
        unsafe sigemptyset(&mask)
        unsafe sigaddset(&mask, SIGQUIT)
        unsafe pthread_sigmask(SIG_UNBLOCK, &mask, nil)
        raise(SIGQUIT)
        _exit(131)
    }
}
