import COpenSSL
import Reactor
import ReactorSim
import TestSupport
import Testing

/// KeyUpdate (RFC 8446 §4.6.3): whoever changes keys now and then is served, whoever does nothing else is not.
@Suite struct KeyUpdateTests {
    private static func server(_ network: SimulatedNetwork) throws -> (EventLoop, SocketAddress, Script) {
        let certificate = TestCertificate.shared
        let context = try TLSServerContext(
            certificatePath: certificate.certificatePath, keyPath: certificate.keyPath)
        let loop = try network.makeLoop()
        let handler = Script()
        handler.onRead = { id, bytes in
            unsafe loop.output(id)?.pointee.append(Array(bytes))
            return bytes.count
        }
        return (loop, try loop.listen(.loopback(port: 0), tls: context, handler: handler).localAddress, handler)
    }

    /// With data in between and without, one a second: for hours.
    @Test(arguments: [SimulationOptions(), .unkind]) func keysMayChangeForever(options: SimulationOptions) throws {
        let network = SimulatedNetwork(seed: 1, options: options)
        let (loop, address, handler) = try Self.server(network)
        let peer = try TLSPeer(network, address)
        for round in 0..<300 {
            #expect(peer.updateKeys())
            if round % 3 == 0 {
                peer.send([UInt8](repeating: 7, count: 20_000))
                network.run(for: 100_000_000)
                #expect(peer.receive().count == 20_000)
            }
            network.run(for: 1_000_000_000)
        }
        #expect(handler.reasons.isEmpty && loop.statistics.handshakesFailed == 0)
        peer.close()
    }

    /// However few bytes a record is split into: what is counted is records.
    @Test func dataInDripsAreNoIdleRecords() throws {
        let network = SimulatedNetwork(seed: 2, options: .byteByByte)
        let (_, address, handler) = try Self.server(network)
        let peer = try TLSPeer(network, address)
        for _ in 0..<200 { peer.send([1]) }
        peer.send([UInt8](repeating: 2, count: 3000))
        network.run(for: 60_000_000_000)
        #expect(peer.receive().count == 3200)
        #expect(handler.reasons.isEmpty)
        peer.close()
    }

    /// All at once, or with a byte of data behind each.
    @Test(arguments: [false, true]) func aFloodEndsTheConnectionAndNoOther(withData: Bool) throws {
        let network = SimulatedNetwork(seed: 3)
        let (_, address, handler) = try Self.server(network)
        let peer = try TLSPeer(network, address)
        let other = try TLSPeer(network, address)
        for _ in 0..<200 {
            #expect(peer.updateKeys())
            if withData { peer.send([1]) }
        }
        network.run(for: 1_000_000_000)
        #expect(handler.reasons == [.tls("too many records that carry nothing")])
        #expect(peer.hasEnded)
        other.send([1, 2, 3])
        network.run(for: 1_000_000_000)
        #expect(other.receive() == [1, 2, 3])
        other.close()
        peer.close()
    }
}

/// A TLS client that is OpenSSL between a simulated connection and the test, for what our own client never does.
///
/// Proof of `@safe`: the `SSL` and its BIOs are made in `init`, freed in `deinit` and never handed out.
@safe private final class TLSPeer {
    private let network: SimulatedNetwork
    private let peer: SimulatedPeer
    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer

    init(_ network: SimulatedNetwork, _ address: SocketAddress) throws {
        self.network = network
        peer = network.connect(to: address)
        let context = unsafe try #require(SSL_CTX_new(TLS_client_method()))
        unsafe ssl = try #require(unsafe SSL_new(context))
        unsafe SSL_CTX_free(context)
        unsafe input = try #require(unsafe BIO_new(BIO_s_mem()))
        unsafe output = try #require(unsafe BIO_new(BIO_s_mem()))
        unsafe SSL_set_bio(ssl, input, output)
        unsafe SSL_set_connect_state(ssl)
        for _ in 0..<100 where unsafe SSL_do_handshake(ssl) != 1 { exchange() }
        exchange()
        #expect(unsafe SSL_is_init_finished(ssl) == 1)
    }

    deinit { unsafe SSL_free(ssl) }

    private func exchange() {
        flush()
        network.run(for: 100_000_000)
        let bytes = peer.takeReceived()
        _ = unsafe bytes.withUnsafeBytes { unsafe BIO_write(input, $0.baseAddress, Int32($0.count)) }
    }

    private func flush() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe BIO_read(output, $0.baseAddress, Int32($0.count))
            }
            guard count > 0 else { return }
            peer.send(Array(buffer[..<Int(count)]))
        }
    }

    /// Whether the server has closed the connection.
    var hasEnded: Bool { peer.hasEnded || peer.isBroken }

    /// Sends KeyUpdate, which asks for one of the server's.
    func updateKeys() -> Bool {
        defer { flush() }
        return unsafe SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1
    }

    func send(_ bytes: [UInt8]) {
        _ = unsafe bytes.withUnsafeBytes { unsafe SSL_write(ssl, $0.baseAddress, Int32($0.count)) }
        flush()
    }

    /// The data that are here.
    func receive() -> [UInt8] {
        exchange()
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe SSL_read(ssl, $0.baseAddress, Int32($0.count)) }
            guard count > 0 else { return result }
            result += buffer[..<Int(count)]
        }
    }

    func close() { peer.close() }
}
