import CLinux

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Several loops, each on its own thread.
///
/// Proof of `@unchecked Sendable`: `threads` is touched by whoever owns the group, who starts, stops and joins it.
public final class EventLoopGroup: @unchecked Sendable {
    /// The loops. Thread-safe.
    public let loops: [EventLoop]
    private var threads: [SystemThread] = []

    /// - Throws: `SystemError` when descriptors or address space have run out.
    public init(
        count: Int = EventLoopGroup.defaultCount, configuration: EventLoop.Configuration = .init()
    ) throws(SystemError) {
        precondition(count > 0, "a group needs a loop")
        var loops: [EventLoop] = []
        for _ in 0..<count { loops.append(try EventLoop(configuration: configuration)) }
        self.loops = loops
    }

    /// Starts a thread per loop. `setUp` runs on each loop's thread before its first turn. What must live as long as the loop has
    /// to be held by what it registers there, such as a listener's handler.
    /// - Parameter name: of the threads, with the loop's number behind it (15 bytes in all).
    /// - Throws: `SystemError` when the system has not that many threads; those that were started have ended by then.
    public func start(
        named name: String = "loop", _ setUp: @escaping @Sendable (EventLoop) -> Void
    ) throws(SystemError) {
        precondition(threads.isEmpty, "a group starts once")
        for (index, loop) in loops.enumerated() {
            do throws(SystemError) {
                threads.append(
                    try SystemThread("\(name)-\(index)") {
                        loop.adopt()
                        setUp(loop)
                        loop.run()
                    })
            } catch {
                stop()
                join()
                throw error
            }
        }
    }

    /// Asks every loop to end. Thread-safe.
    public func stop() {
        for loop in loops { loop.stop() }
    }

    /// Waits for the threads' end. Not on a loop.
    public func join() {
        for thread in threads { thread.join() }
        threads = []
    }

    /// The CPUs that this process may use: by affinity, and by the quota of its control group, rounded up.
    public static var defaultCount: Int {
        var count = Int(clinux_allowed_cpus())
        if count <= 0 { count = sysconf(Int32(_SC_NPROCESSORS_ONLN)) }
        if let quota = CPUQuota.current { count = min(count, quota) }
        return max(1, count)
    }
}

/// The CPU quota of this process's control group.
enum CPUQuota {
    static var current: Int? {
        let groups = text(of: "/proc/self/cgroup") ?? ""
        var smallest: Int?
        for line in groups.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let controllers = fields[1].split(separator: ",")
            // Inside a container the path is the host's, and the group is mounted at the root.
            for path in [String(fields[2]), ""] {
                let quota: Int?
                if fields[0] == "0" {
                    quota = text(of: "/sys/fs/cgroup\(path)/cpu.max").flatMap(version2)
                } else if controllers.contains("cpu") {
                    let folder = "/sys/fs/cgroup/cpu\(path)"
                    quota = version1(
                        text(of: folder + "/cpu.cfs_quota_us"), text(of: folder + "/cpu.cfs_period_us"))
                } else {
                    quota = nil
                }
                if let quota { smallest = min(smallest ?? quota, quota) }
            }
        }
        return smallest
    }

    /// `cpu.max`: microseconds per period, or `max`.
    static func version2(_ text: String) -> Int? {
        let fields = text.split(whereSeparator: \.isWhitespace)
        guard fields.count == 2 else { return nil }
        return version1(String(fields[0]), String(fields[1]))
    }

    static func version1(_ quota: String?, _ period: String?) -> Int? {
        guard let quota = number(quota), let period = number(period), quota > 0, period > 0 else { return nil }
        // Rounded up, without a sum that could be too large.
        return quota / period + (quota % period > 0 ? 1 : 0)
    }

    private static func number(_ text: String?) -> Int? {
        text?.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
    }

    /// A small file of the system, whole.
    private static func text(of path: String) -> String? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        return unsafe withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { memory in
            let count = unsafe read(descriptor, memory.baseAddress!, 4096)
            return count > 0 ? unsafe String(decoding: memory[..<count], as: UTF8.self) : nil
        }
    }
}
