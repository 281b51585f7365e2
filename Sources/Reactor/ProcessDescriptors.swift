import CLinux

/// The descriptors of this process: each connection is one.
public enum ProcessDescriptors {
    /// Places in the kernel's table that are made at once. Reason: half a megabyte of the kernel's memory, and more connections than
    /// most processes ever have.
    private static let places: UInt = 1 << 16

    /// Lets the process have as many descriptors as the system allows it (`ulimit -Hn`), not only the 1,024 that shells and systemd
    /// give it to begin with, and makes room for them before there are threads: a table that grows later holds up whoever accepts the
    /// connection for tens of milliseconds. Call it first of all.
    ///
    /// - Returns: how many there may be; 0: the system does not say.
    @discardableResult
    public static func widen() -> Int { Int(clamping: clinux_widen_descriptors(places)) }
}
