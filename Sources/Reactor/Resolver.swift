import CLinux
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension EventLoop {
    /// Finds the addresses of `host`, a name or an address in text, without blocking the loop: `completion` is called on the
    /// loop, never before this call returns.
    public func resolve(
        _ host: String, port: UInt16, _ completion: @escaping (Result<[SocketAddress], ResolveError>) -> Void
    ) {
        if let literal = SocketAddress(ip: host, port: port) {
            return execute { completion(.success([literal])) }
        }
        if let simulated = system.simulation {
            let answer = simulated.resolve(host, port: port)
            return execute { completion(answer) }
        }
        // The closure waits on the loop; the other thread carries a box that only the loop opens.
        let waiting = LoopBound(completion, loop: self)
        Resolver.shared.resolve(host, port) { answer in
            waiting.loop.submit { waiting.value(answer) }
        }
    }
}

/// `getaddrinfo` on threads of its own, of which there are few and, when nobody asks, none.
private final class Resolver: Sendable {
    static let shared = Resolver()
    /// A dead name server holds a thread for half a minute; others must get through meanwhile.
    private static let maximumThreads = 8

    private struct Question: Sendable {
        let host: String
        let port: UInt16
        let answer: @Sendable (Result<[SocketAddress], ResolveError>) -> Void
    }

    private struct State {
        var waiting: [Question] = []
        var threads = 0
    }

    private let state = Mutex(State())

    func resolve(
        _ host: String, _ port: UInt16, _ answer: @escaping @Sendable (Result<[SocketAddress], ResolveError>) -> Void
    ) {
        let starts = state.withLock { state in
            state.waiting.append(Question(host: host, port: port, answer: answer))
            guard state.threads < Self.maximumThreads else { return false }
            state.threads += 1
            return true
        }
        guard starts else { return }
        do throws(SystemError) {
            try SystemThread("resolver") { self.work() }.detach()
        } catch {
            noThread(error)
        }
    }

    /// What waits is done by the threads that there are; without any it is refused, and whoever asked tries again.
    private func noThread(_ error: SystemError) {
        let refused = state.withLock { state in
            state.threads -= 1
            guard state.threads == 0 else { return [Question]() }
            defer { state.waiting = [] }
            return state.waiting
        }
        for question in refused {
            question.answer(.failure(.failed(host: question.host, reason: error.description)))
        }
    }

    private func work() {
        while let question = next() { question.answer(Self.lookUp(question.host, question.port)) }
    }

    private func next() -> Question? {
        state.withLock { state in
            if state.waiting.isEmpty {
                state.threads -= 1
                return nil
            }
            return state.waiting.removeFirst()
        }
    }

    private static func lookUp(_ host: String, _ port: UInt16) -> Result<[SocketAddress], ResolveError> {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        let outcome = unsafe getaddrinfo(host, nil, &hints, &list)
        defer { if let list = unsafe list { unsafe freeaddrinfo(list) } }
        guard outcome == 0 else {
            if outcome == EAI_NONAME { return .failure(.notFound(host: host)) }
            let reason = outcome == EAI_SYSTEM ? errorText(errno) : unsafe String(cString: gai_strerror(outcome))
            return .failure(.failed(host: host, reason: reason))
        }
        var addresses: [SocketAddress] = []
        var entry = unsafe list
        while let current = unsafe entry {
            var storage = sockaddr_storage()
            unsafe withUnsafeMutableBytes(of: &storage) {
                unsafe $0.copyMemory(
                    from: UnsafeRawBufferPointer(
                        start: current.pointee.ai_addr,
                        count: min(Int(current.pointee.ai_addrlen), MemoryLayout<sockaddr_storage>.size)))
            }
            if let address = SocketAddress(storage)?.with(port: port), !addresses.contains(address) {
                addresses.append(address)
            }
            unsafe entry = current.pointee.ai_next
        }
        return addresses.isEmpty ? .failure(.notFound(host: host)) : .success(addresses)
    }
}
