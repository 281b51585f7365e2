#!/usr/bin/env python3
"""Sends what a hostile peer would to the all-in-one program, and prints what that costs it.

    deploy/abuse.py PROGRAM [NAME ...]      all attacks, or those whose name has one of the words
    deploy/abuse.py PROGRAM floods          what floods cost another client where access is restricted: its latency without and
                                            with each; and how long signing in takes, and how much memory a token that is known

For each attack: bytes sent, how far the program's resident memory grew while the connections were held, that growth for each
byte sent, the longest turn of a loop, what stayed after the connections were closed, and how long one honest request took
meanwhile. Everything is on the loopback and bounded: at most 200 connections and 64 MiB for each attack.
"""

import base64
import json
import multiprocessing
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
# Bytes that one attack sends at most, over all its connections.
MOST = 64 << 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Program:
    def __init__(self, path, drivers=0, more={}):
        self.http, self.driver, self.trip, self.kafka = (free_port() for _ in range(4))
        self.folder = tempfile.TemporaryDirectory()
        environment = {
            "PATH": os.environ["PATH"],
            # Everybody may do everything: what is tried is what that costs.
            "CABSTAND_AUTH": "off",
            "CABSTAND_BIND": "127.0.0.1",
            "CABSTAND_HTTP_PORT": str(self.http),
            "CABSTAND_DRIVER_SERVICE": f"127.0.0.1:{self.driver}",
            "CABSTAND_TRIP_SERVICE": f"127.0.0.1:{self.trip}",
            "CABSTAND_DATABASE_URL": f"sqlite:{self.folder.name}",
            "CABSTAND_PUBLIC_DIR": str(REPOSITORY / "public"),
            "CABSTAND_EVENT_LOOPS": "1",
            "CABSTAND_SIMULATED_DRIVERS": str(drivers),
            "CABSTAND_LOG_LEVEL": "error",
            **more,
        }
        known = set(re.findall(r"CABSTAND_[A-Z_]+", subprocess.run([path, "--help"], capture_output=True, text=True).stdout))
        environment = {k: v for k, v in environment.items() if k == "PATH" or k in known}
        self.process = subprocess.Popen([path], env=environment, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if b" 200 " in self.get("/readyz")[:20]:
                return
            time.sleep(0.2)
        self.stop()
        raise SystemExit("the program was not ready within 30 s")

    def get(self, path):
        try:
            with socket.create_connection(("127.0.0.1", self.http), 10) as peer:
                peer.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                answer = b""
                while piece := peer.recv(1 << 20):
                    answer += piece
                return answer
        except OSError:
            return b""

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    def turns(self):
        """Turns by their upper bound in seconds, over all loops, and the longest since the start."""
        text = self.get("/metrics").decode(errors="replace")
        buckets = {}
        for bound, count in re.findall(r'cabstand_loop_turn_seconds_bucket\{[^}]*le="([^"]+)"\} (\d+)', text):
            buckets[float(bound)] = buckets.get(float(bound), 0) + int(count)
        longest = [float(v) for v in re.findall(r"cabstand_loop_longest_turn_seconds\{[^}]*\} (\S+)", text)]
        return buckets, max(longest, default=0)

    def stop(self):
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def longest_turn(before, after):
    """The longest turn between two looks, in milliseconds, as far as the buckets tell."""
    if after[1] > before[1]:
        return f"{after[1] * 1000:.1f}"
    counts = sorted((bound, after[0][bound] - before[0].get(bound, 0)) for bound in after[0])
    total = counts[-1][1] if counts else 0
    bound = next((bound for bound, count in counts if count == total), 0)
    return f"<{bound * 1000:.1f}" if bound != float("inf") else f"<{after[1] * 1000:.1f}"


# What is sent. Each gives the port, the number of connections, the bytes for each of them, and whether its answers are read.

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /trips HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
LIST = b"GET /drivers/available?limit=10000 HTTP/1.1\r\nHost: a\r\n\r\n"


def frame(opcode, payload=b"", final=True):
    length = len(payload)
    head = bytes([opcode | (0x80 if final else 0)])
    if length < 126:
        head += bytes([0x80 | length])
    else:
        head += bytes([0x80 | 126]) + struct.pack(">H", length)
    return head + b"\0\0\0\0" + payload


def upgraded(frames, path="/ws/drivers/available"):
    key = base64.b64encode(bytes(16)).decode()
    head = (
        f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n"
    )
    return head.encode() + frames


def h2(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2(4, 0, 0)


def call(stream, path=b"/grpc.health.v1.Health/Check", more=b"", end=False):
    def literal(name, value):
        return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value

    block = b"\x83\x86" + literal(b":path", path) + literal(b":authority", b"a")
    block += literal(b"content-type", b"application/grpc") + literal(b"te", b"trailers") + more
    return h2(1, 4 | (1 if end else 0), stream, block)


def message(stream, payload=b"", end=True):
    return h2(0, 1 if end else 0, stream, b"\0" + struct.pack(">I", len(payload)) + payload)


def calls(count, path=b"/grpc.health.v1.Health/Check"):
    return b"".join(call(2 * n + 1, path) + message(2 * n + 1) for n in range(count))


# SETTINGS_INITIAL_WINDOW_SIZE 0: nothing is taken.
MUTE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2(4, 0, 0, struct.pack(">HI", 4, 0))

ATTACKS = {
    "http half heads": ("http", 200, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 16_000, True),
    "http many fields": ("http", 200, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 99, True),
    "http half bodies": ("http", 200, POST + b"Content-Length: 60000\r\n\r\n" + b"x" * 50_000, True),
    "http chunks of one byte": (
        "http", 100, POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;a=b\r\nx\r\n" * 600, True),
    "http pages not read": ("http", 100, GET * 2000, False),
    "http lists not read": ("http", 100, LIST * 500, False),
    "http lists read": ("http", 8, LIST * 100, True),
    "http range of thousands": (
        "http", 50, (b"GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=" + b"0-0," * 3900 + b"0-0\r\n\r\n") * 20, True),
    "http tags of thousands": (
        "http", 50, (b"GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: " + b'"a",' * 3900 + b'"b"\r\n\r\n') * 20, True),
    "http deep json": (
        "http", 50, (POST + b"Content-Length: 60000\r\n\r\n" + b"[" * 60_000) * 5, True),
    "http names of json": (
        "http", 50, (POST + b"Content-Length: 60001\r\n\r\n{" + b'"a":1,' * 10_000) * 5, True),
    "http query of thousands": (
        "http", 50, (b"GET /drivers/available?" + b"a=%41&" * 1300 + b" HTTP/1.1\r\nHost: a\r\n\r\n") * 20, True),
    "ws half frames": ("http", 200, upgraded(b"\x81\xfe\xea\x60\0\0\0\0" + b"x" * 50_000), True),
    "ws fragments of one byte": ("http", 100, upgraded(frame(1, b"x", False) + frame(0, b"x", False) * 1000), True),
    "ws pings not read": ("http", 100, upgraded(frame(9, b"x" * 125) * 3000), False),
    "ws views that change": (
        "http", 20,
        upgraded(b"".join(
            frame(1, b'{"type":"view","lat":%d.5,"lon":13,"radius_m":%d}' % (40 + n % 20, 1000 + n)) for n in range(500))),
        False),
    "ws lists not read": ("http", 200, upgraded(b"", "/ws/drivers/available?interval_ms=50"), False),
    "grpc half preface": ("driver", 200, PREFACE[:20], True),
    "grpc header block kept open": (
        "driver", 50, PREFACE + h2(1, 0, 1, b"\x83\x86" + b"\x40\x01a\x01b" * 2000), True),
    "grpc insertions by index": (
        "driver", 50, PREFACE + b"".join(
            call(2 * n + 1, more=b"\x40\x01a\x7f\x81\x1e" + b"x" * 4000 + b"\x7e\x01b" * 500, end=True) for n in range(4)),
        True),
    "grpc settings of thousands": ("driver", 20, PREFACE + calls(50) + h2(4, 0, 0, struct.pack(">HI", 4, 9) * 2730) * 20, True),
    "grpc pings": ("driver", 50, PREFACE + h2(6, 0, 0, bytes(8)) * 5000, False),
    "grpc message of gigabytes": (
        "driver", 100, PREFACE + call(1) + h2(0, 0, 1, b"\0\xff\xff\xff\xff" + b"x" * 16_000) + h2(0, 0, 1, b"x" * 16_000), True),
    "grpc answers not read": ("driver", 50, MUTE + calls(100), False),
    "grpc resets": (
        "driver", 20, PREFACE + b"".join(
            call(2 * n + 1, b"/grpc.health.v1.Health/Watch") + message(2 * n + 1, end=False) + h2(3, 0, 2 * n + 1, bytes(4))
            for n in range(2000)), True),
    "grpc watches": ("driver", 50, PREFACE + calls(100, b"/grpc.health.v1.Health/Watch"), True),
}


def attack(program, name):
    where, count, script, reads = ATTACKS[name]
    assert count <= 200 and count * len(script) <= MOST, name
    program.get("/readyz")
    before, turns = program.memory(), program.turns()
    peers, sent = [], 0
    for _ in range(count):
        peer = socket.create_connection(("127.0.0.1", getattr(program, where)), 5)
        peer.setblocking(False)
        peers.append([peer, memoryview(script)])
    most, slowest = before, 0.0
    end = time.monotonic() + 4
    while time.monotonic() < end:
        for entry in peers:
            peer, rest = entry
            try:
                if rest:
                    taken = peer.send(rest[: 256 << 10])
                    sent += taken
                    entry[1] = rest[taken:]
                while reads and peer.recv(1 << 20):
                    pass
            except BlockingIOError:
                pass
            except OSError:
                entry[1] = memoryview(b"")
        most = max(most, program.memory())
        began = time.monotonic()
        program.get("/healthz")
        slowest = max(slowest, time.monotonic() - began)
    after = program.turns()
    for peer, _ in peers:
        peer.close()
    time.sleep(2)
    grown, stayed = most - before, program.memory() - before
    print(
        f"{name:30} {count:4} {sent / 1024:9.0f} {grown / 1024:9.0f} {grown / max(1, sent):9.2f} "
        f"{longest_turn(turns, after):>8} {stayed / 1024:9.0f} {slowest * 1000:8.1f}", flush=True)
    if program.process.poll() is not None:
        raise SystemExit(f"{name}: the program has ended with {program.process.returncode}")


# Floods. All addresses are on the loopback: 127.x.y.z are one network each.


class Client:
    """A connection that is kept, from an address."""

    def __init__(self, port, address="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", port), 20, (address, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, head, body=b""):
        """Status and body of the answer."""
        self.socket.sendall(head + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.receive()
        head, rest = answer.split(b"\r\n\r\n", 1)
        length = re.search(rb"(?i)\ncontent-length: (\d+)", head)
        while len(rest) < (int(length[1]) if length else 0):
            rest += self.receive()
        return int(head[9:12]), rest

    def receive(self):
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise OSError("the server has closed")
        return piece


def get(target, token):
    return f"GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def post(target, body):
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


LISTED = "/drivers/available?limit=1"


def quantiles(seconds):
    seconds = sorted(seconds)
    return [seconds[min(len(seconds) - 1, int(len(seconds) * share))] * 1e3 for share in (0.5, 0.99)]


def watch(port, token, span):
    """Milliseconds of an honest client's requests, 200 a second: half of them took as long at most, and 99 of 100."""
    client = Client(port, "127.0.0.2")
    begin, taken = time.monotonic(), []
    while time.monotonic() < begin + span:
        due = begin + len(taken) / 200
        time.sleep(max(0, due - time.monotonic()))
        if client.ask(get(LISTED, token))[0] != 200:
            raise SystemExit("the honest client is refused")
        taken.append(time.monotonic() - due)
    return quantiles(taken)


def at_rate(rate, requests, connections):
    """Sends requests of the list in turn, so many a second, and throws away what is answered. For ever."""
    for connection in connections:
        connection.socket.setblocking(False)
    begin, sent, unsent = time.monotonic(), 0, [b""] * len(connections)
    while True:
        due = int((time.monotonic() - begin) * rate)
        place = (sent // 50) % len(connections)
        while sent < due:
            unsent[place] += requests[sent % len(requests)]
            sent += 1
            if sent % 50 == 0:
                break
        for index, connection in enumerate(connections):
            try:
                if unsent[index]:
                    unsent[index] = unsent[index][connection.socket.send(unsent[index]):]
                connection.socket.recv(1 << 20)
            except BlockingIOError:
                pass
        if sent >= due:
            time.sleep(0.001)


def forged(port, _, key):
    """20,000 tokens a second that are signed by nobody, each another, from 64 addresses."""
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    header = part(json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": key}).encode())
    now = int(time.time())
    claims = {"iss": "urn:cabstand:issuer", "aud": "cabstand", "exp": now + 900, "iat": now, "scope": "rider"}
    requests = []
    for number in range(40_000):
        body = part(json.dumps({**claims, "sub": f"mallory-{number}", "jti": f"{number}"}).encode())
        requests.append(get(LISTED, f"{header}.{body}.{part(os.urandom(64))}"))
    at_rate(20_000, requests, [Client(port, f"127.0.1.{number}") for number in range(1, 65)])


def greedy(port, token, _):
    """One principal at 50 times what it may: `read=50/s`."""
    at_rate(2_500, [get(LISTED, token)], [Client(port) for _ in range(4)])


def connecting(port, _, __):
    """One address that wants 10,000 connections, again and again."""
    while True:
        held = []
        for _ in range(10_000):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            held.append(connection)
            if len(held) % 50 == 0:
                time.sleep(0.005)
        for connection in held:
            connection.close()


FLOODS = {"forged tokens": forged, "one principal": greedy, "connections": connecting}


def new_guests(port, count):
    """Tokens of as many guests, and the milliseconds that it took to make each."""
    client, answers, taken = Client(port), [], []
    for _ in range(count):
        began = time.monotonic()
        status, body = client.ask(post("/auth/guest", b"{}"))
        taken.append(time.monotonic() - began)
        if status not in (200, 201):
            raise SystemExit(f"a guest is answered with {status}: {body.decode()}")
        answers.append(json.loads(body))
    return answers, quantiles(taken)


def show_sign_in(program):
    """Without limits: what they remember of clients would count as memory of tokens."""
    client = Client(program.http)
    guests, (half, most) = new_guests(program.http, 2_000)
    print(f"POST /auth/guest:   half in {half:.2f} ms, 99 of 100 in {most:.2f} ms", flush=True)
    taken = []
    for guest in guests:
        body = json.dumps({"refresh_token": guest["refresh_token"]}).encode()
        began = time.monotonic()
        status, body = client.ask(post("/auth/refresh", body))
        taken.append(time.monotonic() - began)
        if status != 200:
            raise SystemExit(f"a refresh token is answered with {status}: {body.decode()}")
    half, most = quantiles(taken)
    print(f"POST /auth/refresh: half in {half:.2f} ms, 99 of 100 in {most:.2f} ms", flush=True)
    count = 8_000
    guests, _ = new_guests(program.http, count)
    for where, target in ("the gateway's", "/auth/session"), ("the driver service's", LISTED):
        before = program.memory()
        for guest in guests:
            # The budget for new tokens.
            time.sleep(0.0007)
            status, body = client.ask(get(target, guest["access_token"]))
            if status != 200:
                raise SystemExit(f"a token is answered with {status}: {body.decode()}")
        print(f"a known token:      {(program.memory() - before) / count:.0f} bytes of {where} memory", flush=True)


def show_floods(path):
    with tempfile.TemporaryDirectory() as folder:
        key = f"{folder}/key.pem"
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key],
            check=True, capture_output=True)
        access = {"CABSTAND_AUTH": "required", "CABSTAND_AUTH_KEY": key, "CABSTAND_PUBLIC_LISTS": "off"}
        program = Program(path, more=access)

        def token(role, subject):
            command = [path, "token", "--role", role, "--subject", subject, "--auth-key", key]
            return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()

        try:
            operator, rider = token("operator", "olga"), token("rider", "rita")
            keys = json.loads(program.get("/.well-known/jwks.json").split(b"\r\n\r\n", 1)[1])
            rounds, span = 3, 5
            print(f"{'another client, ms':20} {'half quiet':>10} {'half':>8} {'99 % quiet':>10} {'99 %':>8} {'turn ms':>8}")
            for name, flood in FLOODS.items():
                figures = []
                for _ in range(rounds):
                    quiet = watch(program.http, operator, span)
                    process = multiprocessing.Process(target=flood, args=(program.http, rider, keys["keys"][0]["kid"]))
                    process.start()
                    time.sleep(1.5)
                    turns = program.turns()
                    loud = watch(program.http, operator, span)
                    longest = longest_turn(turns, program.turns())
                    process.terminate()
                    process.join()
                    time.sleep(1)
                    figures.append((quiet[0], loud[0], quiet[1], loud[1]))
                middle = [sorted(column)[rounds // 2] for column in zip(*figures)]
                print(f"{name:20} {middle[0]:10.2f} {middle[1]:8.2f} {middle[2]:10.2f} {middle[3]:8.2f} {longest:>8}", flush=True)
            counted = re.findall(r"^cabstand_(?:auth|rate_limit|connections)\w*refus\w*\{.*", program.get("/metrics").decode(), re.M)
            print("\n".join(line for line in counted if not line.endswith(" 0")), flush=True)
            program.stop()
            program = Program(path, more={**access, "CABSTAND_RATE_LIMIT": "off"})
            show_sign_in(program)
        finally:
            program.stop()


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    if sys.argv[2:] == ["floods"]:
        return show_floods(sys.argv[1])
    program = Program(sys.argv[1], drivers=int(os.environ.get("DRIVERS", "0")))
    try:
        # The simulated drivers come: what grows from now on is the peers'. An attack may use again what the allocator kept of
        # an earlier one, so a figure that matters is that of an attack that runs alone.
        time.sleep(10)
        print(
            f"{'':30} {'peers':>4} {'sent KiB':>9} {'held KiB':>9} {'held:sent':>9} {'turn ms':>8} {'left KiB':>9} "
            f"{'other ms':>8}")
        for name in ATTACKS:
            if len(sys.argv) == 2 or any(word in name for word in sys.argv[2:]):
                attack(program, name)
    finally:
        program.stop()


main()
