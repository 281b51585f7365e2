import Reactor

extension HealthService {
    /// Asks another server how it is as a whole, once (`grpc.health.v1.Health/Check`). On the loop; `completion` is called
    /// once, there, never before this returns.
    ///
    /// - Parameters:
    ///   - isTLS: whether it speaks TLS; its certificate is not verified, so it has to be one that is known by its address.
    ///   - timeout: nanoseconds.
    ///   - completion: whether it is SERVING, and what it said or why it said nothing.
    public static func ask(
        on loop: EventLoop, at address: SocketAddress, isTLS: Bool, timeout: UInt64,
        _ completion: @escaping (_ isServing: Bool, _ text: String) -> Void
    ) {
        var channelOptions = ChannelOptions()
        if isTLS {
            do throws(TLSError) {
                channelOptions.tls = try TLSClientContext(trustingAnyone: ["h2"])
            } catch {
                let text = "\(error)"
                loop.schedule(after: 0) { completion(false, text) }
                return
            }
        }
        let channel = GRPCChannel(loop: loop, target: address.description, options: channelOptions)
        let options = CallOptions(timeoutNanoseconds: timeout)
        Grpc_Health_V1_HealthClient(channel: channel).check(Grpc_Health_V1_HealthCheckRequest(), options: options) {
            result in
            // The channel ends with the call that it was made for; the closure kept it until here.
            defer { channel.close() }
            switch result {
            case .success(let response) where response.status == .serving: completion(true, "SERVING")
            case .success(let response): completion(false, response.status == .notServing ? "NOT_SERVING" : "UNKNOWN")
            case .failure(let error): completion(false, "no answer: \(error.message)")
            }
        }
    }
}
