import Glibc

/// A free TCP port of 127.0.0.1 on which a program can be started, killed and started again.
///
/// Below the range from which the kernel takes the ports of outgoing connections: one of `freePort()` may be taken by any
/// client's socket while the program is down.
///
/// - Parameter neighbours: so many ports above it are free too.
public func restartablePort(neighbours: UInt16 = 0) -> UInt16 {
    for _ in 0..<10_000 {
        let port = UInt16.random(in: 12_000..<32_000)
        if (port...(port + neighbours)).allSatisfy(isFree) { return port }
    }
    fatalError("no free port")
}

private func isFree(_ port: UInt16) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
}
