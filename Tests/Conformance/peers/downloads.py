"""wget or aria2 (the first argument) against the echo, in the clear and over TLS."""

import os
import sys

from checks import AUTHORITY, HTTP, HTTPS, SCRATCH, attempt, echoed, finish, need, noise, run, write

tool = sys.argv[1]
need({"wget": "wget", "aria2": "aria2c"}[tool], f"apt-get install {tool}")
BIG = write("big", noise(3_000_000))


def wget(*arguments):
    out, status, errors = run("wget", "-q", "-O", "-", "--timeout=20", "--tries=1", f"--ca-certificate={AUTHORITY}", *arguments)
    if status != 0:
        raise OSError(f"wget ended with {status}: {errors[-300:]}")
    return out


def aria2(*arguments):
    out, status, errors = run(
        "aria2c", "--no-conf", "-q", "--allow-overwrite=true", "--remove-control-file=true", "--auto-file-renaming=false", "-d", SCRATCH, "-o", "got",
        f"--ca-certificate={AUTHORITY}", "--timeout=20", "--max-tries=1", *arguments)
    if status != 0:
        raise OSError(f"aria2c ended with {status}: {out[-300:]}{errors[-300:]}")
    with open(os.path.join(SCRATCH, "got"), encoding="utf-8", newline="") as file:
        return file.read()


def cases_wget(base, case):
    case("GET", lambda: echoed(wget(base + "/a?b=c"))[0] == "GET /a?b=c HTTP/1.1")
    case("HEAD", lambda: wget("--spider", base + "/") == "")
    case("POST", lambda: echoed(wget("--post-data=a=b", base + "/"))[2] == "a=b")
    case("PUT of 3 MB", lambda: len(wget("--method=PUT", f"--body-file={BIG}", base + "/")) > 2_000_000)
    case("several on one connection", lambda: wget(*[f"{base}/{n}" for n in range(20)]).count("HTTP/1.1\r\n") == 20)
    case("without keep-alive", lambda: "close" in echoed(wget("--no-http-keep-alive", base + "/"))[1]["connection"].lower())
    case("fields", lambda: echoed(wget("--header=X-A: b c", base + "/"))[1]["x-a"] == "b c")


def cases_aria2(base, case):
    case("GET", lambda: echoed(aria2(base + "/a?b=c"))[0] == "GET /a?b=c HTTP/1.1")
    case("four connections to what has no ranges", lambda: "GET /x " in aria2("-x4", "-s4", "-k1M", base + "/x"))
    case("fields", lambda: echoed(aria2("--header=X-A: b c", base + "/"))[1]["x-a"] == "b c")
    case("gzip is offered", lambda: "gzip" in echoed(aria2("--http-accept-gzip=true", base + "/"))[1]["accept-encoding"])


for base in (f"http://127.0.0.1:{HTTP}", f"https://localhost:{HTTPS}"):
    scheme = base.split(":")[0]
    (cases_wget if tool == "wget" else cases_aria2)(base, lambda name, work: attempt(f"{scheme} {name}", work))
finish()
