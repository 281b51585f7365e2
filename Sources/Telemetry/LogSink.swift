import Bytes
import Glibc
import Synchronization

/// The form of a log line.
public enum LogFormat: String, CaseIterable, Sendable {
    /// `2026-11-24T18:00:00.000Z info gateway: listening port=8080`
    case text
    /// One JSON object a line: `time`, `level`, `label`, `message` and the metadata.
    case json
}

/// Where log lines go: a bounded queue and a thread that writes it to a descriptor.
///
/// The writer takes what waits and writes it without holding the lock, so a reader of stderr that stalls costs lines
/// (they are counted and announced), never a loop's time. Thread-safe.
public final class LogSink: Sendable {
    /// Bytes that may wait for the descriptor; what comes beyond is dropped and counted.
    static let queueLimit = 1 << 20

    /// Standard error, from `info` on, as text, until a program says otherwise.
    public static let standard = LogSink(descriptor: 2)

    private struct Queue: ~Copyable {
        var pending = ByteBuffer()
        var dropped = 0
        var writing = false
        var started = false
    }

    private let descriptor: Int32
    private let threshold: Atomic<UInt8>
    private let json = Atomic<Bool>(false)
    private let queue = Mutex(Queue())
    private let wakeUp = Wakeup()

    /// - Parameter descriptor: stays open as long as the sink is used; the sink never closes it.
    public init(descriptor: Int32, level: LogLevel = .info, format: LogFormat = .text) {
        self.descriptor = descriptor
        threshold = Atomic(level.rank)
        json.store(format == .json, ordering: .relaxed)
    }

    /// Sets what is written from now on.
    public func configure(level: LogLevel, format: LogFormat) {
        threshold.store(level.rank, ordering: .relaxed)
        json.store(format == .json, ordering: .relaxed)
    }

    func isEnabled(_ level: LogLevel) -> Bool { level.rank >= threshold.load(ordering: .relaxed) }

    func write(
        level: LogLevel, label: String, message: String, context: [(name: String, value: String)],
        values: [(String, LogValue)]
    ) {
        var line = ByteBuffer(capacity: 160)
        compose(level, label, message, context, values, into: &line)
        let start = queue.withLock { queue in
            guard queue.pending.count + line.count <= Self.queueLimit else {
                queue.dropped += 1
                return false
            }
            queue.pending.append(line.span)
            defer { queue.started = true }
            return !queue.started
        }
        if start { startWriter() }
        wakeUp.signal()
    }

    private func compose(
        _ level: LogLevel, _ label: String, _ message: String, _ context: [(name: String, value: String)],
        _ values: [(String, LogValue)], into line: inout ByteBuffer
    ) {
        if json.load(ordering: .relaxed) {
            LogLine.json(level, label, message, context, values, into: &line)
        } else {
            LogLine.text(level, label, message, context, values, into: &line)
        }
    }

    /// Waits until what was logged so far is written. For a program's last words; not for a loop.
    public func flush() {
        while queue.withLock({ !$0.pending.isEmpty || $0.writing }) { usleep(1000) }
    }

    private func startWriter() {
        spawnThread { [self] in
            while true {
                wakeUp.wait()
                while writePending() {}
            }
        }
    }

    /// Writes what waits; false if nothing did.
    private func writePending() -> Bool {
        var taken = ByteBuffer()
        let dropped = queue.withLock { queue in
            swap(&taken, &queue.pending)
            queue.writing = !taken.isEmpty
            defer { queue.dropped = 0 }
            return queue.dropped
        }
        guard !taken.isEmpty else { return false }
        if dropped > 0 {
            compose(
                .warning, "log", "lines were dropped because nobody reads them fast enough", [],
                [("count", .integer(dropped))], into: &taken)
        }
        while !taken.isEmpty {
            let written = unsafe taken.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 {
                taken.consume(written)
            } else if errno == EAGAIN {
                usleep(1000)
            } else if errno != EINTR {
                break  // the descriptor is gone: there is nobody left to tell
            }
        }
        queue.withLock { $0.writing = false }
        return true
    }
}

/// A binary semaphore: any number of signals wake the waiter at least once.
@safe final class Wakeup: Sendable {
    /// Proof: a POSIX semaphore is made for use by many threads; it lives as long as the process.
    private nonisolated(unsafe) let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        unsafe semaphore = .allocate(capacity: 1)
        unsafe sem_init(semaphore, 0, 0)
    }

    func signal() {
        var value: Int32 = 0
        if unsafe sem_getvalue(semaphore, &value) == 0, value > 0 { return }
        unsafe sem_post(semaphore)
    }

    func wait() {
        while unsafe sem_wait(semaphore) != 0 && errno == EINTR {}
    }
}

/// Starts a detached thread.
func spawnThread(_ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = unsafe Unmanaged.passRetained(Box(body)).toOpaque()
    let result = unsafe pthread_create(
        &thread, nil,
        { argument in
            // Proof: the retained box comes from the call above and is released here, once.
            unsafe Unmanaged<Box>.fromOpaque(argument.unsafelyUnwrapped).takeRetainedValue().body()
            return nil
        }, box)
    guard result == 0 else { fatalError("a thread could not be started: error \(result)") }
    pthread_detach(thread)
}
