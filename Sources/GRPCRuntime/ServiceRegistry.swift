import Bytes
import ProtobufWire

/// The methods that a server offers. Built once per loop, before `GRPCServer.listen`; generated code fills it:
/// `Driver_V1_DriverService.register(handler, in: registry)`.
///
/// Not thread-safe: one registry belongs to one loop, and handlers run on that loop.
public final class ServiceRegistry {
    @usableFromInline var methods: [MethodRecord] = []
    var serviceNames: [String] = []
    var descriptors = DescriptorPool()

    /// No services.
    public init() {}

    /// A method that takes one message and answers one. The handler may answer at once or later, on the same loop.
    @inlinable
    public func unary<Request: ProtobufMessage, Response: ProtobufMessage>(
        service: String, method: String, _ handler: @escaping (Request, UnaryServerCall<Response>) -> Void
    ) {
        add(
            service: service, method: method, isUnary: true, answersOnce: true,
            kind: unsafe .oneRequest { bytes, token in
                let request: Request
                do throws(ProtobufError) {
                    request = unsafe try Request(decoding: Span(_unsafeBytes: bytes))
                } catch {
                    return token.rejectRequest("\(error)")
                }
                handler(request, UnaryServerCall(token: token))
            })
    }

    /// A method that takes one message and answers any number.
    @inlinable
    public func serverStreaming<Request: ProtobufMessage, Response: ProtobufMessage>(
        service: String, method: String, _ handler: @escaping (Request, ServerStreamingServerCall<Response>) -> Void
    ) {
        add(
            service: service, method: method,
            kind: unsafe .oneRequest { bytes, token in
                let request: Request
                do throws(ProtobufError) {
                    request = unsafe try Request(decoding: Span(_unsafeBytes: bytes))
                } catch {
                    return token.rejectRequest("\(error)")
                }
                let call = ServerStreamingServerCall<Response>(token: token)
                unsafe token.attach(
                    ServerCallReceiver(
                        call: call, becameWritable: { call.whenWritable?() }, ended: { call.whenWritable = nil }))
                handler(request, call)
            })
    }

    /// A method that takes any number of messages and answers one. The handler is called when the call begins; it sets
    /// `onMessage` and `onEnd`.
    @inlinable
    public func clientStreaming<Request: ProtobufMessage, Response: ProtobufMessage>(
        service: String, method: String, _ handler: @escaping (ClientStreamingServerCall<Request, Response>) -> Void
    ) {
        add(
            service: service, method: method, answersOnce: true,
            kind: .manyRequests { token in
                let call = ClientStreamingServerCall<Request, Response>(token: token)
                Self.attach(call)
                handler(call)
            })
    }

    /// A method that takes and answers any number of messages. The handler is called when the call begins; it sets `onMessage`
    /// and `onEnd`.
    @inlinable
    public func bidirectional<Request: ProtobufMessage, Response: ProtobufMessage>(
        service: String, method: String, _ handler: @escaping (BidirectionalServerCall<Request, Response>) -> Void
    ) {
        add(
            service: service, method: method,
            kind: .manyRequests { token in
                let call = BidirectionalServerCall<Request, Response>(token: token)
                Self.attach(call)
                handler(call)
            })
    }

    /// A call hears what comes of it from now on.
    @inlinable
    static func attach<Request: ProtobufMessage>(_ call: ReceivingServerCall<Request>) {
        unsafe call.token.attach(
            ServerCallReceiver(
                call: call,
                receive: { bytes in
                    let request: Request
                    do throws(ProtobufError) {
                        request = unsafe try Request(decoding: Span(_unsafeBytes: bytes))
                    } catch {
                        return call.token.rejectRequest("\(error)")
                    }
                    call.onMessage(request)
                }, receiveEnd: { call.onEnd() }, becameWritable: { call.whenWritable?() },
                ended: {
                    call.onMessage = { _ in }
                    call.onEnd = {}
                    call.whenWritable = nil
                }))
    }

    /// Makes a file known to server reflection: a serialized `google.protobuf.FileDescriptorProto`. The files that it
    /// imports must be added too (in any order); adding a file twice changes nothing.
    public func addDescriptor(_ file: [UInt8]) {
        descriptors.add(file)
    }

    @usableFromInline
    func add(
        service: String, method: String, isUnary: Bool = false, answersOnce: Bool = false, kind: MethodRecord.Kind
    ) {
        let path = "/\(service)/\(method)"
        precondition(!methods.contains { $0.path == path }, "\(path) is registered twice")
        if !serviceNames.contains(service) { serviceNames.append(service) }
        methods.append(MethodRecord(path: path, isUnary: isUnary, answersOnce: answersOnce, kind: kind))
    }
}

/// One method, its types erased.
@usableFromInline
struct MethodRecord {
    @safe @usableFromInline
    enum Kind {
        /// Called with the one request message when it is whole and the client has ended its side.
        case oneRequest((UnsafeRawBufferPointer, ServerCallToken) -> Void)
        /// Called when the call begins; what it attaches receives the messages.
        case manyRequests((ServerCallToken) -> Void)
    }

    /// `/package.Service/Method`.
    @usableFromInline let path: String
    /// One message each way: how long it takes says something.
    @usableFromInline let isUnary: Bool
    /// One message is the answer: to send it is to end the call.
    @usableFromInline let answersOnce: Bool
    @usableFromInline let kind: Kind

    @usableFromInline
    init(path: String, isUnary: Bool, answersOnce: Bool, kind: Kind) {
        self.path = path
        self.isUnary = isUnary
        self.answersOnce = answersOnce
        self.kind = kind
    }
}
