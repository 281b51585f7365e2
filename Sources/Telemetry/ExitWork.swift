import Glibc
import Reactor
import Synchronization

/// What has to be done before the process ends, whichever way it ends: after a drain, after a start that failed half-way, or
/// when the grace period is over. (`exit` and `atexit` would also tear down libraries that other threads still use.)
///
/// A database that is open adds itself, and takes itself out once it is closed. Thread-safe.
public final class ExitWork: Sendable {
    /// The process's own.
    public static let shared = ExitWork()

    /// Names a piece of work that was added.
    public struct Token: Sendable, Hashable {
        fileprivate let number: Int
    }

    /// Does the work; gives up when the monotonic clock has passed `deadline` (nanoseconds). Blocks.
    public typealias Work = @Sendable (_ deadline: UInt64) -> Void

    private struct State {
        var work: [(number: Int, work: Work)] = []
        var next = 0
    }

    private let state = Mutex(State())

    /// Nothing to do.
    public init() {}

    /// Adds what is to be done before the process ends. Thread-safe.
    public func add(_ work: @escaping Work) -> Token {
        state.withLock { state in
            state.next += 1
            state.work.append((state.next, work))
            return Token(number: state.next)
        }
    }

    /// Takes it back. Thread-safe.
    public func remove(_ token: Token) {
        state.withLock { $0.work.removeAll { $0.number == token.number } }
    }

    /// Does what was added, the newest first, within `milliseconds` all together. Never on a loop.
    public func run(within milliseconds: UInt64) {
        let deadline = SystemClock.monotonicNanoseconds() + milliseconds * 1_000_000
        // Not under the lock: the work takes itself out.
        let work = state.withLock { $0.work }
        for item in work.reversed() { item.work(deadline) }
    }
}
