import Glibc
import Reactor

/// What the process costs, under the names that Prometheus's own clients use.
public enum ProcessMetrics {
    /// Adds the process's metrics to `registry`. They are sampled at a scrape from /proc, which is memory, not a disk.
    public static func install(in registry: MetricRegistry = .shared) {
        let start = wallClockSeconds()
        registry.sampledGauge(name: "process_start_time_seconds", help: "Unix time at which the process started.") {
            start
        }
        registry.sampledGauge(name: "process_resident_memory_bytes", help: "Resident memory.") {
            Double(statusField("VmRSS:") ?? 0) * 1024
        }
        registry.sampledCounter(name: "process_cpu_seconds_total", help: "User and system CPU time.") {
            var usage = rusage()
            unsafe getrusage(numericCast(RUSAGE_SELF.rawValue), &usage)
            return seconds(usage.ru_utime) + seconds(usage.ru_stime)
        }
        registry.sampledGauge(name: "process_open_fds", help: "Open file descriptors.") {
            Double(openDescriptors())
        }
        registry.sampledCounter(
            name: .own("log_lines_lost_total"),
            help: "Log lines that nobody read fast enough, or that the disk did not take."
        ) { Double(LogSink.standard.lostLines) }
    }

    private static func wallClockSeconds() -> Double {
        let (seconds, nanoseconds) = SystemClock.unixTime()
        return Double(seconds) + Double(nanoseconds) * 1e-9
    }

    private static func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }

    /// The number behind `name` in /proc/self/status.
    private static func statusField(_ name: String) -> Int? {
        guard let file = unsafe fopen("/proc/self/status", "re") else { return nil }
        defer { unsafe fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while unsafe fgets(&line, Int32(line.count), file) != nil {
            let bytes = line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            let text = String(decoding: bytes, as: UTF8.self)
            guard text.hasPrefix(name) else { continue }
            return Int(text.dropFirst(name.count).drop { $0 == " " || $0 == "\t" }.prefix { $0.isNumber })
        }
        return nil
    }

    private static func openDescriptors() -> Int {
        guard let folder = unsafe opendir("/proc/self/fd") else { return 0 }
        defer { unsafe closedir(folder) }
        var count = 0
        while unsafe readdir(folder) != nil { count += 1 }
        return max(0, count - 3)  // ".", ".." and the folder's own descriptor
    }
}
