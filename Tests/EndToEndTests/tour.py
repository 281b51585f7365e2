"""Runs the console blocks of the README and compares what they print.

    tour.py README HTTP_PORT DRIVER_PORT TRIP_PORT KAFKA [TOOLS]

All commands run in one bash, in order. Identifiers and instants are normalised on both sides. TOOLS is the folder of the
unpacked test tools, for grpcurl and wscat.
"""

import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile

MARK = "--- end of a command of the tour ---"


def commands(text):
    """[(command, expected lines)] of every block marked `console`."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.startswith("> "):
                found[-1] = (found[-1][0] + "\n" + line[2:], found[-1][1])
            else:
                found[-1][1].append(line)
    return found


def normalised(line):
    line = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "ID", line)
    return re.sub(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", "INSTANT", line)


readme, http, driver, trip, kafka = sys.argv[1:6]
tools = sys.argv[6] if len(sys.argv) > 6 else ""

with tempfile.TemporaryDirectory() as shims:
    if not shutil.which("wscat") and os.path.isdir(f"{tools}/wscat"):
        with open(f"{shims}/wscat", "w") as file:
            file.write(f'#!/bin/sh\nexec node "{tools}/wscat/node_modules/wscat/bin/wscat" "$@"\n')
        os.chmod(f"{shims}/wscat", 0o755)
    path = os.pathsep.join([shims, os.environ["PATH"], tools])

    def missing(command):
        names = [name for name in ("wscat", "grpcurl", "kcat", "jq", "curl") if re.search(rf"\b{name}\b", command)]
        return [name for name in names if not shutil.which(name, path=path)]

    todo = []
    for command, expected in commands(open(readme, encoding="utf-8").read()):
        absent = missing(command)
        if absent:
            print(f"skipped, {absent[0]} is missing: {command.splitlines()[0]}")
        else:
            todo.append((command, expected))

    def real(command):
        for ours, theirs in (("8080", http), ("50051", driver), ("50052", trip)):
            command = command.replace(f"localhost:{ours}", f"127.0.0.1:{theirs}")
        return command

    # At a person's pace: what a step causes elsewhere (an event, a status) has happened before the next one asks for it.
    script = "".join(f"{real(command)}\necho '{MARK}'; sleep 0.5\n" for command, _ in todo)
    # wscat without a terminal ends with its input, so the input is a pipe that stays open.
    reading, writing = os.pipe()
    run = subprocess.run(
        ["bash", "-c", script], stdin=reading, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PATH": path, "KAFKA": kafka})
    os.close(writing)

printed = run.stdout.split(MARK + "\n")
failed = 0
for (command, expected), text in zip(todo, printed):
    want = [normalised(line) for line in expected]
    got = [normalised(line) for line in text.splitlines()]
    print(("ok: " if want == got else "DIFFERS: ") + command.splitlines()[0])
    if want != got:
        failed += 1
        print("\n".join(difflib.unified_diff(want, got, "README", "printed", lineterm="")))
if failed or len(printed) <= len(todo) - 1 or not todo:
    sys.exit(f"{failed} of {len(todo)} commands differ\n{run.stderr}")
print(f"{len(todo)} commands print what the README says")
