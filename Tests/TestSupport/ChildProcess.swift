import Glibc
import Synchronization

/// Why a child process did not do what a test wanted.
public struct ChildProcessError: Error, CustomStringConvertible {
    public let description: String
}

/// A real program that a test started. It is killed when the object goes, so no test leaves one behind.
///
/// Its output goes to files of its own, so a chatty program never blocks on a pipe that nobody reads. Thread-safe.
public final class ChildProcess: Sendable {
    public let name: String
    public let pid: pid_t
    private let folder: TemporaryFolder
    private let exitStatus = Mutex<Int32?>(nil)

    /// Starts a program.
    ///
    /// - Parameters:
    ///   - path: of the executable; without a slash it is looked up as `Tool.find` does.
    ///   - environment: added to the test's own.
    ///   - directory: to run in; the test's own if nil.
    ///   - input: what it reads from standard input; nil: nothing.
    /// - Throws: `ChildProcessError` if it can't be started.
    public init(
        _ path: String, _ arguments: [String] = [], environment: [String: String] = [:], directory: String? = nil,
        input: String? = nil
    ) throws {
        let executable = path.contains("/") ? path : (Tool.find(path) ?? path)
        name = executable.split(separator: "/").last.map(String.init) ?? executable
        let folder = TemporaryFolder()
        self.folder = folder
        let inputPath = input.map { folder.write("stdin", $0) } ?? "/dev/null"

        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        let mode: mode_t = 0o644
        unsafe posix_spawn_file_actions_addopen(&actions, 0, inputPath, O_RDONLY, 0)
        for (descriptor, file) in [(Int32(1), "stdout"), (2, "stderr")] {
            unsafe posix_spawn_file_actions_addopen(
                &actions, descriptor, folder.file(file), O_WRONLY | O_CREAT | O_APPEND, mode)
        }
        for descriptor in 3..<Int32(256) {
            // What the test process has open (other tests' sockets) is none of the child's business.
            if fcntl(descriptor, F_GETFD) >= 0 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        }

        var variables = Self.environment()
        variables.merge(environment) { $1 }
        var command = [executable] + arguments
        if let directory { command = ["/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", directory] + command }
        // Proof: the copies live until posix_spawnp has returned and are freed here, once.
        let words = unsafe command.map { unsafe strdup($0) } + [nil]
        let pairs = unsafe variables.map { unsafe strdup("\($0.key)=\($0.value)") } + [nil]
        defer {
            for index in unsafe words.indices { unsafe free(words[index]) }
            for index in unsafe pairs.indices { unsafe free(pairs[index]) }
        }
        var pid: pid_t = 0
        let result = unsafe posix_spawnp(&pid, command[0], &actions, nil, words, pairs)
        guard result == 0 else {
            throw ChildProcessError(description: "\(executable) can't be started: errno \(result)")
        }
        self.pid = pid
    }

    deinit { kill() }

    /// What it wrote to standard output so far.
    public var output: String { TemporaryFolder.read(folder.file("stdout")) }

    /// What it wrote to standard error so far.
    public var errors: String { TemporaryFolder.read(folder.file("stderr")) }

    /// The exit status, 128 + the signal's number after a signal; nil while it runs.
    public var status: Int32? {
        exitStatus.withLock { status in
            if status == nil {
                var raw: Int32 = 0
                if unsafe waitpid(pid, &raw, WNOHANG) == pid {
                    status = raw & 0x7F == 0 ? (raw >> 8) & 0xFF : 128 + (raw & 0x7F)
                }
            }
            return status
        }
    }

    /// CPU time that it has used, seconds; nil when it has ended.
    public var cpuSeconds: Double? {
        // Behind the name in parentheses, which may hold anything: user and system time are fields 14 and 15 (proc(5)).
        let fields = TemporaryFolder.read("/proc/\(pid)/stat").split(separator: ")").last?.split(separator: " ") ?? []
        guard isRunning, fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else {
            return nil
        }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    public var isRunning: Bool { status == nil }

    public func signal(_ number: Int32) {
        exitStatus.withLock { status in
            if status == nil { _ = Glibc.kill(pid, number) }
        }
    }

    /// kill −9, and waits until it is gone.
    public func kill() {
        signal(SIGKILL)
        while isRunning { usleep(1000) }
    }

    /// SIGTERM, and the exit status; killed after `seconds`.
    @discardableResult
    public func terminate(within seconds: Double = 20) -> Int32 {
        signal(SIGTERM)
        if let status = waitForExit(seconds) { return status }
        kill()
        return status ?? 137
    }

    /// The exit status, nil if it still runs after `seconds`.
    public func waitForExit(_ seconds: Double) -> Int32? {
        _ = waitUntil(seconds) { !self.isRunning }
        return status
    }

    /// Waits until its standard output or error has `text`.
    ///
    /// - Throws: `ChildProcessError`, with what it wrote, if it ends or `seconds` pass before.
    public func waitForOutput(_ text: String, seconds: Double = 30) throws {
        let found = waitUntil(seconds) {
            self.output.contains(text) || self.errors.contains(text) || !self.isRunning
        }
        guard found, output.contains(text) || errors.contains(text) else {
            throw ChildProcessError(
                description: "\(name) never wrote \"\(text)\" (status \(status.map(String.init) ?? "running")):\n"
                    + output.suffix(2000) + errors.suffix(2000))
        }
    }

    /// What a finished program did.
    public struct Result: Sendable {
        public let status: Int32
        public let output: String
        public let errors: String
    }

    /// Runs a program to its end.
    ///
    /// - Throws: `ChildProcessError` if it can't be started or runs longer than `timeout` seconds (it is killed then).
    public static func run(
        _ path: String, _ arguments: [String] = [], environment: [String: String] = [:], directory: String? = nil,
        input: String? = nil, timeout: Double = 60
    ) throws -> Result {
        let child = try ChildProcess(
            path, arguments, environment: environment, directory: directory, input: input)
        guard let status = child.waitForExit(timeout) else {
            child.kill()
            throw ChildProcessError(
                description: "\(path) ran longer than \(timeout) seconds:\n\(child.output)\(child.errors)")
        }
        return Result(status: status, output: child.output, errors: child.errors)
    }

    private static func environment() -> [String: String] {
        // Our programs ask nobody who they are unless the test is about that.
        var result = ["CABSTAND_AUTH": "off"]
        // Proof: tests never change the environment, so it can be read on any thread.
        var entry = unsafe environ
        while let line = unsafe entry.pointee {
            let text = unsafe String(cString: line)
            if let separator = text.firstIndex(of: "=") {
                result[String(text[..<separator])] = String(text[text.index(after: separator)...])
            }
            unsafe entry += 1
        }
        return result
    }
}

/// Whether `condition` became true within `seconds`; looks every 5 ms.
public func waitUntil(_ seconds: Double, _ condition: () -> Bool) -> Bool {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    let end = Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9 + seconds
    while !condition() {
        usleep(5000)
        unsafe clock_gettime(CLOCK_MONOTONIC, &now)
        if Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9 > end { return condition() }
    }
    return true
}
