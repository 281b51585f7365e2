import Bytes
import Glibc
import Reactor
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
/// The writer takes what waits and writes it without holding the lock, so a reader of stderr that stalls, or a disk that is
/// full, costs lines (they are counted, and announced once there is somebody to tell), never a loop's time and never the
/// program's end. Thread-safe.
public final class LogSink: Sendable {
    /// Bytes that may wait for the descriptor; what comes beyond is dropped and counted.
    static let queueLimit = 1 << 20
    /// Milliseconds between two looks at a descriptor that is non-blocking and full.
    private static let fullPause: Int32 = 1_000

    /// Standard error, from `info` on, as text, until a program says otherwise.
    public static let standard = LogSink(descriptor: 2)
    /// Standard output, for what a program says to whoever started it.
    public static let output = LogSink(descriptor: 1)

    private struct Queue: ~Copyable {
        var pending = ByteBuffer()
        /// Lines that were lost since the last announcement.
        var dropped = 0
        var writing = false
        var started = false
    }

    private let descriptor: Int32
    private let threshold: Atomic<UInt8>
    private let json = Atomic<Bool>(false)
    private let queue = Mutex(Queue())
    private let wakeUp = Wakeup()
    private let lost = Atomic<Int>(0)

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

    /// Lines that were lost since the start.
    public var lostLines: Int { lost.load(ordering: .relaxed) }

    func isEnabled(_ level: LogLevel) -> Bool { level.rank >= threshold.load(ordering: .relaxed) }

    func write(
        level: LogLevel, label: String, message: String, context: [(name: String, value: String)],
        values: [(String, LogValue)]
    ) {
        var line = ByteBuffer(capacity: 160)
        compose(level, label, message, context, values, into: &line)
        append(line)
    }

    /// Writes a line as it is, without level, label and time.
    public func write(line text: String) {
        var line = ByteBuffer(capacity: text.utf8.count + 1)
        line.append(utf8: text)
        line.append(UInt8(ascii: "\n"))
        append(line)
    }

    private func append(_ line: borrowing ByteBuffer) {
        let (starts, drops) = queue.withLock { queue in
            let starts = !queue.started
            queue.started = true
            guard queue.pending.count + line.count <= Self.queueLimit else {
                queue.dropped += 1
                return (starts, true)
            }
            queue.pending.append(line.span)
            return (starts, false)
        }
        if drops { lost.add(1, ordering: .relaxed) }
        if starts { startWriter() }
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

    /// Waits until what was logged so far is written, but no longer than `milliseconds`: nobody may be reading. For a
    /// program's last words; not for a loop.
    public func flush(within milliseconds: Int = 1_000) {
        for _ in 0..<max(1, milliseconds) {
            if queue.withLock({ $0.pending.isEmpty && !$0.writing }) { return }
            usleep(1_000)
        }
    }

    /// If the system has no thread to give, the lines wait, and the next one tries again.
    private func startWriter() {
        do throws(SystemError) {
            try SystemThread("log") { [self] in
                while true {
                    wakeUp.wait()
                    while writePending() {}
                }
            }.detach()
        } catch {
            queue.withLock { $0.started = false }
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
        var missing = writeAll(&taken)
        lost.add(missing, ordering: .relaxed)
        missing += dropped
        if missing > 0 {
            var line = ByteBuffer(capacity: 160)
            compose(
                .warning, "log", "lines were lost: nobody reads them fast enough, or the disk does not take them", [],
                [("count", .integer(missing))], into: &line)
            if writeAll(&line) == 0 { missing = 0 }
        }
        queue.withLock { queue in
            queue.dropped += missing
            queue.writing = false
        }
        return true
    }

    /// Returns how many lines could not be written: the disk is full, or the descriptor is gone.
    private func writeAll(_ bytes: inout ByteBuffer) -> Int {
        while !bytes.isEmpty {
            let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 {
                bytes.consume(written)
            } else if written < 0 && errno == EAGAIN {
                var full = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                unsafe poll(&full, 1, Self.fullPause)
            } else if written == 0 || errno != EINTR {
                return unsafe bytes.withUnsafeBytes { bytes in
                    unsafe bytes.reduce(0) { $1 == UInt8(ascii: "\n") ? $0 + 1 : $0 }
                }
            }
        }
        return 0
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
