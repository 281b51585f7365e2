#!/usr/bin/env python3
"""What TLS costs: our servers beside nginx, by CPU time for each request and each handshake.

    deploy/bench-tls.py BENCHMARKS      the release program of Tests/Benchmarks

HTTPS with wrk (keep-alive on 64 connections; a connection of its own for each request, which is a whole handshake), unary gRPC
with h2load. Servers run in turn on the first core, the load on the second, RUNS rounds (3) of SECONDS (3) each; one certificate
for all, ECDSA P-256, TLS 1.3. What a request costs without TLS stands beside it. CPU time barely depends on who else is there.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

RUNS, SECONDS = int(os.environ.get("RUNS", 3)), int(os.environ.get("SECONDS", 3))
TICKS = os.sysconf("SC_CLK_TCK")
TOOLS = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"


def tool(name):
    return shutil.which(name, path=TOOLS)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A program on the first core; `port` answers when it is there."""

    def __init__(self, command, port):
        self.port = port
        pin = ["taskset", "-c", "0"] if tool("taskset") and os.cpu_count() > 1 else []
        self.process = subprocess.Popen(pin + command, stdin=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{command[0]} does not listen")

    def seconds(self):
        """CPU time of the program, user and system."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def certificate(folder):
    files = f"{folder}/certificate.pem", f"{folder}/key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True)
    return files


def nginx(folder, port, tls):
    lines = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]}; ssl_protocols TLSv1.3;" if tls else ""
    path = f"{folder}/nginx-{port}.conf"
    pathlib.Path(path).write_text(f"""
        daemon off; master_process off; pid {folder}/{port}.pid; error_log {folder}/error.log; events {{ worker_connections 1024; }}
        http {{ access_log off; keepalive_requests 100000000; server {{ listen 127.0.0.1:{port}{' ssl' if tls else ''}; {lines}
        location / {{ default_type text/plain; return 200 "Hello, World!"; }} }} }}""")
    return [tool("nginx"), "-p", folder, "-c", path]


def load(*command):
    pin = ["taskset", "-c", "1"] if tool("taskset") and os.cpu_count() > 1 else []
    return subprocess.run(pin + list(command), capture_output=True, text=True, check=True, timeout=SECONDS + 30).stdout


def wrk(server, scheme, *more):
    out = load(tool("wrk"), "-t1", "-c64", f"-d{SECONDS}", *more, f"{scheme}://127.0.0.1:{server.port}/")
    if "Non-2xx" in out:
        raise SystemExit(out)
    return int(re.search(r"(\d+) requests in", out)[1])


def h2load(server, scheme, body):
    out = load(
        tool("h2load"), "-c8", "-m100", f"-D{SECONDS}", "-d", body, "-H", "content-type: application/grpc", "-H", "te: trailers",
        f"{scheme}://127.0.0.1:{server.port}/bench.Echo/Unary")
    return int(re.search(r"(\d+) succeeded", out)[1])


def main(ours):
    with tempfile.TemporaryDirectory() as folder:
        tls = certificate(folder)
        body = f"{folder}/body"
        # bench.Small: id (field 1) and n (field 2).
        pathlib.Path(body).write_bytes(b"\0\0\0\0\x04\x0a\0\x10\x01")
        shown = ["--certificate", tls[0], "--key", tls[1]]
        subjects = {}
        if tool("wrk"):
            for name, make in (("ours", lambda port, tls: [ours, "--http", "--port", str(port)] + (shown if tls else [])),
                               ("nginx", (lambda port, tls: nginx(folder, port, tls)) if tool("nginx") else None)):
                if make:
                    subjects[("HTTP", name)] = (make, None, lambda server: wrk(server, "http"))
                    subjects[("HTTPS", name)] = (make, tls, lambda server: wrk(server, "https"))
                    subjects[("HTTPS, a handshake each", name)] = (
                        make, tls, lambda server: wrk(server, "https", "-H", "Connection: close"))
        if tool("h2load"):
            make = lambda port, tls: [ours, "--grpc", "--port", str(port)] + (shown if tls else [])
            subjects[("gRPC", "ours")] = (make, None, lambda server: h2load(server, "http", body))
            subjects[("gRPC over TLS", "ours")] = (make, tls, lambda server: h2load(server, "https", body))
        if not subjects:
            raise SystemExit("neither wrk nor h2load is there: apt-get install wrk nghttp2-client nginx-light")
        figures = {subject: [] for subject in subjects}
        for run in range(RUNS):
            for subject in list(subjects)[::-1 if run % 2 else 1]:
                make, secure, work = subjects[subject]
                port = free_port()
                with Server(make(port, secure), port) as server:
                    before = server.seconds()
                    count = work(server)
                    figures[subject].append(((server.seconds() - before) / max(count, 1) * 1e6, count / SECONDS))
        print("| what | server | CPU us each | a second |\n|---|---|---|---|")
        for (what, name), runs in figures.items():
            cpu, rate = (statistics.median(column) for column in zip(*runs))
            print(f"| {what} | {name} | {cpu:.1f} | {rate:,.0f} |")


if len(sys.argv) != 2:
    raise SystemExit(__doc__)
main(os.path.abspath(sys.argv[1]))
