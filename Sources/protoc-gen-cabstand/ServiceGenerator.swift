/// Writes a service: the handler protocols with their registration, and the client.
struct ServiceGenerator {
    let service: ServiceDescriptor
    let path: [Int32]
    let file: FileDescriptor
    let types: TypeTable

    private var fullName: String { (file.package.isEmpty ? "" : "\(file.package).") + service.name }
    private var swiftName: String { Names.type(service.name, behind: Names.prefix(package: file.package)) }

    private struct Method {
        let descriptor: MethodDescriptor
        let index: Int
        let name: String
        let request: String
        let response: String

        /// The registry's and the channel's verb.
        var kind: String {
            switch (descriptor.clientStreams, descriptor.serverStreams) {
            case (false, false): "unary"
            case (false, true): "serverStreaming"
            case (true, false): "clientStreaming"
            case (true, true): "bidirectional"
            }
        }

        /// What a handler that is called back gets besides a single request.
        var serverCall: String {
            switch (descriptor.clientStreams, descriptor.serverStreams) {
            case (false, false): "UnaryServerCall<\(response)>"
            case (false, true): "ServerStreamingServerCall<\(response)>"
            case (true, false): "ClientStreamingServerCall<\(request), \(response)>"
            case (true, true): "BidirectionalServerCall<\(request), \(response)>"
            }
        }

        /// The requests, and the responses if they are a stream, as names and types.
        var streams: [(name: String, type: String)] {
            let requests =
                descriptor.clientStreams ? ("requests", "MessageStream<\(request)>") : ("request", request)
            return descriptor.serverStreams ? [requests, ("responses", "MessageSender<\(response)>")] : [requests]
        }
    }

    func write(_ code: inout CodeWriter) throws(GeneratorError) {
        var methods: [Method] = []
        for (index, method) in service.methods.enumerated() {
            methods.append(
                Method(
                    descriptor: method, index: index, name: Names.method(method.name),
                    request: try types[method.input].swiftName, response: try types[method.output].swiftName))
        }
        writeHandlers(methods, &code)
        writeRegistration(methods, &code)
        writeClient(methods, &code)
    }

    private func writeHandlers(_ methods: [Method], _ code: inout CodeWriter) {
        if methods.isEmpty { return }
        code.line()
        code.line("/// Serves `\(fullName)`. All calls come on the loop that serves.")
        code.block("public protocol \(swiftName)Handler: AnyObject") { code in
            for method in methods {
                comment(method, &code)
                let request = method.descriptor.clientStreams ? "" : "_ request: \(method.request), "
                code.line("func \(method.name)(\(request)_ call: \(method.serverCall))")
            }
        }
        code.line()
        code.line(
            "/// Serves `\(fullName)` with tasks of the loop that serves. A task is cancelled when its call ends before it."
        )
        code.block("public protocol \(swiftName)AsyncHandler: AnyObject") { code in
            for method in methods {
                comment(method, &code)
                let streams = method.streams.map { "_ \($0.name): \($0.type), " }.joined()
                let result = method.descriptor.serverStreams ? "" : " -> \(method.response)"
                code.line("func \(method.name)(\(streams)_ context: ServerContext) async throws\(result)")
            }
        }
    }

    private func comment(_ method: Method, _ code: inout CodeWriter) {
        code.comment(path + [2, Int32(method.index)], of: file)
    }

    private func writeRegistration(_ methods: [Method], _ code: inout CodeWriter) {
        code.line()
        code.comment(path, of: file, otherwise: " `\(fullName)`")
        code.block("public enum \(swiftName)") { code in
            code.line("/// The service's full name.")
            code.line("public static let name = \"\(fullName)\"")
            code.line("/// The file that declares the service.")
            code.line("public static var file: ProtobufFile { .\(Names.file(file.name)) }")
            code.line("/// The serialized descriptor of that file.")
            code.line("public static var fileDescriptor: [UInt8] { file.descriptor }")
            if methods.isEmpty { return }
            writeRegister(methods, handler: "\(swiftName)Handler", &code) { method, code in
                let request = method.descriptor.clientStreams ? "" : "request, "
                code.line("handler.\(method.name)(\(request)call)")
            }
            writeRegister(methods, handler: "\(swiftName)AsyncHandler", &code) { method, code in
                let streams = method.streams.map(\.name)
                let given = method.descriptor.clientStreams ? streams : Array(streams.dropFirst())
                let parameters = (given + ["context"]).joined(separator: ", ")
                let arguments = (streams + ["context"]).joined(separator: ", ")
                code.line("call.answer { \(parameters) in try await handler.\(method.name)(\(arguments)) }")
            }
        }
    }

    private func writeRegister(
        _ methods: [Method], handler: String, _ code: inout CodeWriter, _ body: (Method, inout CodeWriter) -> Void
    ) {
        code.line()
        code.line("/// Makes `handler` serve the service, and its file known to server reflection.")
        code.block("public static func register(_ handler: some \(handler), in registry: ServiceRegistry)") { code in
            code.line("for file in file.withDependencies { registry.addDescriptor(file.descriptor) }")
            for method in methods {
                code.block("registry.\(method.kind)(service: name, method: \"\(method.descriptor.name)\")") { code in
                    let request = method.descriptor.clientStreams ? "" : "request: \(method.request), "
                    code.line("(\(request)call: \(method.serverCall)) in")
                    body(method, &code)
                }
            }
        }
    }

    private func writeClient(_ methods: [Method], _ code: inout CodeWriter) {
        if methods.isEmpty { return }
        code.line()
        code.line("/// Calls `\(fullName)`. Everything happens on the channel's loop; what is async is for its tasks.")
        code.block("public struct \(swiftName)Client") { code in
            code.line("public let channel: GRPCChannel")
            code.line()
            code.line("public init(channel: GRPCChannel) { self.channel = channel }")
            for method in methods {
                writeCall(method, &code)
                writeAsyncCall(method, &code)
            }
        }
    }

    private func beginCall(_ method: Method, discardable: Bool = false, _ code: inout CodeWriter) {
        code.line()
        comment(method, &code)
        code.line("@inlinable")
        if discardable { code.line("@discardableResult") }
    }

    private func path(_ method: Method) -> String { "\"/\(fullName)/\(method.descriptor.name)\"" }

    private func writeCall(_ method: Method, _ code: inout CodeWriter) {
        let streams = "onMessage: @escaping (\(method.response)) -> Void, onEnd: @escaping (RPCError?) -> Void"
        beginCall(method, discardable: !method.descriptor.clientStreams, &code)
        switch (method.descriptor.clientStreams, method.descriptor.serverStreams) {
        case (false, false):
            code.block("public func \(method.name)", "(", ") -> UnaryCall {") { code in
                code.line("_ request: \(method.request), options: CallOptions = CallOptions(),")
                code.line("_ completion: @escaping (Result<\(method.response), RPCError>) -> Void")
            }
            code.line("    channel.unary(\(path(method)), request, options: options, completion)")
            code.line("}")
        case (false, true):
            code.block("public func \(method.name)", "(", ") -> ServerStreamingCall {") { code in
                code.line("_ request: \(method.request), options: CallOptions = CallOptions(),")
                code.line(streams)
            }
            let arguments = "request, options: options, onMessage: onMessage, onEnd: onEnd"
            code.line("    channel.serverStreaming(\(path(method)), \(arguments))")
            code.line("}")
        case (true, false):
            code.block(
                "public func \(method.name)(options: CallOptions = CallOptions()) "
                    + "-> ClientStreamingCall<\(method.request), \(method.response)>"
            ) { code in code.line("channel.clientStreaming(\(path(method)), options: options)") }
        case (true, true):
            code.block("public func \(method.name)", "(", ") -> BidirectionalCall<\(method.request)> {") { code in
                code.line("options: CallOptions = CallOptions(),")
                code.line(streams)
            }
            let arguments = "options: options, onMessage: onMessage, onEnd: onEnd"
            code.line("    channel.bidirectional(\(path(method)), \(arguments))")
            code.line("}")
        }
    }

    private func writeAsyncCall(_ method: Method, _ code: inout CodeWriter) {
        beginCall(method, &code)
        switch (method.descriptor.clientStreams, method.descriptor.serverStreams) {
        case (false, false):
            code.block(
                "public nonisolated(nonsending) func \(method.name)", "(",
                ") async throws(RPCError) -> \(method.response) {"
            ) { code in
                code.line("_ request: \(method.request), options: CallOptions = CallOptions()")
            }
            code.line("    try await channel.unary(\(path(method)), request, options: options)")
        case (false, true):
            code.block("public func \(method.name)", "(", ") -> MessageStream<\(method.response)> {") { code in
                code.line("_ request: \(method.request), options: CallOptions = CallOptions()")
            }
            code.line("    channel.serverStreaming(\(path(method)), request, options: options)")
        case (true, false):
            code.block("public func \(method.name)", "(", ") async throws(RPCError) -> \(method.response) {") { code in
                code.line("options: CallOptions = CallOptions(),")
                code.line("_ send: (MessageSender<\(method.request)>) async throws(RPCError) -> Void")
            }
            code.line("    try await channel.clientStreaming(\(path(method)), options: options, send)")
        case (true, true):
            code.block("public func \(method.name)", "(", ") -> \(pair(method)) {") { code in
                code.line("options: CallOptions = CallOptions()")
            }
            code.line("    channel.bidirectional(\(path(method)), options: options)")
        }
        code.line("}")
    }

    private func pair(_ method: Method) -> String {
        "(requests: MessageSender<\(method.request)>, responses: MessageStream<\(method.response)>)"
    }
}
