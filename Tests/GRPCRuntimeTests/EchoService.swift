import GRPCRuntime
import Reactor

typealias EchoRequest = Cabstand_Test_EchoRequest
typealias EchoResponse = Cabstand_Test_EchoResponse

/// Does what the request asks for: answers, delays, fails, streams.
final class EchoService: Cabstand_Test_EchoHandler {
    /// Calls that ended before they were answered.
    private(set) var cancelled = 0
    /// Deadlines that handlers saw, nanoseconds from the arrival of their call.
    private(set) var timeouts: [UInt64?] = []
    private(set) var received = 0
    private(set) var collecting: [ClientStreamingServerCall<EchoRequest, EchoResponse>] = []
    private(set) var expanding: [ServerStreamingServerCall<EchoResponse>] = []
    /// `Collect` pauses after its first message, until `resumeAll`.
    var pausesCollect = false
    /// Called with each message of `Collect`.
    var timePerMessage: () -> Void = {}
    /// `Expand` sends without asking `isWritable`.
    var ignoresBackpressure = false
    /// Bytes of payload of every answer, whatever the request's was.
    var answerSize: Int?
    /// `Unary` does not ask to hear of a call's early end.
    var ignoresCancel = false
    /// `Unary` answers a second time a moment after the first, and once more much later.
    var answersTwice = false
    /// What is sent before the first message: compression, and metadata.
    var answerCompression: MessageCompression?
    var initialMetadata: [(String, String)] = []
    /// Answers of streams that are not compressed, by their count.
    var plainAnswers: Set<Int32> = []
    /// Requests that were compressed.
    private(set) var compressedRequests = 0
    /// Handlers that were told of an end twice, or after they had answered.
    private(set) var endedTwice = 0

    func unary(_ request: EchoRequest, _ call: UnaryServerCall<EchoResponse>) {
        received += 1
        if call.requestWasCompressed { compressedRequests += 1 }
        sendHeaders { call.sendHeaders($0, compression: $1) }
        timeouts.append(call.deadline.map { $0 - min($0, call.loop.now) })
        let metadata = call.metadata
        let answer = { [self] in
            if request.failCode != 0 { return call.fail(failure(request)) }
            var response = response(request)
            response.metadata = metadata.entries.map {
                $0.isBinary ? "\($0.key)=\($0.value)" : "\($0.key)=\($0.text)"
            }
            var trailers = Metadata()
            trailers.add("x-answered", "yes")
            trailers.add("x-raw-bin", binary: [0, 255, 1])
            call.respond(response, trailers: trailers)
            guard answersTwice else { return }
            call.respond(response)
            call.loop.schedule(after: 30_000_000) { call.fail(RPCError(code: .internal, message: "late")) }
        }
        guard request.delayMs > 0 else { return answer() }
        let timer = call.loop.schedule(after: UInt64(request.delayMs) * 1_000_000, answer)
        if ignoresCancel { return }
        var isEnded = false
        call.onCancel = { [self] in
            cancelled += 1
            if isEnded { endedTwice += 1 }
            isEnded = true
            call.loop.cancel(timer)
        }
    }

    func collect(_ call: ClientStreamingServerCall<EchoRequest, EchoResponse>) {
        collecting.append(call)
        var count: Int32 = 0
        var bytes: [UInt8] = []
        var texts: [String] = []
        call.onMessage = { [self, unowned call] request in
            received += 1
            timePerMessage()
            count += 1
            bytes += request.payload
            texts.append(request.text)
            if pausesCollect { call.pause() }
            if request.failCode != 0 { call.fail(failure(request)) }
        }
        call.onEnd = { [self, unowned call] in
            var response = EchoResponse()
            response.count = count
            response.payload = answerSize.map { Array(repeating: 1, count: $0) } ?? bytes
            response.text = texts.joined(separator: ",")
            call.respond(response)
        }
        call.onCancel = { [self] in cancelled += 1 }
    }

    func resumeAll() {
        pausesCollect = false
        for call in collecting { call.resume() }
    }

    private func sendHeaders(_ send: (Metadata, MessageCompression) -> Void) {
        guard answerCompression != nil || !initialMetadata.isEmpty else { return }
        var metadata = Metadata()
        for (key, value) in initialMetadata {
            if key.hasSuffix("-bin") { metadata.add(key, binary: Array(value.utf8)) } else { metadata.add(key, value) }
        }
        send(metadata, answerCompression ?? .identity)
    }

    func expand(_ request: EchoRequest, _ call: ServerStreamingServerCall<EchoResponse>) {
        expanding.append(call)
        sendHeaders { call.sendHeaders($0, compression: $1) }
        call.onCancel = { [self] in cancelled += 1 }
        var sent: Int32 = 0
        let send = { [self, unowned call] in
            while sent < request.repeat && (ignoresBackpressure || call.isWritable) {
                sent += 1
                var response = response(request)
                response.count = sent
                call.send(response, compressed: !plainAnswers.contains(sent))
            }
            guard sent == request.repeat, !call.isCancelled, !request.stayOpen else { return }
            if request.failCode != 0 { call.fail(failure(request)) } else { call.finish() }
        }
        call.onWritable = send
        send()
    }

    func talk(_ call: BidirectionalServerCall<EchoRequest, EchoResponse>) {
        sendHeaders { call.sendHeaders($0, compression: $1) }
        call.onCancel = { [self] in cancelled += 1 }
        call.onMessage = { [self, unowned call] request in
            received += 1
            if call.requestWasCompressed { compressedRequests += 1 }
            if request.failCode != 0 { return call.fail(failure(request)) }
            for count in 1...max(request.repeat, 1) {
                var response = response(request)
                response.count = count
                call.send(response, compressed: !plainAnswers.contains(count))
            }
        }
        call.onEnd = { [unowned call] in call.finish() }
    }

    private func response(_ request: EchoRequest) -> EchoResponse {
        var response = EchoResponse()
        response.text = request.text
        response.payload = answerSize.map { Array(repeating: 1, count: $0) } ?? request.payload
        return response
    }

    private func failure(_ request: EchoRequest) -> RPCError {
        var error = RPCError(
            code: StatusCode(rawValue: Int(request.failCode)), message: request.failMessage,
            statusDetails: request.failDetails)
        error.trailers.add("x-failed", "yes")
        return error
    }
}
