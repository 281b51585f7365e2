import Bytes
import Reactor
import WebSockets

/// Opens WebSockets to servers (RFC 6455, RFC 7692), from one loop.
///
///     let client = WebSocketClient(loop: loop)
///     client.connect("ws://localhost:8080/chat/ada") { outcome in
///         guard case .success(let socket) = outcome else { return }
///         socket.onText = { print(String(utf8: $0)) }
///         socket.send("hello")
///     }
///
/// In a task of the loop, `connect` and `WebSocket.receive` wait instead. Frames, limits, Pings and the closing handshake are those of
/// `WebSocketServer`, with the roles exchanged. All of it belongs to the loop's thread.
@safe public final class WebSocketClient: ConnectionHandler {
    /// A handshake that is under way.
    private final class Attempt {
        let handshake: ClientHandshake
        /// nil: `ws:`.
        let tls: TLSClientContext?
        /// Those that were not tried.
        var addresses: [SocketAddress] = []
        /// Loop nanoseconds.
        let deadline: UInt64
        let completion: (Result<WebSocket, WebSocketClientError>) -> Void

        init(
            _ handshake: ClientHandshake, _ tls: TLSClientContext?, _ deadline: UInt64,
            _ completion: @escaping (Result<WebSocket, WebSocketClientError>) -> Void
        ) {
            self.handshake = handshake
            self.tls = tls
            self.deadline = deadline
            self.completion = completion
        }
    }

    /// The loop that the client belongs to.
    public let loop: EventLoop
    private let endpoint: WebSocketServer
    private let sockets = ClosureEndpoint()
    private var tls: TLSClientContext?
    private var attempts: [ConnectionID: Attempt] = [:]
    private var isClosed = false

    /// - Parameters:
    ///   - limits: the bounds of messages that servers send.
    ///   - deflate: what to offer of permessage-deflate; nil: nothing. With `minimumMessageSize` what is sent is compressed, too.
    ///   - tls: whom to trust for `wss:`; nil: whom the system trusts. The certificate must be for the host of the address.
    public init(
        loop: EventLoop, limits: WebSocketLimits = .init(), timeouts: WebSocketTimeouts = .init(),
        deflate: DeflateOptions? = nil, tls: TLSClientContext? = nil
    ) {
        self.loop = loop
        self.tls = tls
        endpoint = WebSocketServer(.client, loop, limits, timeouts, deflate, nil)
        super.init()
    }

    /// WebSockets that were opened and have not ended.
    public var count: Int { endpoint.count }

    /// Bytes of memory of messages that are not complete, and of histories of compression.
    public var heldMessageBytes: Int { endpoint.heldMessageBytes }

    /// Opens a WebSocket.
    ///
    /// - Parameters:
    ///   - url: `ws://host:port/path?query` or `wss:`.
    ///   - subprotocols: what to offer, the dearest first; the server's choice is `WebSocket.subprotocol`.
    ///   - fields: further fields of the request, such as `Authorization` or `Origin`.
    ///   - timeout: how long all of it may take: the name, the connection, TLS and the answer.
    ///   - completion: called once, never before this call returns. The WebSocket's closures are to be set in it: messages may follow at
    ///     once.
    public func connect(
        _ url: String, subprotocols: [String] = [], fields: [(name: String, value: String)] = [],
        timeout: Duration = .seconds(10), _ completion: @escaping (Result<WebSocket, WebSocketClientError>) -> Void
    ) {
        let attempt: Attempt
        do throws(WebSocketClientError) {
            let handshake = try ClientHandshake(
                url: url, subprotocols: subprotocols, fields: fields, deflate: endpoint.deflate,
                nonce: (loop.randomNumber(), loop.randomNumber()))
            let tls = handshake.isTLS ? try tlsContext() : nil
            attempt = Attempt(handshake, tls, loop.preciseNow() + min(timeout.nanoseconds, 1 << 62), completion)
        } catch {
            return loop.execute { completion(.failure(error)) }
        }
        loop.resolve(attempt.handshake.host, port: attempt.handshake.port) { [self] answer in
            switch answer {
            case .success(let addresses):
                attempt.addresses = addresses
                connectNext(attempt, after: .connectTimeout)
            case .failure(let error): completion(.failure(.unresolved("\(error)")))
            }
        }
    }

    /// As above, for a task of the loop. What arrives waits for `WebSocket.receive`.
    public nonisolated(nonsending) func connect(
        _ url: String, subprotocols: [String] = [], fields: [(name: String, value: String)] = [],
        timeout: Duration = .seconds(10)
    ) async throws(WebSocketClientError) -> WebSocket {
        var outcome = Result<WebSocket, WebSocketClientError>.failure(.timedOut)
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            connect(url, subprotocols: subprotocols, fields: fields, timeout: timeout) {
                outcome = $0
                if case .success(let socket) = $0 { socket.collectMessages() }
                continuation.resume()
            }
        }
        return try outcome.get()
    }

    /// Closes every WebSocket 1001 (RFC 6455 §7.4.1), gives up handshakes, and begins none any more. `completion` is called when the last has ended.
    public func close(_ completion: @escaping () -> Void = {}) {
        isClosed = true
        for id in attempts.keys { loop.close(id) }
        endpoint.drain(over: .zero, completion)
    }

    /// What the system trusts is read once: it has a hundred certificates and more.
    private func tlsContext() throws(WebSocketClientError) -> TLSClientContext {
        do {
            let context = try tls ?? TLSClientContext()
            tls = context
            return context
        } catch {
            throw .badRequest("TLS is not to be had: \(error)")
        }
    }

    private func connectNext(_ attempt: Attempt, after reason: CloseReason) {
        guard !isClosed else { return attempt.completion(.failure(.noConnection(.local))) }
        guard attempt.deadline > loop.now else { return attempt.completion(.failure(.timedOut)) }
        guard !attempt.addresses.isEmpty else { return attempt.completion(.failure(.noConnection(reason))) }
        let address = attempt.addresses.removeFirst()
        let id = loop.connect(
            address, timeout: attempt.deadline - loop.now, tls: attempt.tls,
            serverName: attempt.tls.map { $0.serverName ?? attempt.handshake.host }, handler: self)
        attempts[id] = attempt
    }

    // MARK: What the loop calls

    public override func connectionOpened(_ id: ConnectionID) {
        guard let attempt = attempts[id], let output = unsafe loop.output(id) else { return }
        loop.setDeadline(id, at: attempt.deadline)
        unsafe attempt.handshake.appendRequest(to: &output.pointee)
    }

    public override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) {
        guard let attempt = attempts.removeValue(forKey: id) else { return }
        if reason == .connectTimeout { return attempt.completion(.failure(.timedOut)) }
        connectNext(attempt, after: reason)
    }

    public override func connectionRead(_ id: ConnectionID, _ bytes: Span<UInt8>) -> Int {
        guard let attempt = attempts[id] else { return bytes.count }
        do throws(WebSocketClientError) {
            guard let (agreement, count) = try answer(to: attempt, bytes) else { return 0 }
            attempts[id] = nil
            if let deflate = agreement.deflate { endpoint.agree(id, deflate) }
            endpoint.adopt(id, handler: sockets)
            let socket = WebSocket(id, endpoint)
            socket.subprotocol = agreement.subprotocol
            sockets.sockets[id] = socket
            attempt.completion(.success(socket))
            return count
        } catch {
            fail(id, error)
            return bytes.count
        }
    }

    /// The answer, if all of it is there, and how many bytes it has with those that came before it.
    private func answer(
        to attempt: Attempt, _ bytes: Span<UInt8>
    ) throws(WebSocketClientError) -> (agreement: ClientHandshake.Agreement, count: Int)? {
        var offset = 0
        var interimAnswers = 0
        while true {
            let rest = bytes.extracting(offset...)
            guard let count = Self.headLength(rest) else {
                // Those that came before it are looked at again: they are few.
                if rest.count > ClientHandshake.maximumHead { throw .badAnswer("its head has more than 16 KiB") }
                return nil
            }
            offset += count
            let head = unsafe rest.extracting(..<count).withUnsafeBufferPointer { unsafe Array($0) }
            if let agreement = try attempt.handshake.check(head) { return (agreement, offset) }
            interimAnswers += 1
            if interimAnswers > ClientHandshake.maximumInterimAnswers {
                throw .badAnswer("more than \(ClientHandshake.maximumInterimAnswers) interim ones come before it")
            }
        }
    }

    public override func connectionDeadline(_ id: ConnectionID) { fail(id, .timedOut) }

    public override func connectionReadClosed(_ id: ConnectionID) { fail(id, .noConnection(.peer)) }

    public override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        attempts.removeValue(forKey: id)?.completion(.failure(.noConnection(reason)))
    }

    private func fail(_ id: ConnectionID, _ error: WebSocketClientError) {
        let attempt = attempts.removeValue(forKey: id)
        loop.close(id)
        attempt?.completion(.failure(error))
    }

    /// Bytes up to the end of the empty line; nil: it has not come. An answer is short and comes at once: it is looked at again from
    /// its beginning.
    private static func headLength(_ bytes: Span<UInt8>) -> Int? {
        var index = 3
        while index < bytes.count {
            if bytes[index] == 10, bytes[index - 1] == 13, bytes[index - 2] == 10, bytes[index - 3] == 13 {
                return index + 1
            }
            index += 1
        }
        return nil
    }
}
