"""WebSocket clients that people use, against the echo in the clear and over TLS: Chromium, wscat and websocat. Chromium and wscat
offer permessage-deflate."""

import os
import shutil
import subprocess

from checks import AUTHORITY, HTTP, HTTPS, attempt, check, finish, skip

PLAIN, TLS = f"ws://127.0.0.1:{HTTP}/websocket", f"wss://localhost:{HTTPS}/websocket"

# A page that no server has sent counts as one from far away, and may not open a WebSocket to this machine.
LOCAL = "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets"

# In a page: sends each message, and says by how much the echo differs, and what was agreed on.
TALK = """
async ([url, sizes, binary]) => {
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const inbox = [], takers = [];
    socket.onmessage = (event) => takers.length ? takers.shift()(event.data) : inbox.push(event.data);
    await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = () => reject(new Error("no connection")); });
    const sent = sizes.map((size) => {
        if (!binary) return "käse und mehr ☃ ".repeat(size / 16 + 1).slice(0, size);
        const bytes = new Uint8Array(size);
        for (let at = 0; at < size; at += 65536) crypto.getRandomValues(bytes.subarray(at, Math.min(size, at + 65536)));
        return bytes;
    });
    for (const message of sent) socket.send(message);
    for (const message of sent) {
        const got = inbox.length ? inbox.shift() : await new Promise((resolve) => takers.push(resolve));
        const same = binary
            ? got.byteLength === message.length && new Uint8Array(got).every((byte, at) => byte === message[at]) : got === message;
        if (!same) return `another message of ${message.length}`;
    }
    const ended = new Promise((resolve) => { socket.onclose = (event) => resolve(`${event.code} ${event.wasClean}`); });
    socket.close(3001, "thanks");
    return `${socket.extensions.split(";")[0]} ${await ended}`;
}
"""


def chromium(program):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--headless=new", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", LOCAL])
        for url in (PLAIN, TLS):
            origin = url.replace("ws", "http", 1).rsplit("/", 1)[0]
            page = browser.new_context(ignore_https_errors=True).new_page()
            page.route("**/page", lambda route: route.fulfill(content_type="text/html", body="<p>here"))
            page.goto(origin + "/page")
            for binary in (False, True):
                for name, sizes in (
                    ("nothing", [0]), ("lengths", [1, 125, 126, 127, 65_535, 65_536]), ("1,000 messages", [50] * 1000),
                    ("4 MiB", [4 << 20])):
                    said = page.evaluate(TALK, [url, sizes, binary])
                    check(
                        f"chromium {url[:3]} {'binary' if binary else 'text'} {name}",
                        said == "permessage-deflate 3001 true", said)
        browser.close()


def talk(command, lines, environment=None, say=True):
    """What a program of lines hears from the echo. It is told them, unless its command line has them."""
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(environment or {})})
    watch, heard = list(lines), []
    if say:
        child.stdin.write("".join(line + "\n" for line in lines))
        child.stdin.flush()
    for line in child.stdout:
        # A prompt, and the colours of a terminal, may stand in front.
        heard.append(line.rstrip("\n"))
        if watch and heard[-1].endswith(watch[0]):
            watch.pop(0)
        if not watch:
            break
    child.terminate()
    child.wait()
    return not watch or f"heard {[line[:80] for line in heard]}"


def wscat():
    where = next((folder for folder in os.environ["PATH"].split(":") if os.path.isdir(f"{folder}/wscat/node_modules")), None)
    program = shutil.which("wscat")
    command = ["wscat"] if program and os.path.isfile(program) else ["node", f"{where}/wscat/node_modules/wscat/bin/wscat"] if where else None
    if command is None or shutil.which("node") is None:
        return print("        without wscat: npm install -g wscat")
    lines = ["hello", "käse " * 2000, "bye"]
    for url in (PLAIN, TLS):
        full = [*command, "--no-color", "--wait", "10", *(["--ca", AUTHORITY] if url == TLS else []), "-c", url]
        attempt(f"wscat {url[:3]}", lambda: talk([*full, *(word for line in lines for word in ("-x", line))], lines, say=False))


def websocat():
    if shutil.which("websocat") is None:
        return print("        without websocat: https://github.com/vi/websocat/releases")
    for url in (PLAIN, TLS):
        attempt(
            f"websocat {url[:3]}",
            lambda: talk(["websocat", "-k", "-B", "1000000", url], ["hello", "käse " * 2000, "bye"], {"SSL_CERT_FILE": AUTHORITY}))


program = shutil.which("chromium")
try:
    import playwright  # noqa: F401
except ImportError:
    program = None
if program is None:
    skip("apt-get install chromium, and Python's playwright")
chromium(program)
wscat()
websocat()
finish()
