"""gRPC's negative HTTP/2 cases (grpc/doc/negative-http2-interop-test-descriptions.md): a server that does what a case's name says, and
our client in front of it; then a client that does such things to our server."""

import os
import socket
import ssl
import struct
import subprocess
import threading

from checks import AUTHORITY, CERTIFICATE, KEY, check, finish

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# What every case's call asks for.
ASKED = 314_159


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(*fields):
    """Fields that are not indexed (RFC 7541 §6.2.2)."""
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)


def varint(value):
    result = b""
    while value > 127:
        result, value = result + bytes([value & 127 | 128]), value >> 7
    return result + bytes([value])


def message(count):
    """A payload of so many zeros, as SimpleResponse and StreamingInputCallRequest have it in their field 1, and gRPC's five bytes."""
    body = b"\x12" + varint(count) + bytes(count)
    text = b"\x0a" + varint(len(body)) + body
    return b"\0" + struct.pack(">I", len(text)) + text


class Wire:
    """Frames over a socket, and the windows of what is sent."""

    def __init__(self, sock):
        self.sock, self.rest = sock, b""
        self.window, self.initial, self.windows = 65_535, 65_535, {}
        self.pings = 0

    def send(self, *frames):
        self.sock.sendall(b"".join(frames))

    def take(self, count):
        while len(self.rest) < count:
            more = self.sock.recv(65_536)
            if not more:
                return None
            self.rest += more
        result, self.rest = self.rest[:count], self.rest[count:]
        return result

    def read(self):
        """The next frame that is not the connection's own business; None at the end."""
        while True:
            head = self.take(9)
            if head is None:
                return None
            kind, flags, stream = struct.unpack(">BBI", head[3:])
            payload = self.take(int.from_bytes(head[:3], "big"))
            if payload is None:
                return None
            if kind == SETTINGS and not flags & ACK:
                for name, value in struct.iter_unpack(">HI", payload):
                    if name == 4:
                        self.windows = {id: window + value - self.initial for id, window in self.windows.items()}
                        self.initial = value
                self.send(frame(SETTINGS, ACK, 0))
            elif kind == WINDOW_UPDATE:
                increment = int.from_bytes(payload, "big")
                if stream:
                    self.windows[stream] = self.windows.get(stream, self.initial) + increment
                else:
                    self.window += increment
                return kind, flags, stream, payload
            elif kind == PING and flags & ACK:
                self.pings += 1
            elif kind == PING:
                self.send(frame(PING, ACK, 0, payload))
            else:
                if kind == DATA and payload:
                    update = struct.pack(">I", len(payload))
                    self.send(frame(WINDOW_UPDATE, 0, 0, update), frame(WINDOW_UPDATE, 0, stream, update))
                return kind, flags, stream, payload

    def room(self, stream):
        return min(self.window, self.windows.setdefault(stream, self.initial))

    def data(self, stream, body, padding=0, flags=0):
        """A DATA frame, with padding unless that is 0."""
        payload = bytes([padding]) + body + bytes(padding) if padding else body
        self.window -= len(payload)
        self.windows[stream] -= len(payload)
        self.send(frame(DATA, flags | (PADDED if padding else 0), stream, payload))


class Server:
    """Answers unary calls as a case says."""

    def __init__(self, case, tls):
        self.case, self.tls = case, tls
        self.faults, self.connections, self.calls, self.pings, self.answered = [], 0, 0, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        context = None
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE, KEY)
            context.set_alpn_protocols(["h2"])
        while True:
            try:
                sock = self.listener.accept()[0]
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context:
                    sock = context.wrap_socket(sock, server_side=True)
            except OSError:
                return
            threading.Thread(target=self.serve, args=(Wire(sock),), daemon=True).start()

    def serve(self, wire):
        try:
            self.talk(wire)
        except OSError:
            pass
        self.pings += wire.pings
        wire.sock.close()

    def talk(self, wire):
        preface = wire.take(len(PREFACE))
        if preface is None:
            # A connection that was made ahead, and not needed.
            return
        self.connections += 1
        if preface != PREFACE:
            self.faults.append("no preface")
        one = self.case == "max_streams"
        wire.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 1) if one else b""))
        open_streams, waiting = set(), []
        while (got := wire.read()) is not None:
            kind, flags, stream, _ = got
            if kind == HEADERS:
                self.calls += 1
                open_streams.add(stream)
                if one and len(open_streams) > 1:
                    self.faults.append(f"{len(open_streams)} streams where one is allowed")
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                waiting.append([stream, self.begin(wire, stream)])
            while waiting and self.go_on(wire, *waiting[0]):
                open_streams.discard(waiting.pop(0)[0])

    def ping(self, wire):
        if self.case == "ping":
            wire.send(frame(PING, 0, 0, b"12345678"))

    def begin(self, wire, stream):
        """The headers; returns what is to be sent behind them."""
        self.ping(wire)
        wire.send(frame(HEADERS, END_HEADERS, stream, block((b":status", b"200"), (b"content-type", b"application/grpc"))))
        self.ping(wire)
        whole = message(ASKED)
        part = {"rst_after_header": b"", "rst_during_data": whole[: len(whole) // 2]}.get(self.case, whole)
        return bytearray(part)

    def go_on(self, wire, stream, left):
        """Sends what the windows allow. True: that was all."""
        padding = 255 if self.case == "data_frame_padding" else 0
        while left:
            count = min(len(left), 16_384 - (padding and padding + 1), wire.room(stream) - (padding and padding + 1))
            if count <= 0:
                return False
            wire.data(stream, bytes(left[:count]), padding)
            del left[:count]
        self.ping(wire)
        if self.case.startswith("rst_"):
            wire.send(frame(RST_STREAM, 0, stream, struct.pack(">I", 0)))
        else:
            wire.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block((b"grpc-status", b"0"))))
        self.answered += 1
        if self.case == "goaway":
            wire.send(frame(GOAWAY, 0, 0, struct.pack(">II", stream, 0)))
        return True


def server_case(case, tls):
    server = Server(case, tls)
    command = [
        os.environ["CONFORMANCE"], "grpc-client", "--server_host=localhost" if tls else "--server_host=127.0.0.1",
        f"--server_port={server.port}", f"--test_case={case}"]
    if tls:
        command += ["--use_tls=true", f"--ca_file={AUTHORITY}"]
    done = subprocess.run(command, capture_output=True, timeout=90)
    server.listener.close()
    wanted = {"goaway": (2, 2), "max_streams": (1, 16)}.get(case, (1, 1))
    faults = server.faults
    if (server.connections, server.calls) != wanted:
        faults.append(f"{server.calls} calls on {server.connections} connections")
    if case == "ping" and server.pings < 3:
        faults.append(f"{server.pings} of 3 pings were answered")
    said = (done.stdout + done.stderr).decode()
    check(case + (".tls" if tls else ""), done.returncode == 0 and not faults, f"{faults} {said}")


CASES = (
    "goaway", "rst_after_header", "rst_during_data", "rst_after_data", "ping", "max_streams", "no_df_padding_sanity_test",
    "data_frame_padding")
EMPTY_CALL = b"/grpc.testing.TestService/EmptyCall"
INPUT_CALL = b"/grpc.testing.TestService/StreamingInputCall"


class Client:
    """A client of our server, whose calls are written by hand."""

    def __init__(self):
        sock = socket.create_connection(("127.0.0.1", int(os.environ["GRPC"])), timeout=20)
        self.wire, self.stream = Wire(sock), -1
        self.wire.send(PREFACE, frame(SETTINGS, 0, 0))

    def call(self, path, flags=0):
        self.stream += 2
        fields = block(
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost"),
            (b"content-type", b"application/grpc"), (b"te", b"trailers"))
        self.wire.send(frame(HEADERS, END_HEADERS | flags, self.stream, fields))
        self.wire.windows.setdefault(self.stream, self.wire.initial)
        return self.stream

    def answer(self, stream):
        """The bodies of a stream's DATA, and what has ended it: HEADERS, RST_STREAM or GOAWAY."""
        body = b""
        while (got := self.wire.read()) is not None:
            kind, flags, on, payload = got
            if kind == GOAWAY:
                return body, GOAWAY, payload
            if on == stream and kind == DATA:
                body += payload
            if on == stream and (kind == RST_STREAM or kind == HEADERS and flags & END_STREAM):
                return body, kind, payload
        return body, None, b""

    def is_answered(self):
        """Whether a call is."""
        stream = self.call(EMPTY_CALL)
        self.wire.data(stream, b"\0\0\0\0\0", flags=END_STREAM)
        return self.answer(stream)[:2] == (b"\0\0\0\0\0", HEADERS)


def padded(client, padding):
    stream = client.call(INPUT_CALL)
    whole = bytearray(message(20_000))
    while whole:
        while (count := min(len(whole), 1000, client.wire.room(stream) - 256)) <= 0:
            if client.wire.read() is None:
                return False
        client.wire.data(stream, bytes(whole[:count]), padding)
        del whole[:count]
    client.wire.data(stream, b"", padding, END_STREAM)
    _, kind, _ = client.answer(stream)
    return kind == HEADERS and client.is_answered()


def reset(client, *bodies):
    for _ in range(20):
        stream = client.call(INPUT_CALL)
        for body in bodies:
            client.wire.data(stream, body)
        client.wire.send(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
    return client.is_answered()


def pings(client):
    for number in range(50):
        client.wire.send(frame(PING, 0, 0, struct.pack(">Q", number)))
        if not client.is_answered():
            return False
    return client.is_answered()


def limit(client):
    """One stream more than the server allows is refused, and no other."""
    most = 4096
    streams = [client.call(INPUT_CALL) for _ in range(most + 1)]
    _, kind, code = client.answer(streams[-1])
    if (kind, code) != (RST_STREAM, struct.pack(">I", 7)):
        return False
    client.wire.data(streams[0], b"", flags=END_STREAM)
    _, kind, _ = client.answer(streams[0])
    return kind == HEADERS and client.is_answered()


def goaway(client):
    """A client that goes away gets the answers to what it has asked."""
    stream = client.call(EMPTY_CALL)
    client.wire.send(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
    client.wire.data(stream, b"\0\0\0\0\0", flags=END_STREAM)
    body, kind, _ = client.answer(stream)
    return kind == HEADERS and body == b"\0\0\0\0\0"


def client_case(name, work):
    try:
        result = work(Client())
    except OSError as error:
        return check("server." + name, False, error)
    check("server." + name, result)


for tls in (False, True):
    for name in CASES:
        server_case(name, tls)
client_case("data_frame_padding", lambda client: padded(client, 255))
client_case("no_df_padding", lambda client: padded(client, 0))
client_case("rst_after_header", lambda client: reset(client))
client_case("rst_during_data", lambda client: reset(client, b"\0\0\0\0\x09abc"))
client_case("rst_after_data", lambda client: reset(client, b"\0\0\0\0\0"))
client_case("ping", pings)
client_case("max_streams", limit)
client_case("goaway", goaway)
finish()
