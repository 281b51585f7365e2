#!/usr/bin/env python3
"""Checks how the house is built:

  - a room imports only from floors below it;
  - engines (floor 2) import `Basics`, `Bytes`, `Memory` and `Compression` and nothing else of the house; of the C library they call functions of
    memory and arithmetic (memchr, sin), never I/O, a clock, a thread or the environment;
  - Foundation is nowhere; FoundationEssentials above floor 2 only;
  - the package has no package dependencies, dependencies of targets go down too, and each target depends on exactly what it
    imports;
  - the libraries that others import, and what they stand on, say nothing of this product: no name or text in their code has
    `cabstand`, `trip`, `driver` or `ride` among its words;
  - no bare `Task {}`: a task belongs to a loop (`loop.spawn`);
  - the programs name neither nghttp2 nor SwiftNIO nor curl among the libraries that they need.

    deploy/check-floors.py [FOLDER WITH BUILT PROGRAMS]
"""

import pathlib
import re
import subprocess
import sys

FLOORS = {
    0: "CLinux COpenSSL CZlib CRdKafka CSQLite",
    1: "Basics Bytes Compression Memory Reactor",
    2: "HTTP1 WebSockets HTTP2 ProtobufWire JSONWire RideDomain",
    2.5: "Telemetry Settings",
    # What storage says, whatever lies behind it.
    2.75: "Storage",
    3: "HTTPServer HTTPClient GRPCRuntime KafkaClient SQLiteStore AccessTokens",
    # Its routes stand on those of HTTP.
    3.25: "WebSocketServer",
    3.5: "RideAPI Operations",
    # Who somebody is, by the settings: for the services.
    3.75: "Access",
    4: "GatewayService DriverService TripService DriverSimulator",
    5: "gateway driver trip simulator cabstand protoc-gen-cabstand",
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms.split()}
# Beside the house: the simulated kernel stands on the ground that it simulates.
FLOOR["ReactorSim"] = 1.5
# Within one floor: the loop moves bytes, and keeps its connections in places.
SAME_FLOOR = {("Compression", "Bytes"), ("Reactor", "Basics"), ("Reactor", "Bytes"), ("Reactor", "Memory")}
ENGINE_IMPORTS = {"Basics", "Bytes", "Memory", "Compression"}
# Calls that make an engine impure.
IMPURE = re.compile(
    r"\b(?:open|close|read|write|readv|writev|send|sendto|sendmsg|recv|recvfrom|recvmsg|socket|accept4?|connect|bind|listen|"
    r"poll|select|epoll_\w+|fopen|fread|fwrite|printf|print|puts|time|clock|clock_gettime|gettimeofday|nanosleep|usleep|"
    r"sleep|getenv|setenv|random|rand|arc4random|getrandom|pthread_\w+|fork|exec\w*|exit|abort|signal)\s*\(")
TOOLCHAIN = {"Swift", "Glibc", "Musl", "Synchronization", "_Concurrency"}

IMPORT = re.compile(
    r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?"
    r"import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?([\w.]+)", re.M)
BARE_TASK = re.compile(r"\bTask\s*\{|\bTask\.(?:detached|immediate(?!\(executorPreference:))\b|\bTask\s*\(\s*(?:name|priority|operation)\b")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
# A string literal may talk about Task { } (the plugin writes Swift): its text is not code.
TEXT = re.compile(r'"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"')
LIBRARIES = "AccessTokens Basics Bytes Compression Memory Reactor HTTP1 WebSockets HTTP2 ProtobufWire JSONWire Telemetry HTTPServer HTTPClient WebSocketServer GRPCRuntime KafkaClient"
PRODUCT_WORDS = {"cabstand", "trip", "trips", "driver", "drivers", "ride", "rides", "rider", "riders"}
WORD = re.compile(r"[A-Z]?[a-z]+")
# What names the implementation to a peer, as the gRPC specification wants.
NAMED = "grpc-swift-cabstand"
# Beside files that begin with a dot.
TOP_LEVEL = set("Package.swift Sources Tests public deploy Tiltfile docker-compose.yaml README.md LICENSE".split())
UNWANTED = ("nghttp2", "libcurl", "NIO", "libFoundation.so", "libFoundationNetworking", "libFoundationXML")

repository = pathlib.Path(__file__).resolve().parent.parent
problems = []


def rule(importer, imported):
    """What is wrong with this import; None if nothing is."""
    floor = FLOOR[importer]
    if imported.split(".")[0] in TOOLCHAIN:
        return None
    if imported.startswith("Foundation"):
        if imported != "FoundationEssentials":
            return "Foundation is not part of the house"
        return "FoundationEssentials only above floor 2" if floor <= 2 else None
    if imported not in FLOOR:
        return f"{imported} is no room of the house"
    if floor == 2 and imported not in ENGINE_IMPORTS:
        return "an engine imports only Basics, Bytes, Memory and Compression"
    if FLOOR[imported] < floor or (importer, imported) in SAME_FLOOR:
        return None
    return f"floor {FLOOR[imported]} is not below floor {floor}"


def check_sources():
    folders = sorted(p for p in (repository / "Sources").iterdir() if p.is_dir())
    for folder in folders:
        room = folder.name
        if room not in FLOOR:
            problems.append(f"Sources/{room}: which floor is it on? Add it to deploy/check-floors.py")
            continue
        for path in sorted(folder.rglob("*.swift")):
            code = code_of(path)
            for found in IMPORT.finditer(code):
                wrong = rule(room, found[1])
                if wrong:
                    line = code.count("\n", 0, found.start(1)) + 1
                    problems.append(f"{path.relative_to(repository)}:{line}: import {found[1]}: {wrong}")
                # The rules of a service know what storage says, and not which one it is.
                if found[1] == "SQLiteStore" and FLOOR[room] == 4 and path.parent.name != "Repository":
                    line = code.count("\n", 0, found.start(1)) + 1
                    problems.append(f"{path.relative_to(repository)}:{line}: only Repository/ imports SQLiteStore")
            # A function of the same name is the engine's own where the C library is not imported.
            if FLOOR[room] == 2 and re.search(r"\bimport (Glibc|Musl)\b", code):
                for found in IMPURE.finditer(code):
                    if not re.search(r"(?:\bfunc\s+|\.)$", code[: found.start()]):
                        line = code.count("\n", 0, found.start()) + 1
                        problems.append(f"{path.relative_to(repository)}:{line}: an engine calls {found[0]}…)")
            if room in LIBRARIES.split():
                said = COMMENT.sub(lambda m: "\n" * m[0].count("\n"), path.read_text()).replace(NAMED, "")
                for found in WORD.finditer(said):
                    if found[0].lower() in PRODUCT_WORDS:
                        line = said.count("\n", 0, found.start()) + 1
                        problems.append(f"{path.relative_to(repository)}:{line}: a library speaks of this product: {found[0]}")
            for found in BARE_TASK.finditer(code):
                line = code.count("\n", 0, found.start()) + 1
                problems.append(f"{path.relative_to(repository)}:{line}: a bare Task; use loop.spawn")
    return len(folders)


def check_top_level():
    """Nothing but what is agreed lies at the top: a log that slipped into a commit, say."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True)
    # An unpacked archive has no list.
    names = {path.split("/")[0] for path in listed.stdout.split("\0") if path} if listed.returncode == 0 else set()
    for name in sorted(names - TOP_LEVEL):
        if not name.startswith("."):
            problems.append(f"{name}: does not belong at the top of the repository")


def code_of(path):
    return COMMENT.sub(lambda m: "\n" * m[0].count("\n"), TEXT.sub('""', path.read_text()))


def targets():
    """What Package.swift declares: (name, folder, the targets that it depends on)."""
    package = COMMENT.sub("", (repository / "Package.swift").read_text())
    if re.search(r"\.package\s*\(", package):
        problems.append("Package.swift: the package must have no package dependencies")
    call = re.compile(
        r'(?<!\w)(room|program|tests|\.target|\.testTarget)\(\s*(?:name:\s*)?"([\w-]+)"'
        r'(?:\s*,\s*(?:dependencies:\s*)?\[([^\]]*)\])?(?:\s*,\s*path:\s*"([^"]+)")?')
    for kind, name, listed, folder in call.findall(package):
        declared = set(re.findall(r'"([\w-]+)"', listed))
        if kind == "tests":
            declared.add(name)
        if kind in ("tests", ".testTarget"):
            name, folder = name + ("Tests" if kind == "tests" else ""), folder or None
            folder = folder or f"Tests/{name}"
        yield name, repository / (folder or f"Sources/{name}"), declared


def check_package():
    """Declared edges and imports are the same: a missing edge builds by luck, an unused one makes builds wait."""
    declared = list(targets())
    known = {name for name, _, _ in declared} | set(FLOORS[0].split())
    programs = {name for name, folder, _ in declared if (folder / "main.swift").exists()}
    for name, folder, edges in declared:
        for imported in edges:
            if name in FLOOR and rule(name, imported):
                problems.append(f"Package.swift: {name} depends on {imported}: {rule(name, imported)}")
        imports = {
            found[1].split(".")[0] for path in folder.rglob("*.swift") if not path.is_relative_to(folder / "package")
            for found in IMPORT.finditer(code_of(path))
        } & known
        for missing in sorted(imports - edges):
            problems.append(f"Package.swift: {name} imports {missing} and does not depend on it")
        # A test that runs a program needs it built, and imports nothing.
        for unused in sorted(edges - imports - programs):
            problems.append(f"Package.swift: {name} depends on {unused} and does not import it")


def check_programs(folder):
    """What the programs name as needed. (Debian's librdkafka itself needs libcurl, and that libnghttp2: the loader maps
    them for OAuth logins to Kafka; nothing of the house calls them, so it is the programs' own list that counts.)"""
    checked = 0
    for name in ("gateway", "driver", "trip", "simulator", "cabstand"):
        program = pathlib.Path(folder) / name
        if not program.exists():
            continue
        dynamic = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
        problems.extend(
            f"{name} is linked with {library}" for library in needed if any(word in library for word in UNWANTED))
        checked += 1
    return checked


rooms = check_sources()
check_package()
check_top_level()
programs = check_programs(sys.argv[1]) if len(sys.argv) > 1 else 0
for problem in problems:
    print(problem, file=sys.stderr)
if problems:
    sys.exit(f"{len(problems)} problem(s) with the floors")
print(f"floors: {rooms} rooms in order" + (f", {programs} programs linked with nothing unwanted" if programs else ""))
