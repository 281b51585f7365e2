"""gunicorn's requests (tests/requests of its source distribution): good ones are read as gunicorn reads them, bad ones are refused; where
this server answers otherwise, it is said why.

Their files are not in this repository: PyPI has them, `pip download --no-deps --no-binary :all: gunicorn`.
"""

import glob
import os
import pathlib
import re
import socket

from checks import HTTP, check, finish, skip

# Good to gunicorn, and answered otherwise here: with which status, and why.
OTHERWISE = {
    "005": (400, "a fragment is no part of a request's target (RFC 9112 §3.2)"),
    "024": (431, "its head is larger than 16 KiB"),
    **dict.fromkeys(
        ["025", "025_line", "029", "030", "rfc9112_smuggle_gzip_chunked_01", "rfc9112_smuggle_te_identity_chunked_01"],
        (501, "no transfer coding is understood but chunked")),
    "028": (400, "a space in front of a colon (RFC 9112 §5.1)"),
    **dict.fromkeys(["031", "031compat", "031compat2"], (501, "nobody knows the method")),
    **dict.fromkeys(["compat_obs_fold", "compat_obs_fold_huge"], (400, "a folded field (RFC 9112 §5.2)")),
    **dict.fromkeys(["pp_01", "pp_02", "pp_04", "pp_05"], (400, "the PROXY protocol is not spoken")),
    "rfc9112_target_absolute_userinfo_01": (400, "user information in the target (RFC 9110 §4.2.4)"),
    **dict.fromkeys(["rfc9112_target_authority_connect_01", "rfc9112_target_authority_ipv6_01"], (501, "no CONNECT")),
    "rfc9112_target_asterisk_options_01": (204, "the server itself answers"),
    "040": (200, "fields with underscores are fields like others: nobody makes variables of them"),
    "099": (None, "its body is shorter than its Content-Length says, and waited for"),
}
# Bad to gunicorn, and served here.
SERVED = {
    **dict.fromkeys(["006", "007", "008", "010", "011", "012", "017", "limit_header_default_01"], "its limits are smaller"),
    "019": "fields of proxies are believed only where they are trusted",
    **dict.fromkeys(["040", "chunked_07"], "fields with underscores are fields like others"),
    "041": "a repeated Content-Type is the handler's affair",
    **dict.fromkeys(
        ["rfc9110_trailer_forbidden_cl_01", "rfc9110_trailer_forbidden_host_01", "rfc9110_trailer_forbidden_te_01"],
        "trailer fields are dropped, and so have no effect (RFC 9110 §6.5.1)"),
    "rfc9112_leading_crlf_02": "two empty lines in front are read over (RFC 9112 §2.2)",
}
# A Host that is added to what their bodies contain would make them longer.
AS_THEY_ARE = {"020"}


def folder():
    places = [os.environ.get("GUNICORN_SOURCE", ""), *glob.glob(f"{os.environ['REPOSITORY']}/.build/gunicorn-*")]
    for place in places:
        if place and os.path.isdir(f"{place}/tests/requests/valid"):
            return pathlib.Path(place) / "tests/requests"
    skip("(cd .build && pip download --no-deps --no-binary :all: gunicorn && tar xzf gunicorn-*.tar.gz)")


def wire(text):
    """The bytes of a file of the corpus: line ends stand for nothing, escapes for what they say."""
    text = text.replace(b"\n", b"").replace(b"\\r\\n", b"\r\n").replace(b"\\0", b"\0").replace(b"\\n", b"\n").replace(b"\\t", b"\t")
    return re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), text)


class StandIn:
    """For gunicorn's errors, which are only named, and its settings, which are only set."""

    def __call__(self, *_):
        return self

    def set(self, *_):
        pass


def expectation(path):
    """What a case's Python file says: its module's names. The errors that it imports from gunicorn are stand-ins."""
    module = {"uri": lambda text: text, "cfg": StandIn()}
    source = re.sub(r"^(from|import) .*$", "", path.read_text(), flags=re.M)
    exec(compile(source, str(path), "exec"), Names(module))
    return module


class Names(dict):
    def __init__(self, module):
        super().__init__(module)
        self.module = module

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        self.module[name] = value

    def __missing__(self, name):
        if hasattr(__builtins__, name):
            raise KeyError(name)
        return StandIn()


def with_hosts(data):
    """RFC 9112 §3.2 wants a Host where gunicorn does without: it is added, so that the case is about what it is about."""
    def add(found):
        head = data[found.end():].split(b"\r\n\r\n")[0]
        return found[0] if re.search(rb"(?im)^host *:", head) else found[0] + b"Host: added\r\n"

    return re.sub(rb"(?m)^[!-~]+ [^\r\n]+ HTTP/1\.1\r\n", add, data)


def ask(data):
    """All that comes until the server closes, after this side has said everything."""
    with socket.create_connection(("127.0.0.1", HTTP), timeout=10) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        heard = b""
        while True:
            try:
                piece = connection.recv(1 << 16)
            except ConnectionResetError:
                break
            if not piece:
                break
            heard += piece
        return heard


def answers(heard):
    """Statuses with bodies."""
    found = []
    while heard.startswith(b"HTTP/1.1 "):
        status = int(heard[9:12])
        head, _, rest = heard.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        count = int(length[1]) if length else 0
        if status >= 200:
            found.append((status, rest[:count]))
        heard = rest[count:] if status >= 200 else rest
    return found


def same(request, answer):
    """Whether the echo says what the case expects."""
    status, body = answer
    if status != 200:
        return False
    head, _, content = body.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    method, target, version = line.split(b" ")
    wanted = request["body"] if isinstance(request["body"], bytes) else request["body"].encode("latin1")
    names = [(name.upper(), value.strip()) for name, value in (field.decode("latin1").split(":", 1) for field in fields)]
    expected = [(name.upper(), value.strip()) for name, value in request["headers"]]
    trailers = {name for name, _ in request.get("trailers", [])}
    return (method.decode() == request["method"] and target.decode("latin1") == request["uri"]
            and version == (b"HTTP/1.%d" % request["version"][1]) and content == wanted
            and [pair for pair in names if pair != ("HOST", "added")] == [pair for pair in expected if pair[0] not in trailers])


def main():
    corpus = folder()
    print(f"{corpus}")
    for path in sorted((corpus / "valid").glob("*.http")):
        case = expectation(path.with_suffix(".py"))
        requests = case["request"] if isinstance(case["request"], list) else [case["request"]]
        data = wire(path.read_bytes())
        found = answers(ask(data if path.stem in AS_THEY_ARE else with_hosts(data)))
        name = f"valid/{path.stem}"
        if path.stem in OTHERWISE:
            status, why = OTHERWISE[path.stem]
            check(f"{name}: {status or 'no answer'}: {why}", [one for one, _ in found] == ([status] if status else []), found)
        else:
            check(name, len(found) == len(requests) and all(map(same, requests, found)), f"{found} for {requests}")
    for path in sorted((corpus / "invalid").glob("*.http")):
        found = answers(ask(with_hosts(wire(path.read_bytes()))))
        name = f"invalid/{path.stem}"
        if path.stem in SERVED:
            check(f"{name}: served: {SERVED[path.stem]}", found and found[0][0] == 200, found)
        else:
            # What is not complete has no answer.
            check(name, all(status >= 400 for status, _ in found), found)
    finish()


main()
