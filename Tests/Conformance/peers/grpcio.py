"""gRPC's interoperability cases with the official grpcio: its client against our server, our client against its server, in the clear
and over TLS. The cases are those of `doc/interop-test-descriptions.md` as far as grpcio can play them: a client of it does not see
whether an answer was compressed, nor a server whether a request was.
"""

import os
import sys
import threading
from concurrent import futures

try:
    import grpc
    from grpc_tools import protoc
except ImportError:
    from checks import skip

    skip(f"{sys.executable} -m pip install grpcio grpcio-tools")

from checks import AUTHORITY, CERTIFICATE, KEY, SCRATCH, attempt, check, finish, run

PROTOS = os.path.join(os.environ["REPOSITORY"], "Tests/Conformance/protos")
FOLDER = "src/proto/grpc/testing/"
protoc.main(["", "-I" + PROTOS, "--python_out=" + SCRATCH, "--grpc_python_out=" + SCRATCH]
            + [FOLDER + name + ".proto" for name in ("empty", "messages", "test")])
sys.path.insert(0, SCRATCH)
from src.proto.grpc.testing import empty_pb2, messages_pb2 as m, test_pb2_grpc  # noqa: E402 (made by the lines above)

ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
GZIP, PLAIN = grpc.Compression.Gzip, grpc.Compression.NoCompression
INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def zeros(count):
    return m.Payload(body=bytes(count))


# Their client, our server


def expect(actual, wanted, what=""):
    if actual != wanted:
        raise ValueError(f"{what} {str(actual)[:200]} instead of {str(wanted)[:200]}")
    return True


def refusal(call):
    """The error with which a call ends."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise ValueError("it has succeeded")


def large(**more):
    return m.SimpleRequest(response_size=314_159, payload=zeros(271_828), **more)


def output(*sizes, payload=None, compressed=(), **more):
    parameters = [m.ResponseParameters(size=size) for size in sizes]
    for parameter, value in zip(parameters, compressed):
        parameter.compressed.value = value
    return m.StreamingOutputCallRequest(
        response_parameters=parameters, payload=None if payload is None else zeros(payload), **more)


def sizes(answers):
    return [len(answer.payload.body) for answer in answers]


class Client:
    """The cases, each a method."""

    def __init__(self, channel, new_channel):
        self.stub = test_pb2_grpc.TestServiceStub(channel)
        self.unimplemented = test_pb2_grpc.UnimplementedServiceStub(channel)
        self.new_channel = new_channel

    def unary_is_large(self, request=None, stub=None, **options):
        answer = (stub or self.stub).UnaryCall(request or large(), timeout=30, **options)
        return expect(answer.payload.body, bytes(314_159), "the answer is")

    def empty_unary(self):
        return expect(self.stub.EmptyCall(empty_pb2.Empty(), timeout=30), empty_pb2.Empty())

    def large_unary(self):
        return self.unary_is_large()

    def client_compressed_unary(self):
        says = m.BoolValue(value=True)
        error = refusal(lambda: self.stub.UnaryCall(large(expect_compressed=says), timeout=30, compression=PLAIN))
        expect(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.unary_is_large(large(expect_compressed=says), compression=GZIP)
        return self.unary_is_large(large(expect_compressed=m.BoolValue(value=False)), compression=PLAIN)

    def server_compressed_unary(self):
        return all(self.unary_is_large(large(response_compressed=m.BoolValue(value=value))) for value in (True, False))

    def client_streaming(self):
        requests = (m.StreamingInputCallRequest(payload=zeros(size)) for size in (27_182, 8, 1828, 45_904))
        return expect(self.stub.StreamingInputCall(requests, timeout=30).aggregated_payload_size, 74_922)

    def client_compressed_streaming(self):
        def requests(*pairs):
            for size, says in pairs:
                yield m.StreamingInputCallRequest(payload=zeros(size), expect_compressed=m.BoolValue(value=says))

        call = self.stub.StreamingInputCall
        error = refusal(lambda: call(requests((27_182, True)), timeout=30, compression=PLAIN))
        expect(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        answer = call(requests((27_182, True), (45_904, False)), timeout=30, compression=GZIP)
        return expect(answer.aggregated_payload_size, 73_086)

    def server_streaming(self):
        wanted = [31_415, 9, 2653, 58_979]
        return expect(sizes(self.stub.StreamingOutputCall(output(*wanted), timeout=30)), wanted)

    def server_compressed_streaming(self):
        wanted = [31_415, 92_653]
        request = output(*wanted, compressed=(True, False))
        return expect(sizes(self.stub.StreamingOutputCall(request, timeout=30)), wanted)

    def ping_pong(self):
        turn = threading.Semaphore(0)
        pairs = [(27_182, 31_415), (8, 9), (1828, 2653), (45_904, 58_979)]

        def requests():
            for question, answer in pairs:
                yield output(answer, payload=question)
                turn.acquire()

        heard = []
        for answer in self.stub.FullDuplexCall(requests(), timeout=30):
            heard.append(len(answer.payload.body))
            turn.release()
        return expect(heard, [answer for _, answer in pairs])

    def empty_stream(self):
        return expect(list(self.stub.FullDuplexCall(iter(()), timeout=30)), [])

    def cancel_after_begin(self):
        hold = threading.Event()
        call = self.stub.StreamingInputCall.future(iter(lambda: hold.wait(30) or None, None), timeout=30)
        call.cancel()
        hold.set()
        return expect((call.cancelled(), call.code()), (True, grpc.StatusCode.CANCELLED))

    def cancel_after_first_response(self):
        hold = threading.Event()

        def requests():
            yield output(31_415, payload=27_182)
            hold.wait(30)

        call = self.stub.FullDuplexCall(requests(), timeout=30)
        expect(len(next(call).payload.body), 31_415)
        call.cancel()
        hold.set()
        return expect(refusal(lambda: next(call)).code(), grpc.StatusCode.CANCELLED)

    def timeout_on_sleeping_server(self):
        request = output(31_415, payload=27_182)
        request.response_parameters[0].interval_us = 10_000_000
        error = refusal(lambda: list(self.stub.FullDuplexCall(iter((request,)), timeout=0.05)))
        return expect(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

    def status_is(self, text):
        status = m.EchoStatus(code=2, message=text)
        error = refusal(lambda: self.stub.UnaryCall(m.SimpleRequest(response_status=status), timeout=30))
        expect((error.code(), error.details()), (grpc.StatusCode.UNKNOWN, text))
        request = m.StreamingOutputCallRequest(response_status=status)
        error = refusal(lambda: list(self.stub.FullDuplexCall(iter((request,)), timeout=30)))
        return expect((error.code(), error.details()), (grpc.StatusCode.UNKNOWN, text))

    def status_code_and_message(self):
        return self.status_is("test status message")

    def special_status_message(self):
        return self.status_is("\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")

    def unimplemented_method(self):
        error = refusal(lambda: self.stub.UnimplementedCall(empty_pb2.Empty(), timeout=30))
        return expect(error.code(), grpc.StatusCode.UNIMPLEMENTED)

    def unimplemented_service(self):
        error = refusal(lambda: self.unimplemented.UnimplementedCall(empty_pb2.Empty(), timeout=30))
        return expect(error.code(), grpc.StatusCode.UNIMPLEMENTED)

    def custom_metadata(self):
        sent = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))
        _, unary = self.stub.UnaryCall.with_call(large(), metadata=sent, timeout=30)
        duplex = self.stub.FullDuplexCall(iter((output(314_159, payload=271_828),)), metadata=sent, timeout=30)
        expect(sizes(duplex), [314_159])
        return all(
            expect(dict(call.initial_metadata()).get(INITIAL), sent[0][1])
            and expect(dict(call.trailing_metadata()).get(TRAILING), sent[1][1]) for call in (unary, duplex))

    def rpc_soak(self):
        return all(self.unary_is_large() for _ in range(10))

    def channel_soak(self):
        for _ in range(10):
            with self.new_channel() as channel:
                self.unary_is_large(stub=test_pb2_grpc.TestServiceStub(channel))
        return True


def channel(secure):
    if not secure:
        return grpc.insecure_channel("127.0.0.1:" + os.environ["GRPC"], options=ANY_SIZE)
    return grpc.secure_channel(
        "localhost:" + os.environ["GRPCS"], grpc.ssl_channel_credentials(read(AUTHORITY)),
        options=ANY_SIZE + [("grpc.ssl_target_name_override", "foo.test.google.fr")])


# Our client, their server


class Service(test_pb2_grpc.TestServiceServicer):
    """`grpc.testing.TestService`."""

    @staticmethod
    def begin(context, compressed=False):
        metadata = dict(context.invocation_metadata())
        context.set_compression(GZIP if compressed else PLAIN)
        if INITIAL in metadata:
            context.send_initial_metadata(((INITIAL, metadata[INITIAL]),))
        if TRAILING in metadata:
            context.set_trailing_metadata(((TRAILING, metadata[TRAILING]),))

    @staticmethod
    def end(status, context):
        if status.code:
            code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
            context.abort(code, status.message)

    def EmptyCall(self, request, context):
        return request

    def UnaryCall(self, request, context):
        self.begin(context, request.response_compressed.value)
        self.end(request.response_status, context)
        return m.SimpleResponse(payload=zeros(request.response_size))

    def StreamingInputCall(self, requests, context):
        return m.StreamingInputCallResponse(aggregated_payload_size=sum(sizes(requests)))

    def answers(self, request, context):
        self.end(request.response_status, context)
        for parameters in request.response_parameters:
            if not parameters.compressed.value:
                context.disable_next_message_compression()
            yield m.StreamingOutputCallResponse(payload=zeros(parameters.size))

    def StreamingOutputCall(self, request, context):
        self.begin(context, any(parameters.compressed.value for parameters in request.response_parameters))
        yield from self.answers(request, context)

    def FullDuplexCall(self, requests, context):
        self.begin(context)
        for request in requests:
            yield from self.answers(request, context)

    def UnimplementedCall(self, request, context):
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "this method is declared, and not there")


def serve():
    """The server, its port in the clear and the one with TLS."""
    server = grpc.server(futures.ThreadPoolExecutor(16), options=ANY_SIZE)
    test_pb2_grpc.add_TestServiceServicer_to_server(Service(), server)
    credentials = grpc.ssl_server_credentials([(read(KEY), read(CERTIFICATE))])
    ports = server.add_insecure_port("127.0.0.1:0"), server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, *ports


def ours(case, port, *options):
    words, status, errors = run(
        os.environ["CONFORMANCE"], "grpc-client", f"--server_port={port}", f"--test_case={case}", *options)
    return status == 0, words + errors


cases = [name for name, value in vars(Client).items() if callable(value) and not name.startswith("_")]
cases = [name for name in cases if name not in ("unary_is_large", "status_is")]
for secure in (False, True):
    with channel(secure) as open_channel:
        client = Client(open_channel, lambda: channel(secure))
        for case in cases:
            attempt(f"client.{case}{'.tls' if secure else ''}", getattr(client, case))

server, plain_port, secure_port = serve()
for case in cases:
    if case.startswith("client_compressed_"):
        continue
    check(f"server.{case}", *ours(case, plain_port, "--server_host=127.0.0.1"))
    check(f"server.{case}.tls", *ours(
        case, secure_port, "--server_host=localhost", "--use_tls=true", f"--ca_file={AUTHORITY}",
        "--server_host_override=foo.test.google.fr"))
server.stop(None).wait()
finish()
