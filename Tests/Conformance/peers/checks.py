"""What the suites of HTTP's real peers share: counting, the echo's answers, programs that are started and ended, free ports."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

HTTP, HTTPS = int(os.environ["HTTP"]), int(os.environ["HTTPS"])
AUTHORITY, CERTIFICATE, KEY = (os.environ[name] for name in ("AUTHORITY", "CERTIFICATE", "KEY"))
SCRATCH = os.environ["SCRATCH"]

passed = total = 0


def check(name, condition, detail=""):
    """One case."""
    global passed, total
    total += 1
    passed += bool(condition)
    print(("ok      " if condition else "FAILED  ") + name + ("" if condition else f": {str(detail)[:400]}"), flush=True)


def attempt(name, work):
    """One case that may end in an exception; it passes if it returns something true."""
    try:
        result = work()
    except Exception as error:  # whatever a client's library may throw
        return check(name, False, f"{type(error).__name__}: {error}")
    check(name, result, result)


def finish():
    print(f"{passed}/{total}")
    sys.exit(passed != total)


def skip(remedy):
    print(remedy)
    sys.exit(77)


def need(program, remedy):
    path = shutil.which(program)
    if path is None:
        skip(remedy)
    return path


def run(*command, timeout=60, data=None):
    """What a program says, as text; its status; what it complained about."""
    done = subprocess.run(command, input=data, capture_output=True, timeout=timeout)
    return done.stdout.decode("utf-8", "replace"), done.returncode, done.stderr.decode("utf-8", "replace")


def echoed(text):
    """The request that the echo has read: its line, its fields, its body."""
    head, _, body = text.partition("\r\n\r\n")
    line, *fields = head.split("\r\n")
    return line, {name.lower(): value for name, value in (field.split(": ", 1) for field in fields if ": " in field)}, body


def port():
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def write(name, content):
    """A file in the suite's folder."""
    path = os.path.join(SCRATCH, name)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


def noise(count):
    """Bytes that look like chance and are always the same."""
    block = b"".join(hashlib.sha256(index.to_bytes(4, "big")).digest() for index in range(2048))
    return (block * (count // len(block) + 1))[:count]


class Program:
    """A server, from its start to the end of the `with`."""

    def __init__(self, *command, ready):
        self.log = open(os.path.join(SCRATCH, os.path.basename(command[0]) + ".log"), "ab")
        # Behind a proxy of the machine nobody would be asked.
        self.child = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, start_new_session=True,
            env={**os.environ, "HOME": SCRATCH, "XDG_DATA_HOME": SCRATCH, "XDG_CONFIG_HOME": SCRATCH})
        for _ in range(200):
            if self.child.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", ready), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.__exit__()
        raise SystemExit(f"{command[0]} has not come up: {open(self.log.name).read()[-500:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()
        self.log.close()
