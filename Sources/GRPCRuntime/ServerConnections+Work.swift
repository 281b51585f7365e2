import Memory
import Reactor

// Handlers that are tasks: how long a call counts as open, and what its client is told of an error.
extension ServerConnections {
    /// A task is about to answer the call. False: it has ended.
    func beginWork(_ name: Handle<ServerCall>) -> Bool {
        guard let call = calls.find(name), call.value.phase.isOpen else { return false }
        call.value.isAtWork = true
        return true
    }

    /// The task is done: the call may end now.
    func endWork(_ name: Handle<ServerCall>) {
        guard let call = calls.find(name) else { return }
        call.value.isAtWork = false
        if call.value.phase == .cancelled { release(name, call) }
    }

    /// What the client hears of an error that a handler has thrown.
    func failure(of error: any Error, in name: Handle<ServerCall>) -> RPCError {
        if let error = error as? RPCError { return error }
        if let error = error as? any RPCErrorConvertible { return error.rpcError }
        if let call = calls.find(name), call.value.phase.isOpen {
            let path = methods[call.value.method].path
            onNotice?("\(path) failed: \(error)")
            if let logger, let heldBack = failureLines.admit(now: loop.now) {
                logger.error(
                    "handler failed", metadata: ["method": path, "error": "\(error)", "held_back": "\(heldBack)"])
            }
        }
        return RPCError(code: .internal, message: "the handler failed")
    }
}
