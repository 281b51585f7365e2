import CLinux

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A thread of the system that no signal ever reaches: the one way to start one here.
///
/// A signal that a program has not blocked in *every* thread ends it by the default action, whichever thread the kernel
/// picks. So signals are blocked around the birth of each: the new thread has never been without the mask.
public struct SystemThread: Sendable {
    private let handle: pthread_t

    /// Starts `body` on a new thread. `name` (15 bytes) shows in `top -H`.
    /// - Throws: `SystemError` when the system has no thread or no memory for its stack; nothing was started then.
    @discardableResult
    public init(_ name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let start = unsafe Unmanaged.passRetained(Start(name, body))
        var handle = pthread_t()
        let inherited = SignalMask.block()
        let outcome = unsafe pthread_create(
            &handle, nil,
            { argument in
                let start = unsafe Unmanaged<Start>.fromOpaque(argument.unsafelyUnwrapped).takeRetainedValue()
                unsafe clinux_name_thread(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        SignalMask.restore(inherited)
        guard outcome == 0 else {
            // No thread took it over.
            unsafe start.release()
            throw SystemError(operation: "starting the thread \(name)", errno: outcome)
        }
        self.handle = handle
    }

    /// Waits for its end. Once, and never for a thread that was detached.
    public func join() { pthread_join(handle, nil) }

    /// Lets go of a thread that nobody joins.
    public func detach() { pthread_detach(handle) }

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(_ name: String, _ body: @escaping @Sendable () -> Void) {
            self.name = String(decoding: name.utf8.prefix(15), as: UTF8.self)
            self.body = body
        }
    }
}

/// Which signals a thread takes.
///
/// Blocked is everything that can come from outside. Faults of the thread's own stay as they are (blocked or not, the
/// kernel ends the process), and so do SIGPROF (profilers, and Swift's own backtraces) and SIGTSTP (Ctrl-Z), which end
/// nothing.
public struct SignalMask: Sendable {
    private let mask: sigset_t

    private static let unblocked: [Int32] = [
        SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF, SIGTSTP,
    ]

    /// Every signal that comes from outside, for `sigwait` and its like.
    public static var external: sigset_t {
        var mask = sigset_t()
        unsafe sigfillset(&mask)
        for signal in unblocked { unsafe sigdelset(&mask, signal) }
        return mask
    }

    /// Blocks the signals from outside for the calling thread and those that it starts.
    /// - Returns: what was blocked before, for `restore`.
    @discardableResult
    public static func block() -> SignalMask {
        var mask = external
        var old = sigset_t()
        // It fails for a bad first argument only.
        unsafe pthread_sigmask(SIG_BLOCK, &mask, &old)
        return SignalMask(mask: old)
    }

    /// Sets the calling thread's mask to what `block` returned.
    public static func restore(_ old: SignalMask) {
        var mask = old.mask
        unsafe pthread_sigmask(SIG_SETMASK, &mask, nil)
    }
}
