import Basics
import Bytes
import HTTP1
import Memory
import Reactor

extension ClientCore {
    /// Takes a request. Its receiver hears nothing before this returns.
    func begin(_ request: HTTPClientRequest, _ receiver: Receiver) -> Handle<Exchange> {
        guard let handle = exchanges.insert(Exchange(request, receiver)), let exchange = exchanges.find(handle) else {
            loop.execute { [self] in tell(receiver, .failure(.busy("no place for another request"))) }
            return .none
        }
        if let error = refusal(request) {
            loop.execute { [self] in finish(handle, .failure(error)) }
            return handle
        }
        hold(request.body?.count ?? 0, exchange)
        exchange.value.deadline = loop.schedule(after: request.timeout.nanoseconds, timers.exchanges, handle.token)
        line(handle)
        return handle
    }

    /// Why a request is not even tried.
    private func refusal(_ request: HTTPClientRequest) -> HTTPClientError? {
        if isClosed { return .closed }
        if request.method == .other || request.method == .connect {
            return .badRequest("the method \(request.method.name) can't be sent")
        }
        if let fault = request.fields.fault { return .badRequest(fault) }
        if waiting >= limits.waitingRequests { return .busy("\(waiting) requests wait already") }
        guard let size = request.body?.count else { return nil }
        if request.method == .trace { return .badRequest("TRACE has no body (RFC 9110 §9.3.8)") }
        if size > limits.requestBytes {
            return .badRequest("its body has \(size) bytes; it must have at most \(limits.requestBytes)")
        }
        return canHold(size) ? nil : .busy("\(held) bytes of bodies are held already")
    }

    func canHold(_ bytes: Int) -> Bool { bytes <= limits.heldBytes - held }

    func hold(_ bytes: Int, _ exchange: Place<Exchange>) {
        exchange.value.held += bytes
        held += bytes
    }

    // MARK: Sending

    /// Gives a connection to an exchange that has left the line.
    func send(_ handle: Handle<Exchange>, on name: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        guard let exchange = exchanges.find(handle) else { return }
        exchange.value.pool = .none
        exchange.value.connection = name
        exchange.value.stage = .sent
        let request = exchange.value.request
        connection.value.phase = .busy
        connection.value.exchange = handle
        connection.value.requests += 1
        connection.value.interims = 0
        connection.value.parser.expect(request.method)
        let id = connection.value.id
        loop.clearDeadline(id)
        // If it has just been closed, the loop says so at the end of the turn.
        loop.write(id) { write(request, to: &$0) }
        if let body = request.body, body.count > 0 { loop.send(id, shared: body) }
    }

    /// The head (RFC 9112 §3).
    private func write(_ request: HTTPClientRequest, to output: inout ByteBuffer) {
        output.append(request.method.name)
        output.append(" ")
        output.append(utf8: request.url.target)
        output.append(" HTTP/1.1\r\nHost: ")
        output.append(utf8: request.url.origin.authority)
        for (name, value) in request.fields.lines {
            output.append("\r\n")
            output.append(utf8: name)
            output.append(": ")
            output.append(utf8: value)
        }
        if !userAgent.isEmpty, request.fields["user-agent"] == nil {
            output.append("\r\nUser-Agent: ")
            output.append(utf8: userAgent)
        }
        if request.offersGzip { output.append("\r\nAccept-Encoding: gzip") }
        output.append("\r\n")
        // A server expects a body with these, and must be told that there is none (RFC 9110 §8.6).
        let means = request.method == .post || request.method == .put || request.method == .patch
        if let count = request.body?.count ?? (means ? 0 : nil) { HTTP1Writer.contentLength(count, to: &output) }
        output.append("\r\n")
    }

    /// A connection has ended before a byte of the response came. If it had been kept, the server has closed it for want of requests,
    /// most likely, while this one was on its way: what may be repeated is, once, on a new one (RFC 9112 §9.3.1).
    func lost(_ handle: Handle<Exchange>, _ reason: CloseReason, wasKept: Bool) {
        guard let exchange = exchanges.find(handle) else { return }
        guard wasKept, exchange.value.request.isIdempotent, !exchange.value.wasLost, !isClosed else {
            return finish(handle, .failure(.lost(reason)))
        }
        exchange.value.wasLost = true
        line(handle)
    }

    // MARK: Redirects

    /// Follows a redirect, if that is wanted and this is one. False: it is a response like others.
    ///
    /// The connection reads and forgets what is left of the response.
    func follow(
        _ response: HTTPClientResponse, _ name: Handle<ClientConnection>, _ connection: Place<ClientConnection>,
        _ exchange: Place<Exchange>
    ) -> Bool {
        let limit = exchange.value.request.redirects
        let locations = response.fields.values(of: "location")
        guard limit > 0, Self.isRedirect(response.status), let location = locations.first else { return false }
        let handle = connection.value.exchange
        guard exchange.value.redirects < limit else {
            finish(handle, .failure(.badRedirect("there are more than \(limit)")))
            return true
        }
        let url: HTTPURL
        do throws(HTTPClientError) {
            guard Set(locations).count == 1 else { throw .badURL("there is more than one Location") }
            url = try response.url.resolving(location)
            if response.url.origin.isSecure, !url.origin.isSecure { throw .badURL("it leads from https to http") }
        } catch {
            let why = if case .badURL(let why) = error { why } else { "\(error)" }
            finish(handle, .failure(.badRedirect(why)))
            return true
        }
        exchange.value.redirects += 1
        exchange.value.wasLost = false
        redirect(exchange, response.status, to: url)
        discard(name, connection)
        line(handle)
        return true
    }

    private static func isRedirect(_ status: Int) -> Bool {
        switch status {
        case 301, 302, 303, 307, 308: true
        default: false
        }
    }

    /// RFC 9110 §15.4: what is asked of the other place.
    private func redirect(_ exchange: Place<Exchange>, _ status: Int, to url: HTTPURL) {
        let method = exchange.value.request.method
        let becomesGet = status == 303 ? method != .head : status <= 302 && method == .post
        if becomesGet {
            let size = exchange.value.request.body?.count ?? 0
            exchange.value.request.method = .get
            exchange.value.request.body = nil
            hold(-size, exchange)
            for name in ["content-encoding", "content-language", "content-location", "content-type", "digest"] {
                exchange.value.request.fields.remove(name)
            }
        }
        if url.origin != exchange.value.request.url.origin {
            for name in ["authorization", "cookie", "proxy-authorization"] {
                exchange.value.request.fields.remove(name)
            }
        }
        exchange.value.request.url = url
    }

    /// Nobody wants what is left of a response. If it is little, the connection can be used again.
    private func discard(_ name: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        connection.value.exchange = .none
        connection.value.phase = .discarding
        connection.value.discardable = limits.discardedBytes
        if connection.value.parser.readsUntilClose { return close(name, connection) }
        loop.setDeadline(connection.value.id, at: loop.now + min(connection.value.idleTime, 1 << 62))
    }

    // MARK: The end

    func deadlinePassed(_ handle: Handle<Exchange>) {
        guard let exchange = exchanges.find(handle) else { return }
        finish(handle, .failure(.timedOut(exchange.value.stage)))
    }

    /// Ends an exchange and tells its receiver. The connection that it still has is closed: HTTP/1.1 has no other way to say that the
    /// response is not wanted any more.
    func finish(_ handle: Handle<Exchange>, _ result: Result<Void, HTTPClientError>) {
        guard let exchange = exchanges.find(handle) else { return }
        if exchange.value.pool != .none { leaveLine(exchange) }
        loop.cancel(exchange.value.deadline)
        held -= exchange.value.held
        let name = exchange.value.connection
        if let connection = connections.find(name) {
            connection.value.exchange = .none
            close(name, connection)
        }
        let receiver = exchange.value.receiver
        var response = exchange.value.response
        if case .success = result, case .collector = receiver { response?.body = exchange.value.collected.array() }
        exchanges.remove(handle)
        askForTurnEnd()
        guard let response else {
            let error: HTTPClientError =
                if case .failure(let error) = result { error } else { .malformed(.truncatedResponse) }
            return tell(receiver, .failure(error))
        }
        tell(receiver, result.map { response })
    }

    private func tell(_ receiver: Receiver, _ result: Result<HTTPClientResponse, HTTPClientError>) {
        switch result {
        case .success(let response): metrics.ended(response.status, nil)
        case .failure(let error): metrics.ended(0, error)
        }
        switch receiver {
        case .collector(_, let completion): completion(result)
        case .stream(_, _, let onEnd):
            if case .failure(let error) = result { onEnd(error) } else { onEnd(nil) }
        }
    }

    /// Ends everything.
    func closeAll() {
        if isClosed { return }
        isClosed = true
        exchanges.walk { handle, _ in finish(handle, .failure(.closed)) }
        connections.walk { handle, connection in close(handle, connection) }
    }
}
