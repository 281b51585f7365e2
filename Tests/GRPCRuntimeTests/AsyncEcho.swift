import GRPCRuntime
import Reactor

/// What `EchoService` does, as tasks.
final class AsyncEcho: Cabstand_Test_EchoAsyncHandler {
    /// Tasks that have not returned, and the most there were at once.
    private(set) var atWork = 0
    private(set) var mostAtWork = 0
    /// Tasks that found themselves cancelled.
    private(set) var cancelled = 0
    private(set) var received = 0
    private(set) var sent = 0
    /// A delay goes on when its task is cancelled.
    var ignoresCancel = false
    /// `Collect` takes a message each so many milliseconds, `take` of them at most.
    var timePerMessage: UInt64 = 0
    var take = Int.max
    /// What each call throws.
    var error: (any Error)?
    /// Called at the beginning of each call.
    var onCall: (ServerContext) -> Void = { _ in }

    func unary(_ request: EchoRequest, _ context: ServerContext) async throws -> EchoResponse {
        try await work(context) {
            received += 1
            await sleep(UInt64(request.delayMs), context.loop)
            if request.failCode != 0 { throw failure(request) }
            var response = EchoResponse(text: request.text, payload: request.payload)
            response.metadata = context.metadata.entries.map {
                $0.isBinary ? "\($0.key)=\($0.value)" : "\($0.key)=\($0.text)"
            }
            context.trailers.add("x-answered", "yes")
            context.trailers.add("x-raw-bin", binary: [0, 255, 1])
            return response
        }
    }

    func collect(_ requests: MessageStream<EchoRequest>, _ context: ServerContext) async throws -> EchoResponse {
        try await work(context) {
            var response = EchoResponse()
            var texts: [String] = []
            while response.count < take, let request = try await requests.next() {
                received += 1
                if request.failCode != 0 { throw failure(request) }
                response.count += 1
                response.payload += request.payload
                texts.append(request.text)
                if timePerMessage > 0 { await sleep(timePerMessage, context.loop) }
            }
            response.text = texts.joined(separator: ",")
            return response
        }
    }

    func expand(
        _ request: EchoRequest, _ responses: MessageSender<EchoResponse>, _ context: ServerContext
    ) async throws {
        try await work(context) {
            for count in 0..<request.repeat {
                try await responses.send(
                    EchoResponse(text: request.text, payload: request.payload, count: count + 1))
                sent += 1
            }
            while request.stayOpen, !Task.isCancelled { await sleep(1, context.loop) }
            if request.failCode != 0 { throw failure(request) }
        }
    }

    func talk(
        _ requests: MessageStream<EchoRequest>, _ responses: MessageSender<EchoResponse>, _ context: ServerContext
    ) async throws {
        try await work(context) {
            for try await request in requests {
                received += 1
                if request.failCode != 0 { throw failure(request) }
                for count in 1...max(request.repeat, 1) {
                    try await responses.send(
                        EchoResponse(text: request.text, payload: request.payload, count: count))
                    sent += 1
                }
            }
        }
    }

    private func work<Result>(_ context: ServerContext, _ body: () async throws -> Result) async throws -> Result {
        atWork += 1
        mostAtWork = max(mostAtWork, atWork)
        defer {
            atWork -= 1
            if Task.isCancelled { cancelled += 1 }
        }
        onCall(context)
        if let error { throw error }
        return try await body()
    }

    private func sleep(_ milliseconds: UInt64, _ loop: EventLoop) async {
        for _ in 0..<milliseconds {
            if Task.isCancelled, !ignoresCancel { return }
            await withCheckedContinuation { continuation in
                loop.schedule(after: .millisecond) { continuation.resume() }
            }
        }
    }

    private func failure(_ request: EchoRequest) -> RPCError {
        RPCError(
            code: StatusCode(rawValue: Int(request.failCode)), message: request.failMessage,
            statusDetails: request.failDetails)
    }
}
