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
    return unsafe withLoopbackAddress(port) { unsafe bind(descriptor, $0, $1) } == 0
}
