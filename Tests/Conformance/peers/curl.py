"""curl against the echo, in the clear and over TLS."""

import re

from checks import AUTHORITY, HTTP, HTTPS, attempt, check, echoed, finish, need, noise, run, write

need("curl", "apt-get install curl")
BIG = write("big", noise(5_000_000))
MIB16 = write("largest", noise(16 << 20))


def curl(*arguments):
    out, status, errors = run("curl", "-sS", "--max-time", "60", "--cacert", AUTHORITY, *arguments)
    if status != 0:
        raise OSError(f"curl ended with {status}: {errors[-300:]}")
    return out


def status(*arguments):
    return curl("-o", "/dev/null", "-w", "%{http_code} %{http_version}", *arguments)


def cases(base):
    def case(name, work):
        attempt(f"{base.split(':')[0]} {name}", work)

    case("GET", lambda: echoed(curl(base + "/a?b=c#d"))[0] == "GET /a?b=c HTTP/1.1")
    case("HEAD", lambda: curl("-I", base + "/").startswith("HTTP/1.1 200 "))
    case("HTTP/1.0", lambda: echoed(curl("-0", base + "/"))[0] == "GET / HTTP/1.0")
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        case(method, lambda: echoed(curl("-X", method, "-d", "body", base + "/"))[0].startswith(method + " / "))
    case("OPTIONS *", lambda: status("-X", "OPTIONS", "--request-target", "*", base + "/").startswith("2"))
    case("absolute form", lambda: echoed(curl("--request-target", "http://other/x", base + "/"))[0] == "GET http://other/x HTTP/1.1")
    case("POST of a form", lambda: echoed(curl("-d", "a=b&c=d", base + "/"))[2] == "a=b&c=d")
    case("POST of several parts", lambda: "filename=\"big\"" in curl("-F", f"file=@{BIG};filename=big", base + "/")[:2000])
    case("PUT of 5 MB", lambda: len(curl("-T", BIG, base + "/")) > 5_000_000 * 0.9)
    case("the same bytes come back", lambda: same(base, BIG))
    case("16 MiB", lambda: same(base, MIB16))
    case("more than the limit is 413", lambda: status("-d", "x", "-H", "Content-Length: 99999999", "-X", "POST", base + "/") .startswith("413"))
    case("chunks", lambda: same(base, BIG, "-H", "Transfer-Encoding: chunked"))
    case("100-continue", lambda: "HTTP/1.1 100" in verbose("-H", "Expect: 100-continue", "-T", BIG, base + "/"))
    case("another expectation is 417", lambda: status("-H", "Expect: wonders", base + "/").startswith("417"))
    case("no Upgrade to h2c", lambda: status("--http2", base + "/") == "200 1.1")
    case("200 requests on one connection", lambda: connections(base + "/[1-200]", 200) == 1)
    case("a method that nobody knows", lambda: status("-X", "FROBNICATE", base + "/")[0] in "25")
    case("8 KB of a field", lambda: status("-H", "X: " + "y" * 8000, base + "/").startswith("200"))
    case("20 KB of fields are 431", lambda: status("-H", "X: " + "y" * 20_000, base + "/").startswith("431"))
    case("9 KB of a target are 414", lambda: status(base + "/" + "y" * 9000).startswith("414"))
    case("compressed is understood", lambda: status("--compressed", base + "/").startswith("200"))
    case("a range is left out", lambda: status("-r", "0-4", base + "/").startswith("200"))
    case("WebSocket", lambda: "101" in verbose(
        "--no-buffer", "--max-time", "2", "--http1.1", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket",
        "-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: SGVsbG8sIHdvcmxkISEhIQ==", base + "/websocket"))
    case("100 at once", lambda: curl("--parallel", "--parallel-max", "100", "-o", "/dev/null", "-w", "%{http_code}\n",
                                     base + "/[1-300]").split() == ["200"] * 300)


def same(base, path, *more):
    """Whether a body comes back as it went."""
    out = write("answer", "")
    curl(*more, "-H", "Expect:", "--data-binary", f"@{path}", "-o", out, base + "/")
    with open(out, "rb") as answer, open(path, "rb") as file:
        return answer.read().partition(b"\r\n\r\n")[2] == file.read()


def verbose(*arguments):
    return run("curl", "-svo", "/dev/null", "--max-time", "60", "--cacert", AUTHORITY, *arguments)[2]


def connections(url, count):
    said = curl("-o", "/dev/null", "-w", "%{num_connects} %{http_code}\n", url).split("\n")[:count]
    if any(not line.endswith(" 200") for line in said):
        raise OSError(str(said[:3]))
    return sum(int(line.split(" ")[0]) for line in said)


cases(f"http://127.0.0.1:{HTTP}")
cases(f"https://localhost:{HTTPS}")
for version in ("1.2", "1.3"):
    attempt(f"TLS {version}", lambda: status(
        "--tlsv" + version, "--tls-max", version, f"https://localhost:{HTTPS}/").startswith("200"))
out, code, errors = run("curl", "-sS", "--max-time", "20", f"https://localhost:{HTTPS}/")
check("an authority that curl does not know is refused", code == 60, f"{code} {errors}")
finish()
