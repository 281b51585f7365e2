#!/usr/bin/env python3
"""Sends what a hostile peer would to the all-in-one program, and prints what that costs it.

    deploy/abuse.py PROGRAM [NAME ...]      all attacks, or those whose name has one of the words

For each attack: bytes sent, how far the program's resident memory grew while the connections were held, that growth for each
byte sent, the longest turn of a loop, what stayed after the connections were closed, and how long one honest request took
meanwhile. Everything is on the loopback and bounded: at most 200 connections and 64 MiB for each attack.
"""

import base64
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
    def __init__(self, path, drivers=0):
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


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
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
