#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// An IPv4 or IPv6 address with a port.
public struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
    /// The 16 address bytes in network order, IPv4 in the last four.
    let high: UInt64
    let low: UInt64
    let scope: UInt32
    /// The TCP port.
    public let port: UInt16
    /// Whether it is an IPv6 address.
    public let isIPv6: Bool

    /// Parses an address in text: `127.0.0.1`, `::1`. nil for anything else, names included.
    public init?(ip: String, port: UInt16) {
        let parsed = unsafe ip.withCString { unsafe Self.parsed($0, port) }
        guard let parsed else { return nil }
        self = parsed
    }

    /// The same from its bytes, without a copy in memory of its own.
    public init?(ip: Span<UInt8>, port: UInt16) {
        let capacity = Int(INET6_ADDRSTRLEN)
        guard ip.count < capacity else { return nil }
        let parsed = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) {
            space -> SocketAddress? in
            for index in 0..<ip.count {
                // It would end the text for the system, and not for whoever compares it.
                if ip[index] == 0 { return nil }
                unsafe space[index] = CChar(bitPattern: ip[index])
            }
            unsafe space[ip.count] = 0
            return unsafe Self.parsed(space.baseAddress.unsafelyUnwrapped, port)
        }
        guard let parsed else { return nil }
        self = parsed
    }

    private static func parsed(_ text: UnsafePointer<CChar>, _ port: UInt16) -> SocketAddress? {
        var v4 = in_addr()
        if unsafe inet_pton(AF_INET, text, &v4) == 1 {
            return SocketAddress(ipv4: UInt32(bigEndian: v4.s_addr), port: port)
        }
        var v6 = in6_addr()
        guard unsafe inet_pton(AF_INET6, text, &v6) == 1 else { return nil }
        return SocketAddress(v6, scope: 0, port: port)
    }

    /// An IPv4 address as a number: `0x7F00_0001` is 127.0.0.1.
    public init(ipv4: UInt32, port: UInt16) {
        high = 0
        low = UInt64(ipv4)
        scope = 0
        self.port = port
        isIPv6 = false
    }

    init(ipv6High high: UInt64, low: UInt64, port: UInt16) {
        self.high = high
        self.low = low
        scope = 0
        self.port = port
        isIPv6 = true
    }

    init(_ address: in6_addr, scope: UInt32, port: UInt16) {
        (high, low) = unsafe withUnsafeBytes(of: address) {
            unsafe (
                UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
        self.scope = scope
        self.port = port
        isIPv6 = true
    }

    /// 127.0.0.1
    public static func loopback(port: UInt16) -> SocketAddress { SocketAddress(ipv4: 0x7F00_0001, port: port) }

    /// 0.0.0.0: every IPv4 address of this machine.
    public static func any(port: UInt16) -> SocketAddress { SocketAddress(ipv4: 0, port: port) }

    /// The same address with another port.
    public func with(port: UInt16) -> SocketAddress {
        isIPv6 ? SocketAddress(rawIPv6, scope: scope, port: port) : SocketAddress(ipv4: UInt32(low), port: port)
    }

    /// The address in text, without the port.
    public var ip: String {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            if isIPv6 {
                var address = rawIPv6
                unsafe inet_ntop(AF_INET6, &address, text.baseAddress!, socklen_t(INET6_ADDRSTRLEN))
            } else {
                var address = in_addr(s_addr: UInt32(truncatingIfNeeded: low).bigEndian)
                unsafe inet_ntop(AF_INET, &address, text.baseAddress!, socklen_t(INET6_ADDRSTRLEN))
            }
            return unsafe String(cString: text.baseAddress!)
        }
    }

    public var description: String { isIPv6 ? "[\(ip)]:\(port)" : "\(ip):\(port)" }

    private var rawIPv6: in6_addr {
        var address = in6_addr()
        unsafe withUnsafeMutableBytes(of: &address) {
            unsafe $0.storeBytes(of: high.bigEndian, as: UInt64.self)
            unsafe $0.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        return address
    }

    // MARK: The system's form

    /// Reads a `sockaddr` of the system; nil if it is of another family.
    init?(_ storage: sockaddr_storage) {
        var storage = storage
        switch Int32(storage.ss_family) {
        case AF_INET:
            let v4 = unsafe withUnsafeBytes(of: &storage) { unsafe $0.load(as: sockaddr_in.self) }
            self.init(ipv4: UInt32(bigEndian: v4.sin_addr.s_addr), port: UInt16(bigEndian: v4.sin_port))
        case AF_INET6:
            let v6 = unsafe withUnsafeBytes(of: &storage) { unsafe $0.load(as: sockaddr_in6.self) }
            self.init(v6.sin6_addr, scope: v6.sin6_scope_id, port: UInt16(bigEndian: v6.sin6_port))
        default: return nil
        }
    }

    /// Calls `body` with the address in the system's form.
    func withSystemAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        if isIPv6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            address.sin6_addr = rawIPv6
            address.sin6_scope_id = scope
            return unsafe withUnsafePointer(to: &address) {
                unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(truncatingIfNeeded: low).bigEndian
        return unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

/// A system call has failed.
public struct SystemError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was tried, with its object: `bind 127.0.0.1:80`.
    public let operation: String
    /// The system's error number.
    public let errno: Int32

    /// An error of an operation that is named in words.
    public init(operation: String, errno: Int32) {
        self.operation = operation
        self.errno = errno
    }

    public var description: String { "\(operation): \(errorText(errno))" }
}

/// The system's words for an error number.
func errorText(_ code: Int32) -> String {
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { text in
        unsafe text.initialize(repeating: 0)
        guard unsafe strerror_r(code, text.baseAddress!, 127) == 0 else { return "error \(code)" }
        return unsafe String(cString: text.baseAddress!)
    }
}
