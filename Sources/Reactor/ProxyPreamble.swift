/// Takes the PROXY header off the connections of a listener, then hands them on: to TLS, or to the listener's handler.
final class ProxyPreamble: ConnectionHandler {
    private unowned let loop: EventLoop
    private let handler: ConnectionHandler
    private let gate: (any ConnectionGate)?
    private let startsTLS: ((ConnectionID, Span<UInt8>) -> Void)?

    /// What a header may take. Reason: a proxy sends it with its first packet.
    static let timeout: UInt64 = 5_000_000_000

    /// - Parameter startsTLS: goes on with TLS, whose first bytes it gets; nil: none is spoken.
    init(
        loop: EventLoop, handler: ConnectionHandler, gate: (any ConnectionGate)?,
        startsTLS: ((ConnectionID, Span<UInt8>) -> Void)?
    ) {
        self.loop = loop
        self.handler = handler
        self.gate = gate
        self.startsTLS = startsTLS
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: Span<UInt8>) -> Int {
        switch ProxyHeader.parse(bytes) {
        case .needsMore: return 0
        case .failed(let failure):
            refuse(id, failure)
            return bytes.count
        case .header(let header):
            guard let place = loop.connection(id), let client = header.source ?? loop.peerAddress(id),
                loop.welcome(place, client, gate)
            else {
                loop.close(id)
                return bytes.count
            }
            loop.clearDeadline(id)
            loop.setHandler(id, handler)
            if let startsTLS {
                startsTLS(id, bytes.extracting(droppingFirst: header.length))
                return bytes.count
            }
            loop.opened(place, id.token)
            return header.length
        }
    }

    override func connectionReadClosed(_ id: ConnectionID) { loop.close(id) }

    override func connectionDeadline(_ id: ConnectionID) { refuse(id, nil) }

    private func refuse(_ id: ConnectionID, _ failure: ProxyHeader.Failure?) {
        gate?.refusedProxy(loop.peerAddress(id), failure)
        loop.close(id)
    }
}
