import Glibc
import Synchronization

/// Finds what a test would like to use and may have to do without.
public enum Tool {
    /// The repository's top folder.
    public static let repository: String = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return parts.joined(separator: "/")
    }()

    /// A file or folder of the test material beside the repository; nil if it is not there.
    public static func shared(_ path: String) -> String? {
        let whole = repository + "/../shared/" + path
        return exists(whole) ? whole : nil
    }

    /// The path of a tool: of the test venv (.build/venv), of the PATH, of Debian packages that were only unpacked
    /// (.build/tools), or of the unpacked test tools (CABSTAND_TOOLS, default /tmp/cabstand-tools/tools). nil: not on this machine.
    public static func find(_ name: String) -> String? {
        var folders = [repository + "/.build/venv/bin"]
        folders += (variable("PATH") ?? "/usr/bin:/bin").split(separator: ":").map(String.init)
        folders += [repository + "/.build/tools/usr/bin", unpacked]
        return folders.lazy.map { $0 + "/" + name }.first { unsafe access($0, X_OK) == 0 && !isFolder($0) }
    }

    /// The folder of the unpacked test tools; it may not be there.
    public static var unpacked: String { variable("CABSTAND_TOOLS") ?? "/tmp/cabstand-tools/tools" }

    /// Whether Python is there and can import all `modules`.
    public static func python(importing modules: [String]) -> String? {
        guard let python = find("python3") else { return nil }
        let script = modules.map { "import \($0)" }.joined(separator: "\n")
        let result = try? ChildProcess.run(python, ["-c", script], timeout: 30)
        return result?.status == 0 ? python : nil
    }

    /// The path of a program of this package, built beside the tests.
    public static func program(_ name: String) -> String { products + "/" + name }

    /// The folder with the products of the build that the tests belong to.
    public static let products: String = {
        let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") }
        return bundle.map(folder(of:)) ?? repository + "/.build/debug"
    }()

    public static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    private static func isFolder(_ path: String) -> Bool {
        var information = stat()
        return unsafe stat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFDIR
    }

    /// The folder that a path lies in.
    static func folder(of path: String) -> String {
        path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
    }

    /// The path without links; the path itself if there is nothing.
    static func resolved(_ path: String) -> String {
        guard let text = unsafe realpath(path, nil) else { return path }
        // Proof: realpath has allocated it, and it is freed here, once.
        defer { unsafe free(text) }
        return unsafe String(cString: text)
    }

    /// A variable of the environment; nil if it is not set, or empty.
    static func variable(_ name: String) -> String? {
        // Proof: tests never change the environment.
        guard let value = unsafe getenv(name), unsafe value[0] != 0 else { return nil }
        return unsafe String(cString: value)
    }
}

/// A TCP port that nobody uses right now, and that neither this process nor the system hands out again.
public func freePort() -> UInt16 {
    let first = UInt16.random(in: FreePorts.range)
    let range = FreePorts.range
    for step in 0..<range.count {
        let port = range.lowerBound + UInt16((Int(first - range.lowerBound) + step) % range.count)
        if FreePorts.take(port) { return port }
    }
    fatalError("no free port")
}

private enum FreePorts {
    /// Below those that the system gives to connections that go out: one of them could have a port in the moment between its choice and
    /// the program's start.
    static let range: Range<UInt16> = 12_000..<32_000
    private static let taken = Mutex<Set<UInt16>>([])

    /// Whether nobody listens on a port, nor has had it from here.
    static func take(_ port: UInt16) -> Bool {
        guard taken.withLock({ $0.insert(port).inserted }) else { return false }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                unsafe bind(descriptor, raw, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
