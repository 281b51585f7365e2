#!/usr/bin/env python3
"""Counts the public declarations of the libraries that have no doc comment, from the symbol graphs of a build: there are none.

A declaration is documented by its own comment or, where it meets a requirement or overrides something, by that one's. Generated code and
the names of associated types that a type fills in are left out.

    deploy/check-docs.py FOLDER WITH A BUILD            (what `swift build --show-bin-path` prints)
    deploy/check-docs.py FOLDER WITH A BUILD GRAPHS     leaves the symbol graphs in GRAPHS/ROOM, for deploy/docs.sh
"""

import json
import pathlib
import subprocess
import sys
import tempfile

# The products and the rooms that their interfaces show: those of Package.swift's `libraries`.
ROOMS = ("Basics Bytes Memory Reactor HTTP1 WebSockets ProtobufWire JSONWire Telemetry HTTPServer HTTPClient WebSocketServer GRPCRuntime "
         "KafkaClient").split()

repository = pathlib.Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"


def extract(room, products, folder):
    """Writes the symbol graphs of a room to `folder`."""
    maps = [f"-fmodule-map-file={path}" for path in sorted((repository / "Sources").glob("C*/module.modulemap"))]
    command = ["swift", "symbolgraph-extract", "-module-name", room, "-target", TARGET, "-I", f"{products}/Modules",
               "-output-dir", folder, "-minimum-access-level", "public", "-skip-synthesized-members"]
    for path in maps:
        command += ["-Xcc", path]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"no symbol graph of {room}: {done.stdout}{done.stderr}")


def undocumented(folder):
    """The places of public declarations without a doc comment, and how many declarations there are."""
    missing, count = set(), 0
    graphs = [json.loads(path.read_text()) for path in sorted(pathlib.Path(folder).glob("*/*.symbols.json"))]
    symbols = [symbol for graph in graphs for symbol in graph["symbols"]]
    associated = {s["pathComponents"][-1] for s in symbols if s["kind"]["identifier"] == "swift.associatedtype"}
    for symbol in symbols:
        place = symbol.get("location")
        if not place or "/Generated/" in place["uri"]:
            continue
        if symbol["kind"]["identifier"] == "swift.typealias" and symbol["pathComponents"][-1] in associated:
            continue
        count += 1
        if "docComment" not in symbol:
            path = pathlib.Path(place["uri"].removeprefix("file://")).relative_to(repository)
            missing.add(f"{path}:{place['position']['line'] + 1}: {'.'.join(symbol['pathComponents'])}")
    return sorted(missing), count


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as temporary:
        graphs = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else temporary)
        for room in ROOMS:
            (graphs / room).mkdir(parents=True, exist_ok=True)
            extract(room, sys.argv[1], graphs / room)
        missing, count = undocumented(graphs)
    for line in missing:
        print(f"{line} has no doc comment", file=sys.stderr)
    if missing:
        sys.exit(f"{len(missing)} public declaration(s) of the libraries without a doc comment")
    print(f"doc comments: {count} public declarations of {len(ROOMS)} rooms, each with one")


if __name__ == "__main__":
    main()
