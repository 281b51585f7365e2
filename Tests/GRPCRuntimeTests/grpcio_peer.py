"""Official grpcio on the other side of GRPCRuntime's tests. Stubs are made from the descriptor that our code holds.

  grpcio_peer.py DESCRIPTOR client PORT [TLS]     calls our server in every way; writes "ok NAME" per check
  grpcio_peer.py DESCRIPTOR server [TLS]          serves cabstand.test.Echo until it is killed; writes "port N"

TLS is three PEM files: whom to trust, one's own certificate, its key. Both sides then show and want certificates.
"""
import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

pool = descriptor_pool.DescriptorPool()
pool.Add(descriptor_pb2.FileDescriptorProto.FromString(bytes.fromhex(sys.argv[1])))
Request, Response = (
    message_factory.GetMessageClass(pool.FindMessageTypeByName("cabstand.test.Echo" + name))
    for name in ("Request", "Response"))
PATH = "/cabstand.test.Echo/"


def check(name, condition, seen=""):
    if not condition:
        raise SystemExit(f"FAILED {name}: {seen}")
    print("ok", name, flush=True)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def client(port, *tls):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    if tls:
        trusted, certificate, key = map(read, tls)
        channel = grpc.secure_channel(
            f"localhost:{port}", grpc.ssl_channel_credentials(trusted, key, certificate), options=options)
    else:
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
    codec = (Request.SerializeToString, Response.FromString)
    unary = channel.unary_unary(PATH + "Unary", *codec)
    collect = channel.stream_unary(PATH + "Collect", *codec)
    expand = channel.unary_stream(PATH + "Expand", *codec)

    metadata = (("x-key", "value, one"), ("x-raw-bin", b"\x00\xff\x01"), ("x-key", "two"))
    response, call = unary.with_call(Request(text="grüße", payload=b"x" * 1000), metadata=metadata, timeout=20)
    check("unary", response.text == "grüße" and response.payload == b"x" * 1000)
    check("metadata", list(response.metadata) == ["x-key=value, one", "x-raw-bin=[0, 255, 1]", "x-key=two"],
          response.metadata)
    check("trailers", dict(call.trailing_metadata()) == {"x-answered": "yes", "x-raw-bin": b"\x00\xff\x01"},
          call.trailing_metadata())

    try:
        unary(Request(fail_code=9, fail_message="100 % — nein\n", fail_details=b"\x08\x09"), timeout=20)
        check("error", False)
    except grpc.RpcError as error:
        check("error", error.code() == grpc.StatusCode.FAILED_PRECONDITION, error)
        check("error message", error.details() == "100 % — nein\n", error.details())
        check("error details", dict(error.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x09")

    try:
        unary(Request(delay_ms=60000), timeout=0.2)
        check("deadline", False)
    except grpc.RpcError as error:
        check("deadline", error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error)

    pending = unary.future(Request(delay_ms=60000))
    time.sleep(0.1)
    pending.cancel()
    check("cancel", pending.cancelled())

    response = collect((Request(text=str(i), payload=b"y" * 10000) for i in range(100)), timeout=30)
    check("client streaming", response.count == 100 and len(response.payload) == 1000000, response.count)
    counts = [r.count for r in expand(Request(repeat=1000, payload=b"z" * 5000), timeout=30)]
    check("server streaming", counts == list(range(1, 1001)), len(counts))
    stream = expand(Request(repeat=3, stay_open=True))
    for _ in range(3):
        next(stream)
    stream.cancel()
    check("stream cancelled", True)

    talk = channel.stream_stream(PATH + "Talk", *codec)
    sent = iter(range(3))
    turn = threading.Semaphore(1)

    def questions():
        for number in sent:
            turn.acquire()
            yield Request(text=str(number), repeat=2)

    seen = []
    for answer in talk(questions(), timeout=30):
        seen.append(answer.text)
        if len(seen) % 2 == 0:
            turn.release()
    check("bidirectional", seen == ["0", "0", "1", "1", "2", "2"], seen)
    try:
        list(talk(iter([Request(text="x"), Request(fail_code=9, fail_message="no")]), timeout=20))
        check("bidirectional error", False)
    except grpc.RpcError as error:
        check("bidirectional error", error.code() == grpc.StatusCode.FAILED_PRECONDITION, error)

    check("large", len(unary(Request(payload=b"a" * 4000000), timeout=30).payload) == 4000000)
    try:
        unary(Request(payload=b"a" * 5000000), timeout=30)
        check("too large", False)
    except grpc.RpcError as error:
        check("too large", error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error)
    try:
        channel.unary_unary(PATH + "Nope")(b"", timeout=20)
        check("unimplemented", False)
    except grpc.RpcError as error:
        check("unimplemented", error.code() == grpc.StatusCode.UNIMPLEMENTED, error)
    check("compression", unary(Request(text="x" * 1000), timeout=20, compression=grpc.Compression.Gzip).text == "x" * 1000)
    try:
        unary(Request(text="x" * 1000), timeout=20, compression=grpc.Compression.Deflate)
        check("unknown compression", False)
    except grpc.RpcError as error:
        check("unknown compression", error.code() == grpc.StatusCode.UNIMPLEMENTED, error)

    with futures.ThreadPoolExecutor(8) as executor:
        answers = list(executor.map(lambda i: unary(Request(text=str(i)), timeout=30).text, range(500)))
    check("concurrent", answers == [str(i) for i in range(500)])
    channel.close()


def server(*tls):
    def unary(request, context):
        if request.text == "in gzip":
            context.set_compression(grpc.Compression.Gzip)
        if request.delay_ms:
            context.add_callback(lambda: print("ended", flush=True))
            time.sleep(request.delay_ms / 1000)
        if request.fail_code:
            context.set_trailing_metadata((("grpc-status-details-bin", request.fail_details), ("x-failed", "yes")))
            context.abort([c for c in grpc.StatusCode if c.value[0] == request.fail_code][0], request.fail_message)
        seen = [f"{k}={list(v) if isinstance(v, bytes) else v}" for k, v in context.invocation_metadata()
                if k.startswith("x-")]
        return Response(text=request.text, payload=request.payload, metadata=seen)

    def collect(requests, context):
        every = list(requests)
        return Response(count=len(every), payload=b"".join(r.payload for r in every))

    def expand(request, context):
        for count in range(request.repeat):
            yield Response(text=request.text, payload=request.payload, count=count + 1)
        while request.stay_open and context.is_active():
            time.sleep(0.01)

    def talk(requests, context):
        for request in requests:
            yield Response(text=request.text, payload=request.payload)

    codec = {"request_deserializer": Request.FromString, "response_serializer": Response.SerializeToString}
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("cabstand.test.Echo", {
        "Unary": grpc.unary_unary_rpc_method_handler(unary, **codec),
        "Collect": grpc.stream_unary_rpc_method_handler(collect, **codec),
        "Expand": grpc.unary_stream_rpc_method_handler(expand, **codec),
        "Talk": grpc.stream_stream_rpc_method_handler(talk, **codec),
    }),))
    if tls:
        trusted, certificate, key = map(read, tls)
        port = server.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)], trusted, require_client_auth=True))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print("port", port, flush=True)
    threading.Event().wait()


if sys.argv[2] == "client":
    client(int(sys.argv[3]), *sys.argv[4:])
else:
    server(*sys.argv[3:])
