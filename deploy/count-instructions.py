#!/usr/bin/env python3
"""Counts the instructions that the hot paths cost, by callgrind: figures that another process on the machine cannot disturb.

    deploy/count-instructions.py BENCHMARKS [BENCHMARKS OF ANOTHER COMMIT]
    deploy/count-instructions.py --only "unary call" ...      some of them: a part of a name
    deploy/count-instructions.py --functions ...              by function, too
    deploy/count-instructions.py --access CABSTAND            what requests cost the all-in-one program, with and without
                                                              access control, by service; one table, no comparison

Each is measured with N and with 2N operations; the difference, divided by N, is the cost of one without the program's start.
A table of both programs and the difference in percent; the exit code is 1 if one costs more than 2 % more than before. Needs
valgrind; only connections on the loopback interface.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ALLOWED = 2.0  # percent


# Peers: each does `count` operations with a server on `port`, `batch` at a time, and returns when all are answered.


def connect(port):
    for _ in range(600):
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError:
            time.sleep(0.1)
    sys.exit("the server does not listen")


def receive(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            sys.exit("the server has closed")
        data += part
    return data


def http_get(port, count, batch):
    connection = connect(port)
    head = b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: count/1.0\r\nAccept: */*\r\n\r\n"
    connection.sendall(head)
    answer = connection.recv(65536)
    for _ in range(count // batch):
        connection.sendall(head * batch)
        receive(connection, len(answer) * batch)


def upgrade(port, path):
    connection = connect(port)
    connection.sendall(
        b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(4096)
    return connection


def masked(text):
    key = b"\x11\x22\x33\x44"
    return bytes([0x81, 0x80 | len(text)]) + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(text))


def echo(port, count, batch):
    connection = upgrade(port, b"/echo")
    frame = masked(b"x" * 100)
    for _ in range(count // batch):
        connection.sendall(frame * batch)
        receive(connection, (2 + 100) * batch)


SUBSCRIBERS = 50


def subscribers(port, count, batch):
    connections = [upgrade(port, b"/sub") for _ in range(SUBSCRIBERS)]
    publisher = upgrade(port, b"/pub")
    frame = masked(b"x" * 100)
    for _ in range(count // SUBSCRIBERS // batch):
        publisher.sendall(frame * batch)
        for connection in connections:
            receive(connection, (2 + 100) * batch)


def unary(port, count, batch):
    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def literal(name, value):
        return bytes([0x40 | name, len(value)]) + value

    first = (
        b"\x83\x86" + literal(4, b"/bench.Echo/Unary") + literal(1, b"localhost:50051")
        + literal(31, b"application/grpc") + b"\x40\x02te\x08trailers"
    )  # fmt: skip
    later = b"\x83\x86\xc1\xc0\xbf\xbe"
    body = b"\x00\x00\x00\x00\x08\x0a\x04abcd\x10\x07"
    connection = connect(port)
    window = frame(8, 0, 0, (2**31 - 1 - 65535).to_bytes(4, "big"))
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + window + frame(4, 1, 0, b""))
    stream, done, buffer = 1, 0, b""
    while done < count:
        wanted = done + (batch if stream > 1 else 1)
        calls = b""
        for _ in range(wanted - done):
            calls += frame(1, 4, stream, first if stream == 1 else later) + frame(0, 1, stream, body)
            stream += 2
        connection.sendall(calls)
        while done < wanted:
            buffer += connection.recv(65536)
            while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
                kind, flags = buffer[3], buffer[4]
                if kind in (3, 7):
                    sys.exit("the server does not answer calls")
                done += kind == 1 and flags & 1
                buffer = buffer[9 + int.from_bytes(buffer[:3], "big") :]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait()


class Program:
    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = folder

    def start(self, *arguments):
        """Under callgrind."""
        profile = os.path.join(self.folder, "profile")
        return subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + profile, self.binary, *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def profile(self):
        """Instructions by function."""
        profile = os.path.join(self.folder, "profile")
        listing = subprocess.run(
            ["callgrind_annotate", "--threshold=100", "--show-percs=no", "--auto=no", "--tree=none", profile],
            capture_output=True,
            text=True,
        ).stdout
        functions = {}
        for line in listing.splitlines():
            match = re.match(r"\s*([\d,]+)\s+(\S.*)$", line)
            if match:
                name = match.group(2)
                if "PROGRAM TOTALS" in name:
                    name = "TOTAL"
                name = re.sub(r"'\d+$", "", re.sub(r"^[^\s:]*:", "", re.sub(r"\s*\[.*\]$", "", name)))
                functions[name] = functions.get(name, 0) + int(match.group(1).replace(",", ""))
        return functions

    def served(self, mode, peer, count, batch):
        port = free_port()
        server = self.start(mode, "--port", str(port))
        try:
            peer(port, count, batch)
        finally:
            stop(server)
        return self.profile()

    def calls(self, count):
        port = free_port()
        server = subprocess.Popen([self.binary, "--grpc", "--port", str(port)])
        try:
            connect(port).close()
            self.start("--calls", str(count), "--port", str(port)).wait()
        finally:
            stop(server)
        return self.profile()

    def streams(self, count):
        self.start("--streams", str(count)).wait()
        return self.profile()


SUBJECTS = {
    "HTTP GET, one at a time": (2000, lambda p, n: p.served("--http", http_get, n, 1)),
    "HTTP GET, 16 in a burst": (3200, lambda p, n: p.served("--http", http_get, n, 16)),
    "WebSocket echo, one at a time": (2000, lambda p, n: p.served("--ws", echo, n, 1)),
    "WebSocket echo, 16 in a burst": (3200, lambda p, n: p.served("--ws", echo, n, 16)),
    "subscriber's frame, one at a time": (40000, lambda p, n: p.served("--ws", subscribers, n, 1)),
    "unary call, server, one at a time": (2000, lambda p, n: p.served("--grpc", unary, n, 1)),
    "unary call, server, 10 in a burst": (3000, lambda p, n: p.served("--grpc", unary, n, 10)),
    "unary call, client": (2000, lambda p, n: p.calls(n)),
    "HTTP/2 engine, client and server": (2000, lambda p, n: p.streams(n)),
}


def measure(binary, name):
    count, work = SUBJECTS[name]
    with tempfile.TemporaryDirectory() as folder:
        program = Program(binary, folder)
        once, twice = work(program, count), work(program, 2 * count)
    return {function: (total - once.get(function, 0)) / count for function, total in twice.items()}


# The all-in-one program.


class Cabstand:
    """Under callgrind, a loop for each service; its threads are counted apart, so that Kafka's are left out."""

    # What the functions of only one service's thread have in their names.
    SERVICES = {"gateway": "14GatewayService", "driver": "13DriverService", "trip": "11TripService"}

    def __init__(self, binary, folder, access):
        self.profile = os.path.join(folder, "profile")
        self.port = free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "CABSTAND_AUTH": "required" if access else "off",
            "CABSTAND_BIND": "127.0.0.1",
            "CABSTAND_HTTP_PORT": str(self.port),
            "CABSTAND_DRIVER_SERVICE": f"127.0.0.1:{free_port()}",
            "CABSTAND_TRIP_SERVICE": f"127.0.0.1:{free_port()}",
            "CABSTAND_DATABASE_URL": f"sqlite:{folder}/data",
            "CABSTAND_PUBLIC_DIR": os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "public"),
            "CABSTAND_PUBLIC_LISTS": "on",
            "CABSTAND_EVENT_LOOPS": "1",
            "CABSTAND_DRIVER_TTL_S": "86400",
            "CABSTAND_LOG_LEVEL": "error",
        }
        if access:
            # Asked, but not reached.
            self.environment["CABSTAND_RATE_LIMIT"] = ",".join(
                f"{name}=1000000/s" for name in ("booking", "read", "write", "connect", "token"))
        else:
            del self.environment["CABSTAND_PUBLIC_LISTS"]
        self.binary, self.folder = binary, folder
        self.process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + self.profile, "--separate-threads=yes", binary],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(300):
            try:
                if self.ask(b"GET", "/readyz", close=True)[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.2)
        else:
            sys.exit("the program is not ready")
        self.connection = connect(self.port)

    def token(self, role, subject):
        command = [self.binary, "token", "--role", role, "--subject", subject, "--ttl", "1h"]
        key = ["--auth-key", f"{self.folder}/data/auth-key.pem"]
        return subprocess.run(command + key, env=self.environment, capture_output=True, check=True).stdout.strip()

    def ask(self, method, target, token=None, body=None, close=False):
        """Status and body of the answer."""
        head = method + b" " + target.encode() + b" HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: count/1.0\r\n"
        if token:
            head += b"Authorization: Bearer " + token + b"\r\n"
        if body is not None:
            head += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        connection = connect(self.port) if close else self.connection
        connection.sendall(head + b"\r\n" + (body or b""))
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = connection.recv(65536)
            if not part:
                sys.exit("the server has closed")
            answer += part
        head, rest = answer.split(b"\r\n\r\n", 1)
        length = re.search(rb"(?i)\ncontent-length: (\d+)", head)
        length = int(length[1]) if length else 0
        rest += receive(connection, length - len(rest))
        return int(head[9:12]), rest

    def demand(self, *request):
        status, body = self.ask(*request)
        if status not in (200, 201):
            sys.exit(f"{request[:2]} is answered with {status}: {body.decode()}")

    def count(self, prepare, role, count):
        """Instructions of one, by service."""
        before = count // 5
        work = prepare(self, role, before + count)
        for number in range(before):
            work(number)
        self.dump()
        for number in range(before, before + count):
            work(number)
        self.dump()
        totals = dict.fromkeys(self.SERVICES, 0)
        for file in os.listdir(self.folder):
            if not file.startswith("profile.2-"):
                continue
            with open(os.path.join(self.folder, file)) as profile:
                text = profile.read()
            total = int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1])
            for service, name in self.SERVICES.items():
                if name in text and total > totals[service]:
                    totals[service] = total
        return {service: total / count for service, total in totals.items()}

    def dump(self):
        subprocess.run(["callgrind_control", "-d", str(self.process.pid)], capture_output=True, check=True)


def asks(target, status):
    """What asks for something again and again."""
    def prepare(program, role, _):
        token = role and program.token(role, "rita")

        def work(_):
            got, body = program.ask(b"GET", target, token)
            if got != status:
                sys.exit(f"{target} is answered with {got}: {body.decode()}")
        return work
    return prepare


def books(program, role, count):
    """Each time another rider books another car, which nobody else can have any more."""
    operator = role and program.token("operator", "olga")
    riders = [f"rider-{number}" for number in range(count)]
    tokens = [role and program.token(role, rider) for rider in riders]
    for number in range(count):
        car = (
            f'{{"id":"car-{number}","name":"Ada L.","lat":52.52,"lon":13.405,"vehicle":{{"make":"Skoda","model":"Octavia",'
            f'"color":"grey","plate":"B-RD {number}","category":"standard"}}}}')
        program.demand(b"POST", "/drivers", operator, car.encode())
        program.demand(b"PATCH", f"/drivers/car-{number}/status", operator, b'{"status":"available"}')
        # Their token is known everywhere.
        for target in "/drivers/available?limit=1", "/trips?page_size=1":
            program.demand(b"GET", target, tokens[number])

    def work(number):
        rider = "" if role else f'"rider_id":"{riders[number]}",'
        trip = (
            f'{{{rider}"driver_id":"car-{number}","pickup":{{"lat":52.52,"lon":13.405}},'
            f'"dropoff":{{"lat":52.5,"lon":13.4}}}}')
        program.demand(b"POST", "/trips", tokens[number], trip.encode())
    return work


# How often, and what.
REQUESTS = {
    "GET that the gateway answers": (2000, asks("/drivers/available?limit=x", 400)),
    "GET /drivers/available": (2000, asks("/drivers/available?limit=1", 200)),
    "POST /trips": (100, books),
}


def show_access(binary, only):
    print("| instructions of one | access | gateway | driver | trip | together | |\n|---|---|---|---|---|---|---|")
    for name, (count, prepare) in REQUESTS.items():
        if only not in name:
            continue
        without = None
        for access, role in ("off", None), ("nobody", None), ("rider", "rider"):
            if prepare is books and access == "nobody":
                continue
            with tempfile.TemporaryDirectory() as folder:
                program = Cabstand(binary, folder, access != "off")
                try:
                    costs = program.count(prepare, role, count)
                finally:
                    stop(program.process)
            together = sum(costs.values())
            without = without or together
            figures = " | ".join(f"{cost:,.0f}" for cost in [*costs.values(), together])
            print(f"| {name} | {access} | {figures} | {together - without:+,.0f} |", flush=True)


def demangled(names):
    if not shutil.which("swift"):
        return names
    out = subprocess.run(
        ["swift", "demangle", "-compact", "-simplified"], input="\n".join(names), capture_output=True, text=True
    )
    return out.stdout.splitlines()


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("binaries", nargs="+")
    parser.add_argument("--only", default="")
    parser.add_argument("--functions", action="store_true")
    parser.add_argument("--access", action="store_true")
    options = parser.parse_args()
    if options.access:
        return show_access(options.binaries[0], options.only)
    worst = 0.0
    print("| instructions of one | " + " | ".join(options.binaries[1:] + options.binaries[:1]) + " | |")
    print("|---" * (len(options.binaries) + 1) + "|---|")
    for name in SUBJECTS:
        if options.only not in name:
            continue
        costs = [measure(binary, name) for binary in options.binaries]
        totals = [cost["TOTAL"] for cost in costs]
        change = (totals[0] / totals[-1] - 1) * 100
        worst = max(worst, change)
        figures = " | ".join(f"{total:,.0f}" for total in totals[1:] + totals[:1])
        print(f"| {name} | {figures} | {change:+.1f} % |", flush=True)
        if options.functions:
            functions = sorted(set().union(*costs), key=lambda f: abs(costs[0].get(f, 0) - costs[-1].get(f, 0)))[::-1]
            functions = [f for f in functions if max(abs(cost.get(f, 0)) for cost in costs) >= 1]
            for function, title in zip(functions, demangled(functions)):
                figures = [cost.get(function, 0) for cost in costs[1:] + costs[:1]]
                print("    " + " ".join(f"{figure:9.1f}" for figure in figures) + "  " + title[:140])
    return worst > ALLOWED


if __name__ == "__main__":
    sys.exit(main())
