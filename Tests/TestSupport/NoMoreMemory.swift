import Glibc

/// Takes the process's address space as it is now for all that there will ever be: no stack for a thread can be had.
///
/// In a child process of a test (`processExitsWith`) only: it holds for everybody in the process.
public enum NoMoreMemory {
    /// What the caller itself may still take, bytes; a thread's stack takes 8 MB.
    private static let rest: UInt = 2 << 20

    public static func begin() {
        let descriptor = unsafe open("/proc/self/statm", O_RDONLY)
        defer { close(descriptor) }
        var text = [UInt8](repeating: 0, count: 256)
        let count = unsafe read(descriptor, &text, text.count)
        // Its first number is the size of the address space in pages.
        let pages = String(decoding: text.prefix(max(0, count)), as: UTF8.self).split(separator: " ").first ?? ""
        guard let used = UInt(pages) else { fatalError("/proc/self/statm says nothing") }
        set(rlim_t(used * UInt(getpagesize()) + rest))
    }

    public static func end() { set(rlim_t.max) }

    private static func set(_ bytes: rlim_t) {
        let kind = __rlimit_resource_t(RLIMIT_AS.rawValue)
        var limit = rlimit()
        unsafe getrlimit(kind, &limit)
        limit.rlim_cur = min(bytes, limit.rlim_max)
        guard unsafe setrlimit(kind, &limit) == 0 else { fatalError("no limit can be set: errno \(errno)") }
    }
}
