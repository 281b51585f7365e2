import Basics
import Bytes
import HTTP1
import Memory
import Reactor

extension ClientCore {
    // MARK: Responses

    func takeHead(
        _ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>, _ head: borrowing HTTP1Head
    ) {
        let status = head.status
        guard status >= 200 else {
            let interims = connection.value.interims + 1
            connection.value.interims = interims
            // Nobody has asked for another protocol, nor waits for so many hints.
            if status == 101 || interims > limits.interimResponses {
                fail(handle, .malformed(.unaskedResponse))
            }
            return
        }
        let name = connection.value.exchange
        guard let exchange = exchanges.find(name) else { return }
        let response = HTTPClientResponse(
            status: status, fields: HTTPClientFields(head), url: exchange.value.request.url)
        connection.value.idleTime = idleTime(response.fields)
        if status == 408, connection.value.requests > 1, !connection.value.parser.isReusable,
            exchange.value.request.isIdempotent, !exchange.value.wasLost
        {
            // That the connection was idle for too long was said before the request had arrived (RFC 9110 §15.5.9).
            connection.value.exchange = .none
            close(handle, connection)
            return lost(name, .peer, wasKept: true)
        }
        if follow(response, handle, connection, exchange) { return }
        exchange.value.stage = .body
        exchange.value.response = response
        let hasBody = !connection.value.parser.isIdle
        if hasBody, exchange.value.request.offersGzip, Self.isGzip(response.fields) {
            guard canHold(GzipDecoder.memory) else {
                return finish(name, .failure(.busy("\(held) bytes of bodies are held already")))
            }
            guard let decoder = GzipDecoder() else { return finish(name, .failure(.noMemoryToDecode)) }
            hold(GzipDecoder.memory, exchange)
            exchange.value.decoder = decoder
        }
        switch exchange.value.receiver {
        case .collector(let limit, _):
            let isCoded = exchange.value.decoder != nil
            if hasBody, !isCoded, let length = head.contentLength, length > UInt64(clamping: limit) {
                finish(name, .failure(.bodyTooLarge(limit: limit)))
            }
        case .stream(let onHead, _, _): onHead(response)
        }
    }

    private static func isGzip(_ fields: HTTPClientFields) -> Bool {
        let codings = fields.values(of: "content-encoding")
        guard codings.count == 1, let coding = codings.first?.lowercased() else { return false }
        return coding == "gzip" || coding == "x-gzip"
    }

    /// As long as the client keeps connections, or less where the server says that it does: `Keep-Alive: timeout=5`. Nanoseconds.
    private func idleTime(_ fields: HTTPClientFields) -> UInt64 {
        guard let value = fields["keep-alive"]?.lowercased(), let name = value.firstRange(of: "timeout=") else {
            return limits.$idleTime
        }
        let seconds = value[name.upperBound...].prefix { $0.isNumber }
        guard let seconds = UInt64(seconds) else { return limits.$idleTime }
        return min(limits.$idleTime, (min(seconds, 86_400) - min(seconds, 1)) * 1_000_000_000)
    }

    func takeBody(
        _ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>, _ bytes: Span<UInt8>
    ) {
        let name = connection.value.exchange
        guard let exchange = exchanges.find(name) else {
            connection.value.discardable -= bytes.count
            if connection.value.discardable < 0 { close(handle, connection) }
            return
        }
        guard let decoder = exchange.value.decoder else { return give(name, exchange, bytes) }
        decoder.append(bytes)
        giveDecoded(name)
    }

    /// The response that a connection had is complete.
    ///
    /// - Parameter excess: bytes that came behind it in the same read: nobody has asked for them, and no request may follow them.
    func responseEnded(_ handle: Handle<ClientConnection>, behindIt excess: Int) {
        guard let connection = connections.find(handle), connection.value.phase != .closing else { return }
        let name = connection.value.exchange
        connection.value.exchange = .none
        let mayWait = connection.value.idleTime > 0
        let isReusable = connection.value.parser.isReusable && excess == 0 && mayWait
        // Who answers before the request is complete wants the rest no more than it wants another.
        if isReusable, loop.isOpen(connection.value.id), loop.pendingOutput(connection.value.id) == 0 {
            rest(handle, connection)
            if let pool = pools.find(connection.value.pool), pool.value.waitingCount > 0 {
                serve(connection.value.pool)
            }
        } else {
            close(handle, connection)
        }
        guard let exchange = exchanges.find(name) else { return }
        exchange.value.connection = .none
        exchange.value.bodyHasEnded = true
        if exchange.value.decoder == nil { finish(name, .success(())) } else { giveDecoded(name) }
    }

    // MARK: Giving bodies out

    private func give(_ handle: Handle<Exchange>, _ exchange: Place<Exchange>, _ bytes: Span<UInt8>) {
        switch exchange.value.receiver {
        case .collector(let limit, _):
            guard bytes.count <= limit - exchange.value.collected.count else {
                return finish(handle, .failure(.bodyTooLarge(limit: limit)))
            }
            guard canHold(bytes.count) else {
                return finish(handle, .failure(.busy("\(held) bytes of bodies are held already")))
            }
            hold(bytes.count, exchange)
            exchange.value.collected.append(bytes)
        case .stream(_, let onBody, _): onBody(bytes)
        }
    }

    /// Gives out pieces of a body that is compressed until there is none, nobody wants one, or the turn is over: a read can stand for
    /// a thousand times as much.
    private func giveDecoded(_ handle: Handle<Exchange>) {
        guard let first = exchanges.find(handle), !first.value.isDelivering, let decoder = first.value.decoder else {
            return
        }
        first.value.isDelivering = true
        giving: while let exchange = exchanges.find(handle), !exchange.value.isBlocked {
            switch decoder.next() {
            case .piece:
                give(handle, exchange, decoder.piece.span)
                if loop.isTurnSpent(after: 64), let exchange = exchanges.find(handle) {
                    exchange.value.isHeldBack = true
                    pauseReading(exchange)
                    loop.schedule(after: 0, timers.pieces, handle.token)
                }
            case .needsInput:
                if exchange.value.bodyHasEnded {
                    finish(handle, decoder.isWhole ? .success(()) : .failure(.badContentCoding))
                }
                break giving
            case .failed:
                finish(handle, .failure(.badContentCoding))
                break giving
            case .noMemory:
                finish(handle, .failure(.noMemoryToDecode))
                break giving
            }
        }
        exchanges.find(handle)?.value.isDelivering = false
    }

    private func pauseReading(_ exchange: Place<Exchange>) {
        guard let connection = connections.find(exchange.value.connection) else { return }
        loop.pauseReading(connection.value.id)
    }

    /// The next turn has come.
    func goOn(_ handle: Handle<Exchange>) {
        guard let exchange = exchanges.find(handle) else { return }
        exchange.value.isHeldBack = false
        giveAgain(handle)
    }

    func pause(_ handle: Handle<Exchange>) {
        guard let exchange = exchanges.find(handle) else { return }
        exchange.value.isPaused = true
        pauseReading(exchange)
    }

    func resume(_ handle: Handle<Exchange>) {
        guard let exchange = exchanges.find(handle), exchange.value.isPaused else { return }
        exchange.value.isPaused = false
        giveAgain(handle)
    }

    private func giveAgain(_ handle: Handle<Exchange>) {
        giveDecoded(handle)
        guard let exchange = exchanges.find(handle), !exchange.value.isBlocked,
            let connection = connections.find(exchange.value.connection)
        else { return }
        let id = connection.value.id
        loop.resumeReading(id)
        // The last byte of the body may have come: its end is due without another.
        _ = connectionRead(id, Span())
    }
}
