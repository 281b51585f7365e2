import Glibc

/// Writes a service: the handler protocol with its registration, and the client.
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
    }

    func write(_ code: inout CodeWriter) throws(GeneratorError) {
        var methods: [Method] = []
        for (index, method) in service.methods.enumerated() {
            if method.clientStreams && method.serverStreams {
                let text = "\(fullName).\(method.name): bidirectional streaming is not generated\n"
                writeAll(Array(text.utf8), STDERR_FILENO)
                continue
            }
            methods.append(
                Method(
                    descriptor: method, index: index, name: Names.method(method.name),
                    request: try types[method.input].swiftName, response: try types[method.output].swiftName))
        }
        writeHandler(methods, &code)
        writeRegistration(methods, &code)
        writeClient(methods, &code)
    }

    private func writeHandler(_ methods: [Method], _ code: inout CodeWriter) {
        if methods.isEmpty { return }
        code.line()
        code.line("/// Serves `\(fullName)`. All calls come on the loop that serves.")
        code.block("public protocol \(swiftName)Handler: AnyObject") { code in
            for method in methods {
                code.comment(path + [2, Int32(method.index)], of: file)
                let types = "\(method.request), \(method.response)"
                if method.descriptor.clientStreams {
                    code.line("func \(method.name)(_ call: ClientStreamingServerCall<\(types)>)")
                } else {
                    let call = method.descriptor.serverStreams ? "ServerStreamingServerCall" : "UnaryServerCall"
                    code.line("func \(method.name)(_ request: \(method.request), _ call: \(call)<\(method.response)>)")
                }
            }
        }
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
            code.line()
            code.line("/// Makes `handler` serve the service, and its file known to server reflection.")
            code.block(
                "public static func register(_ handler: some \(swiftName)Handler, in registry: ServiceRegistry)"
            ) { code in
                code.line("for file in file.withDependencies { registry.addDescriptor(file.descriptor) }")
                for method in methods {
                    let types = "\(method.request), \(method.response)"
                    if method.descriptor.clientStreams {
                        code.block(
                            "registry.clientStreaming(service: name, method: \"\(method.descriptor.name)\")"
                        ) { code in
                            code.line("(call: ClientStreamingServerCall<\(types)>) in")
                            code.line("handler.\(method.name)(call)")
                        }
                        continue
                    }
                    let kind = method.descriptor.serverStreams ? "serverStreaming" : "unary"
                    let call = method.descriptor.serverStreams ? "ServerStreamingServerCall" : "UnaryServerCall"
                    code.block("registry.\(kind)(service: name, method: \"\(method.descriptor.name)\")") { code in
                        code.line("(request: \(method.request), call: \(call)<\(method.response)>) in")
                        code.line("handler.\(method.name)(request, call)")
                    }
                }
            }
        }
    }

    private func writeClient(_ methods: [Method], _ code: inout CodeWriter) {
        if methods.isEmpty { return }
        code.line()
        code.line("/// Calls `\(fullName)`. Everything happens on the channel's loop.")
        code.block("public struct \(swiftName)Client") { code in
            code.line("public let channel: GRPCChannel")
            code.line()
            code.line("public init(channel: GRPCChannel) { self.channel = channel }")
            for method in methods {
                code.line()
                writeCall(method, &code)
            }
        }
    }

    private func writeCall(_ method: Method, _ code: inout CodeWriter) {
        let path = "\"/\(fullName)/\(method.descriptor.name)\""
        let commentPath = self.path + [2, Int32(method.index)]
        code.comment(commentPath, of: file)
        code.line("@inlinable")
        if method.descriptor.clientStreams {
            code.block(
                "public func \(method.name)(options: CallOptions = CallOptions()) "
                    + "-> ClientStreamingCall<\(method.request), \(method.response)>"
            ) { code in code.line("channel.clientStreaming(\(path), options: options)") }
        } else if method.descriptor.serverStreams {
            code.line("@discardableResult")
            code.block("public func \(method.name)", "(", ") -> ServerStreamingCall {") { code in
                code.line("_ request: \(method.request), options: CallOptions = CallOptions(),")
                code.line("onMessage: @escaping (\(method.response)) -> Void, onEnd: @escaping (RPCError?) -> Void")
            }
            code.line(
                "    channel.serverStreaming(\(path), request, options: options, onMessage: onMessage, onEnd: onEnd)")
            code.line("}")
        } else {
            code.line("@discardableResult")
            code.block("public func \(method.name)", "(", ") -> UnaryCall {") { code in
                code.line("_ request: \(method.request), options: CallOptions = CallOptions(),")
                code.line("_ completion: @escaping (Result<\(method.response), RPCError>) -> Void")
            }
            code.line("    channel.unary(\(path), request, options: options, completion)")
            code.line("}")
            code.line()
            code.comment(commentPath, of: file)
            code.line("@inlinable")
            code.block("public func \(method.name)", "(", ") async throws(RPCError) -> \(method.response) {") { code in
                code.line("_ request: \(method.request), options: CallOptions = CallOptions()")
            }
            code.line("    try await channel.unary(\(path), request, options: options)")
            code.line("}")
        }
    }
}
