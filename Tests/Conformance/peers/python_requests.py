"""python-requests against the echo, in the clear and over TLS."""

import os

from checks import AUTHORITY, HTTP, HTTPS, attempt, echoed, finish, noise, skip

try:
    import requests
except ImportError:
    skip(f"{os.environ['PYTHON']} -m pip install requests")

BIG = noise(10_000_000)


def pieces():
    for start in range(0, len(BIG), 70_001):
        yield BIG[start:start + 70_001]


def cases(base):
    session = requests.Session()
    session.verify = AUTHORITY
    session.trust_env = False

    def case(name, work):
        attempt(f"{base.split(':')[0]} {name}", work)

    def ask(method, **more):
        response = session.request(method, base + "/a", timeout=30, **more)
        response.raise_for_status()
        return response

    for method in ("GET", "DELETE", "OPTIONS", "PATCH", "POST", "PUT"):
        case(method, lambda: echoed(ask(method).text)[0] == f"{method} /a HTTP/1.1")
    case("HEAD", lambda: ask("HEAD").content == b"" and int(ask("HEAD").headers["content-length"]) > 0)
    case("JSON", lambda: echoed(ask("POST", json={"a": "é"}).text)[1]["content-type"] == "application/json")
    case("10 MB", lambda: ask("POST", data=BIG).content.endswith(BIG))
    case("10 MB in chunks", lambda: ask("POST", data=pieces()).content.endswith(BIG))
    case("a stream of the answer", lambda: sum(map(len, ask("PUT", data=BIG, stream=True).iter_content(1000))) > len(BIG))
    case("files", lambda: b"name=\"f\"" in ask("POST", files={"f": ("n", b"x" * 100_000)}).content)
    case("parameters", lambda: echoed(ask("GET", params={"q": "a b&c"}).text)[0] == "GET /a?q=a+b%26c HTTP/1.1")
    case("cookies and credentials", lambda: echoed(ask("GET", cookies={"a": "b"}, auth=("u", "p")).text)[1]["cookie"] == "a=b")
    case("100 on one connection", lambda: one_connection(session, base))


def one_connection(session, base):
    with session.get(base, stream=True, timeout=30) as response:
        response.content
    pool = session.get_adapter(base).poolmanager.connection_from_url(base)
    before = pool.num_connections
    for _ in range(100):
        session.get(base + "/x", timeout=30).raise_for_status()
    return pool.num_connections == before


cases(f"http://127.0.0.1:{HTTP}")
cases(f"https://localhost:{HTTPS}")
finish()
