import Bytes
import HTTPClient
import Reactor
import ReactorSim
import Testing

/// A client on a simulated loop, and servers that say what a script tells them, in virtual time.
final class SimulatedServer {
    let network: SimulatedNetwork
    let loop: EventLoop
    let client: HTTPClient
    private var listener: SimulatedPeerListener?
    static let address = SocketAddress.loopback(port: 80)

    init(
        seed: UInt64 = 1, options: SimulationOptions = .init(), limits: HTTPClientLimits = .init(),
        tls: TLSClientContext? = nil
    ) throws {
        network = SimulatedNetwork(seed: seed, options: options)
        network.names["example.org"] = [.loopback(port: 0)]
        network.names["other.example"] = [.loopback(port: 0)]
        loop = try network.makeLoop()
        client = HTTPClient(loop: loop, tls: tls, limits: limits, userAgent: "test")
        listener = network.listenForPeers(Self.address)
    }

    /// What came of a request.
    final class Answer {
        var result: Result<HTTPClientResponse, HTTPClientError>?
        var call: HTTPCall?

        var response: HTTPClientResponse? { try? result?.get() }
        var error: HTTPClientError? { if case .failure(let error) = result { error } else { nil } }
        /// Status and body, or the error.
        var said: String? {
            switch result {
            case .success(let response): "\(response.status) \(response.text)"
            case .failure(let error): "\(error)"
            case nil: nil
            }
        }
    }

    func send(_ request: HTTPClientRequest, limit: Int = 1 << 20) -> Answer {
        let answer = Answer()
        loop.execute { [client] in
            answer.call = client.send(request, limit: limit) { result in
                if answer.result != nil { Issue.record("a second end: \(result)") }
                answer.result = result
            }
            if answer.result != nil { Issue.record("an end before the call has returned") }
        }
        return answer
    }

    func get(
        _ url: String = "http://example.org/", fields: HTTPClientFields = [:], limit: Int = 1 << 20,
        timeout: Duration = .seconds(30), redirects: Int = 0
    ) throws -> Answer {
        send(
            try HTTPClientRequest(.get, url, fields: fields, timeout: timeout, redirects: redirects), limit: limit)
    }

    /// Runs for so many virtual seconds.
    func run(_ seconds: Double = 0.1) { network.run(for: UInt64(seconds * 1e9)) }

    /// The next connection that the client makes; nil: none in a while.
    func accept() -> SimulatedPeer? {
        run()
        return listener?.accept()
    }

    /// A connection that is there already.
    func acceptNow() -> SimulatedPeer? { listener?.accept() }

    /// The next connection and the request that came on it.
    func acceptRequest() throws -> (SimulatedPeer, String) {
        let peer = try #require(accept(), "the client has not connected")
        run()
        return (peer, heard(peer))
    }

    func heard(_ peer: SimulatedPeer) -> String { String(decoding: peer.takeReceived(), as: UTF8.self) }

    /// Nobody listens from now on.
    func stopListening() {
        listener?.close()
        listener = nil
    }

    func listenAgain() { listener = network.listenForPeers(Self.address) }

    /// Nothing is left of all that was asked, once every connection that is kept has been closed.
    func expectNothingIsLeft() {
        run(1000)
        #expect(client.openRequests == 0)
        #expect(client.waitingRequests == 0)
        #expect(client.openConnections == 0)
        #expect(client.heldBytes == 0)
        #expect(loop.statistics.connections == 0)
    }
}

extension SimulatedPeer {
    func say(_ text: String) { send(Array(text.utf8)) }

    func answer(_ body: String, fields: String = "", status: String = "200 OK") {
        say("HTTP/1.1 \(status)\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }
}
