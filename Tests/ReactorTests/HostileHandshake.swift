import Bytes
import Reactor
import TestSupport
import Testing

/// Something that reaches a TLS port and is no good TLS client.
enum HostileHandshake: CaseIterable, CustomTestStringConvertible {
    case portScan, silence, plainHTTP, fortyZeros, halfClientHello, tls11, untrusting, wrongName, resetAtOnce

    static let all = allCases

    var testDescription: String { "\(self)" }

    func attack(_ address: SocketAddress, from loop: EventLoop, trusting certificate: TestCertificate) {
        let peer = Script()
        switch self {
        case .portScan: peer.onOpened = { loop.closeAfterFlush($0) }
        case .resetAtOnce: peer.onOpened = { loop.close($0) }
        case .silence: break
        case .plainHTTP: peer.onOpened = { Self.send(loop, $0, Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)) }
        case .fortyZeros: peer.onOpened = { Self.send(loop, $0, [UInt8](repeating: 0, count: 40)) }
        case .halfClientHello: peer.onOpened = { Self.send(loop, $0, Self.clientHello.dropLast(20)) }
        case .tls11: peer.onOpened = { Self.send(loop, $0, Self.clientHello[...]) }
        case .untrusting, .wrongName:
            // The system's store does not know the certificate; or it is for another name.
            let trusted = self == .wrongName ? certificate.certificatePath : nil
            guard let context = try? TLSClientContext(serverName: "elsewhere", trustedPath: trusted) else { return }
            loop.connect(address, timeout: 60_000_000_000, tls: context, handler: peer)
            return
        }
        loop.connect(address, timeout: 60_000_000_000, handler: peer)
    }

    private static func send(_ loop: EventLoop, _ id: ConnectionID, _ bytes: some Collection<UInt8>) {
        unsafe loop.output(id)?.pointee.append(Array(bytes))
    }

    /// A whole ClientHello of TLS 1.1 (RFC 4346 §7.4.1.2) with one cipher suite.
    private static let clientHello: [UInt8] = {
        let body: [UInt8] = [3, 2] + [UInt8](repeating: 7, count: 32) + [0, 0, 2, 0xC0, 0x13, 1, 0]
        let message: [UInt8] = [1, 0, 0, UInt8(body.count)] + body
        return [22, 3, 1, 0, UInt8(message.count)] + message
    }()
}
