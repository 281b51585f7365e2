"""Our HTTP client against servers that are real: nginx, HAProxy, Caddy, Python's http.server, and the echo."""

import email.utils
import os
import shutil
import sys

from checks import (AUTHORITY, CERTIFICATE, HTTP, HTTPS, KEY, SCRATCH, Program, attempt, check, echoed, finish, noise, port, run,
                    write)

CLIENT = os.environ["CONFORMANCE"]
MIB = noise(1_000_000)
TEXT = b"all work and no play makes jack a dull boy\n" * 20_000
os.makedirs(os.path.join(SCRATCH, "www/folder"), exist_ok=True)
for name, content in (("www/mib.bin", MIB), ("www/text.txt", TEXT), ("www/empty.txt", b""), ("www/folder/index.html", b"<p>in</p>")):
    write(name, content)


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:x}"


CHANGED = email.utils.formatdate(os.path.getmtime(os.path.join(SCRATCH, "www/mib.bin")), usegmt=True)
HASHES = {"/mib.bin": fnv(MIB), "/text.txt": fnv(TEXT)}


def ask(url, *options):
    """The lines that the client says, each split into its words."""
    out, status, errors = run(CLIENT, "http-client", f"--url={url}", f"--trusted={AUTHORITY}", *options, timeout=90)
    if status != 0:
        raise OSError(f"{status}: {out[-200:]}{errors[-300:]}")
    return [line.split(" ") for line in out.splitlines()]


def is_file(line, path, size):
    return line[:3] == ["200", str(size), HASHES[path]] or line


def files(case, base, redirects=True):
    """What every server of files does."""
    case("1 MB", lambda: is_file(ask(base + "/mib.bin")[0], "/mib.bin", len(MIB)) is True)
    case("text, compressed if the server likes", lambda: is_file(ask(base + "/text.txt")[0], "/text.txt", len(TEXT)) is True)
    case("nothing", lambda: ask(base + "/empty.txt")[0][:2] == ["200", "0"])
    case("HEAD", lambda: ask(base + "/mib.bin", "--method=HEAD")[0][:2] == ["200", "0"])
    case("404", lambda: ask(base + "/none")[0][0] == "404")
    case("a body that is too long", lambda: ask(base + "/mib.bin", "--limit=1000")[0][0] == "error")
    case("50 on one connection", lambda: {tuple(line[:1] + line[3:]) for line in ask(base + "/empty.txt", "--count=50")} == {("200", "1")})
    case("40 at once", lambda: all(
        line[:3] == ["200", str(len(MIB)), HASHES["/mib.bin"]] for line in ask(base + "/mib.bin", "--count=40", "--at-once")))
    case("304", lambda: ask(base + "/mib.bin", f"--field=If-Modified-Since:{CHANGED}")[0][0] == "304")
    if redirects:
        case("a redirect that is not followed", lambda: ask(base + "/folder")[0][0][0] == "3")
        case("a redirect that is followed", lambda: ask(base + "/folder", "--redirects=2")[0][:2] == ["200", "9"])


def named(name):
    return lambda what, work: attempt(f"{name} {what}", work)


def nginx():
    plain, secure = port(), port()
    config = write("nginx.conf", f"""
        daemon off; pid {SCRATCH}/nginx.pid; error_log {SCRATCH}/nginx-error.log; worker_processes 1;
        {'user root;' if os.getuid() == 0 else ''}
        events {{ worker_connections 1024; }}
        http {{
            access_log off; client_body_temp_path {SCRATCH}/b; proxy_temp_path {SCRATCH}/p; fastcgi_temp_path {SCRATCH}/f;
            uwsgi_temp_path {SCRATCH}/u; scgi_temp_path {SCRATCH}/s; root {SCRATCH}/www; gzip on; gzip_min_length 10;
            types {{ text/plain txt; text/html html; }} port_in_redirect on; absolute_redirect on; keepalive_timeout 60s;
            server {{
                listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl; server_name localhost;
                ssl_certificate {CERTIFICATE}; ssl_certificate_key {KEY};
                location = /dropped {{ return 444; }}
                location = /down {{ return 302 http://127.0.0.1:{plain}/empty.txt; }}
                location = /loop {{ return 302 /loop; }}
                location = /teapot {{ return 418 "short and stout"; }}
                location = /hints {{ add_header Keep-Alive "timeout=1"; return 200 "x"; }}
                location /few/ {{ alias {SCRATCH}/www/; keepalive_requests 3; }}
            }}
        }}""")
    with Program("nginx", "-p", SCRATCH, "-c", config, ready=plain):
        for name, base in (("nginx", f"http://127.0.0.1:{plain}"), ("nginx TLS", f"https://localhost:{secure}")):
            case = named(name)
            files(case, base)
            case("a server that hangs up", lambda: ask(base + "/dropped")[0][0] == "error")
            case("any status", lambda: ask(base + "/teapot")[0][:2] == ["418", "15"])
            case("a redirect without end", lambda: "more than 5" in " ".join(ask(base + "/loop", "--redirects=5")[0]))
            case("three requests a connection", lambda: all(
                line[0] == "200" for line in ask(base + "/few/empty.txt", "--count=20")))
            case("a connection that may not be kept", lambda: all(
                line[0] == "200" and line[3] in "01" for line in ask(base + "/hints", "--count=5")))
        named("nginx TLS")("no redirect to plain http", lambda: "https to http" in " ".join(
            ask(f"https://localhost:{secure}/down", "--redirects=3")[0]))
        named("nginx")("plain HTTP to a TLS port", lambda: ask(f"http://127.0.0.1:{secure}/")[0][0] == "400")
        named("nginx")("TLS to a plain port", lambda: ask(f"https://localhost:{plain}/")[0][0] == "error")


def caddy():
    plain, secure = port(), port()
    config = write("Caddyfile", f"""
{{
    admin off
    auto_https off
    persist_config off
}}
http://127.0.0.1:{plain} {{
    root * {SCRATCH}/www
    encode gzip
    file_server
}}
https://localhost:{secure} {{
    tls {CERTIFICATE} {KEY}
    root * {SCRATCH}/www
    encode gzip
    file_server
}}
""")
    with Program("caddy", "run", "--config", config, "--adapter", "caddyfile", ready=plain):
        files(named("Caddy"), f"http://127.0.0.1:{plain}")
        files(named("Caddy TLS"), f"https://localhost:{secure}")


def haproxy():
    front, secure = port(), port()
    pem = write("both.pem", open(CERTIFICATE, "rb").read() + open(KEY, "rb").read())
    config = write("haproxy.cfg", f"""
defaults
    mode http
    timeout connect 5s
    timeout client 2s
    timeout server 5s
frontend front
    bind 127.0.0.1:{front}
    bind 127.0.0.1:{secure} ssl crt {pem} alpn h2,http/1.1
    http-request return status 503 content-type text/plain string "away" if {{ path /away }}
    http-request deny deny_status 403 if {{ path /no }}
    http-request return status 200 content-type text/plain string "hello"
""")
    with Program("haproxy", "-db", "-f", config, ready=front):
        for name, base in (("HAProxy", f"http://127.0.0.1:{front}"), ("HAProxy TLS", f"https://localhost:{secure}")):
            case = named(name)
            case("GET", lambda: ask(base + "/")[0][:2] == ["200", "5"])
            case("503", lambda: ask(base + "/away")[0][:2] == ["503", "4"])
            case("403", lambda: ask(base + "/no")[0][0] == "403")
            case("100 on one connection", lambda: {line[3] for line in ask(base + "/", "--count=100")} == {"1"})
            case("POST", lambda: ask(base + "/", "--method=POST", "--body=100")[0][0] == "200")
            # It answers at once, and breaks the connection while a body is still to come.
            case("POST that is answered early", lambda: {
                line[0] for line in ask(base + "/no", "--method=POST", "--body=5000000", "--count=20")} == {"403"})


def python():
    at = port()
    with Program(os.environ["PYTHON"], "-m", "http.server", str(at), "--bind", "127.0.0.1", "--protocol", "HTTP/1.1",
                 "--directory", os.path.join(SCRATCH, "www"), ready=at):
        files(named("http.server"), f"http://127.0.0.1:{at}")
    at = port()
    with Program(os.environ["PYTHON"], "-m", "http.server", str(at), "--bind", "127.0.0.1", "--directory",
                 os.path.join(SCRATCH, "www"), ready=at):
        named("http.server of HTTP/1.0")("1 MB", lambda: is_file(ask(f"http://127.0.0.1:{at}/mib.bin")[0], "/mib.bin", len(MIB)) is True)


def echo():
    for name, base in (("the echo", f"http://127.0.0.1:{HTTP}"), ("the echo TLS", f"https://localhost:{HTTPS}")):
        case = named(name)
        case("GET", lambda: ask(base + "/")[0][0] == "200")
        case("POST of 10 MB", lambda: int(ask(base + "/", "--method=POST", "--body=10000000")[0][1]) > 10_000_000)
        for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
            case(method, lambda: ask(base + "/", f"--method={method}", "--body=10")[0][0] == "200")
        case("100 on one connection", lambda: {line[3] for line in ask(base + "/", "--count=100")} == {"1"})
        case("200 at once", lambda: len([1 for line in ask(base + "/", "--count=200", "--at-once") if line[0] == "200"]) == 200)
    named("TLS")("an address that the certificate does not have", lambda: "not accepted" in " ".join(
        ask(f"https://127.0.0.2:{HTTPS}/")[0]) or "refused" in " ".join(ask(f"https://127.0.0.2:{HTTPS}/")[0]))


echo()
python()
for program, peer in (("nginx", nginx), ("haproxy", haproxy), ("caddy", caddy)):
    if shutil.which(program):
        peer()
    else:
        print(f"skipped  {program}: not on the PATH")
finish()
