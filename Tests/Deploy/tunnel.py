"""Through a kubectl port-forward: refused, reset and malformed requests, after each of which the tunnel still works.

    tunnel.py PORT
"""

import json
import socket
import struct
import sys
import urllib.request

PORT = int(sys.argv[1])


def alive(what):
    with urllib.request.urlopen(f"http://localhost:{PORT}/drivers/available?limit=1", timeout=10) as answer:
        assert json.load(answer)["version"] > 0, what


def send(content, reset=False):
    """Sends all of `content`, then reads to the end; the status line, or what happened instead."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=10) as connection:
        connection.sendall(content)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return ""
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer.split(b"\r\n")[0].decode()


def expect(status, what, content):
    line = send(content)
    if f" {status} " not in line:
        raise SystemExit(f"failed: {what}: {line!r}")
    alive(what)
    print(f"        {what}: {line}, and the tunnel lives", flush=True)


expect(
    413,
    "a body of 3 MB, sent to its end",
    b"POST /trips HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 3_000_000,
)
for _ in range(20):
    send(b"GET /drivers/available HTTP/1.1\r\nHost: a\r\n\r\n", reset=True)
alive("resets")
print("        20 connections reset by the client, and the tunnel lives", flush=True)
expect(400, "a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
expect(400, "no Host", b"GET / HTTP/1.1\r\n\r\n")
expect(505, "HTTP/2 by surprise", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
expect(
    400,
    "two lengths and 2 MB",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc" + b"y" * 2_000_000,
)
expect(431, "a field of 100 KB", b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 100_000 + b"\r\n\r\n")
