#!/usr/bin/env python3
"""Lists conversions of numbers that trap when the value does not fit: `Int(x)` of a UInt64, `UInt8(x)` of an Int, `Int(x)`
of a Double. One such number in a header once ended a process.

A conversion of what comes from outside (wire, file, clock, kernel, environment) says what happens to a value that does not
fit: `exactly:`, `clamping:` or `truncatingIfNeeded:`. One that cannot fail is in deploy/conversions.txt with the reason why;
an entry that nothing needs any more is an error. Types are the compiler's (its syntax trees), so what widens is not listed,
nor is the UInt, UInt64 or Int64 of a `.count`, nor a constant of C.

What it cannot see: sums, products and shifts that overflow, indices, ranges, `!`; conversions in a branch of `#if` that
this platform does not take, in C, and in what LEFT_OUT names; a second conversion with the same text in the same file as
an allowed one; and whether a reason in the allow-list is true.

    deploy/check-conversions.py [FOLDER WITH THE BUILT PACKAGE]      .build/debug unless said otherwise
    deploy/check-conversions.py --list [FOLDER]                      prints all that it finds, as lines of the allow-list
    deploy/check-conversions.py --self-test
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# Programs of a screenful, the code generator, which runs on the programmer's machine, and the simulated kernel of tests.
LEFT_OUT = {"gateway", "driver", "trip", "simulator", "cabstand", "protoc-gen-cabstand", "ReactorSim"}
LANGUAGE = [
    "-swift-version", "6", "-strict-memory-safety", "-enable-experimental-feature", "Lifetimes",
    "-enable-upcoming-feature", "ExistentialAny", "-parse-as-library"]

BITS = {"Int": 64, "Int64": 64, "Int32": 32, "Int16": 16, "Int8": 8, "Int128": 128}
RANGES = {name: (-(1 << bits - 1), (1 << bits - 1) - 1) for name, bits in BITS.items()}
RANGES |= {"U" + name: (0, (1 << bits) - 1) for name, bits in BITS.items()}
# What C calls them. A name that is missing here is taken for one that does not fit.
ALIASES = {
    "CInt": "Int32", "CUnsignedInt": "UInt32", "CLong": "Int", "CUnsignedLong": "UInt", "CChar": "Int8",
    "CShort": "Int16", "CUnsignedShort": "UInt16", "CUnsignedChar": "UInt8", "CLongLong": "Int64",
    "CUnsignedLongLong": "UInt64", "socklen_t": "UInt32", "sa_family_t": "UInt16", "in_port_t": "UInt16",
    "in_addr_t": "UInt32", "off_t": "Int", "ssize_t": "Int", "time_t": "Int", "__time_t": "Int",
    "__syscall_slong_t": "Int", "__suseconds_t": "Int", "mode_t": "UInt32", "__mode_t": "UInt32", "uInt": "UInt32",
    "uLong": "UInt", "__off_t": "Int", "__dev_t": "UInt", "__ino_t": "UInt", "pthread_t": "UInt", "sqlite3_int64": "Int64",
    "UnsafeRawBufferPointer.Element": "UInt8", "String.UTF8View.Element": "UInt8"}
# Never negative, and never more than memory has bytes.
COUNT = re.compile(r"^(?:UInt|UInt64|Int64)\([\w.!?\[\]$]*\b(?:count|utf8CodeUnitCount|capacity)\)$")
# C's constants, sizes of types and the largest values of types, also several with `|`: what they are the compiler knows, and
# the first test that comes by would trap.
CONSTANT = re.compile(
    r"^[\w.]+\((?:(?:_?[A-Z][A-Z0-9_]+(?:\.rawValue)?|MemoryLayout<[\w.]+>\.(?:size|stride)|U?Int\d*\.max)(?: \| |\)))+$")

# An initializer without a label of an integer, whichever protocol of the library has it; or numericCast.
INTEGERS = "|".join([*RANGES, r"(?:Signed|Unsigned|FixedWidth|Binary)Integer(?: extension)?"])
CONVERSION = re.compile(rf'decl="Swift\.\(file\)\.(?:(?:{INTEGERS})\.init\(_:\)|numericCast)')
# (Int.Type) -> (UInt64) -> Int, or numericCast's (UInt64) -> Int.
TYPES = re.compile(
    r'declref_expr(?: implicit)? type="(?:\((?P<of>[^()"]+)\.Type\) -> )?\((?P<source>[^"]+)\) -> (?P<target>[^()"]+)"')
PLACE = re.compile(r' location=(?P<file>[^\s:]+):(?P<line>\d+):(?P<column>\d+)')


def plain(name):
    """The name of an integer type without its module, and what an alias stands for."""
    name = name.removeprefix("Swift.").strip()
    return ALIASES.get(name, name)


def fits(source, target):
    """Whether every value of one type is one of the other."""
    source, target = RANGES.get(plain(source)), RANGES.get(plain(target))
    return source is not None and target is not None and target[0] <= source[0] and source[1] <= target[1]


def expression(lines, line, column):
    """The text of the conversion that begins there, up to its closing parenthesis, on one line."""
    row = lines[line - 1].encode()
    # `Int.init` as a value is found at `init`.
    text = re.search(rb"[\w.]*$", row[:column - 1])[0].decode() + row[column - 1:].decode()
    rest = lines[line:]
    name = re.match(r"[\w.]+", text)
    end = name.end() if name else 1
    if text[end:end + 1] != "(":
        return text[:end]
    depth = 0
    while True:
        for index in range(end, len(text)):
            depth += {"(": 1, ")": -1}.get(text[index], 0)
            if depth == 0:
                return re.sub(r"\s+", " ", text[:index + 1])
        end = len(text)
        if not rest:
            return text
        text += " " + rest.pop(0).strip()


def read(row, source):
    """What a row of a tree converts: (file, expression, types), or None if it converts nothing or always fits."""
    if "declref_expr" not in row or not CONVERSION.search(row):
        return None
    types, place = TYPES.search(row), PLACE.search(row)
    if not types or not place:
        sys.exit(f"conversions: a row of the compiler's tree is not understood: {row.strip()}")
    target = types["of"] or types["target"]
    # Int("7") gives an optional.
    if fits(types["source"], target) or types["target"].endswith("?"):
        return None
    text = expression(source(place["file"]), int(place["line"]), int(place["column"]))
    if COUNT.match(text) or CONSTANT.match(text):
        return None
    return place["file"], text, f"{plain(types['source'])} to {plain(target)}, line {place['line']}"


def conversions(name, files, modules, folder):
    """The narrowing conversions of one module: {(file, expression): what they convert}."""
    texts = {}

    def source(path):
        if path not in texts:
            texts[path] = (folder / path).read_text().split("\n")
        return texts[path]

    # What the package is called for the compiler (SwiftPM makes it of the folder's name): `package` declarations need it.
    manifest = modules.parent.parent.parent / "debug.yaml"
    called = re.search(r'"-package-name","([^"]+)"', manifest.read_text()) if manifest.exists() else None
    package = called[1] if called else folder.name.lower()

    found = {}
    with tempfile.TemporaryDirectory() as trees:
        command = ["swiftc", "-frontend", "-dump-ast", *LANGUAGE, "-package-name", package, "-module-name", name,
                   "-I", str(modules)]
        for path in sorted(folder.glob("Sources/*/module.modulemap")):
            command += ["-Xcc", f"-fmodule-map-file={path}"]
        # Each file has a tree of its own: without that the compiler shows the first one only.
        for number, file in enumerate(files):
            command += ["-primary-file", str(file.relative_to(folder)), "-o", f"{trees}/{number}"]
        run = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if run.returncode != 0:
            sys.exit(f"conversions: {name} can't be read: is the package built in {modules.parent}?\n{run.stderr[-2000:]}")
        for number, file in enumerate(files):
            with open(f"{trees}/{number}", errors="replace") as tree:
                rows = 0
                for row in tree:
                    rows += 1
                    if conversion := read(row, source):
                        found[conversion[0], conversion[1]] = conversion[2]
            if rows == 0:
                sys.exit(f"conversions: {file} has no tree")
    return found


def allowed(path):
    """The allow-list: {(file, expression): reason}."""
    entries = {}
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split(" | ")]
        if len(fields) != 3 or not all(fields):
            sys.exit(f"{path}:{number}: a line is FILE | EXPRESSION | REASON")
        if (fields[0], fields[1]) in entries:
            sys.exit(f"{path}:{number}: {fields[1]} is there twice")
        entries[fields[0], fields[1]] = fields[2]
    return entries


def self_test():
    """Plants conversions of each kind, in two files, and expects exactly those that can trap."""
    first = """\
public func planted<Number: BinaryInteger, Fixed: FixedWidthInteger>(
    _ wire: UInt64, _ word: UInt32, _ real: Double, _ any: Number, _ bytes: [UInt8], _ fixed: Fixed
) -> [Int] {
    let bad = [Int(wire), [wire].map(Int.init)[0], numericCast(wire), Int(real), Int(any), Int(
        wire + 1)]
    let small = [UInt8(word), UInt8(real), UInt8(bytes.count)]
    let good = [Int(word), Int(UInt8(65)), Int(exactly: wire) ?? 0, Int(clamping: wire), Int(truncatingIfNeeded: wire)]
    let counts = [UInt64(bytes.count), UInt64(bytes.count - 1)]
    let implied: Int16 = .init(word)
    let generic = Fixed(word)
    let element = Array<UInt8>.Element(word)
    let constants = [Int32(MemoryLayout<Int>.size), Int32(Int8.max)]
    return bad + good + constants.map { Int($0) } + small.map { Int($0) } + counts.map { Int(clamping: $0) } + [
        Int("1") ?? 0, Int(bitPattern: UInt(word)), Int(implied), Int(clamping: generic), Int(clamping: element)]
}
"""
    second = "public func second(_ wire: Int64) -> UInt16 { UInt16(wire) }\n"
    expected = {
        "Int(wire)", "Int.init", "numericCast(wire)", "Int(real)", "Int(any)", "Int( wire + 1)", "UInt8(word)",
        "UInt8(real)", "UInt8(bytes.count)", "UInt64(bytes.count - 1)", ".init(word)", "Fixed(word)",
        ".Element(word)", "UInt16(wire)"}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "First.swift").write_text(first)
        (folder / "Second.swift").write_text(second)
        found = conversions("SelfTest", [folder / "First.swift", folder / "Second.swift"], folder, folder)
    texts = {text for _, text in found}
    if texts != expected:
        sys.exit(f"conversions: the self-test found {sorted(texts)} instead of {sorted(expected)}")


def main():
    arguments = sys.argv[1:]
    self_test()
    if arguments == ["--self-test"]:
        return print("conversions: the planted ones are found")
    lists = arguments[:1] == ["--list"]
    folder = pathlib.Path(__file__).resolve().parent.parent
    modules = pathlib.Path(arguments[lists] if len(arguments) > lists else folder / ".build/debug").resolve() / "Modules"

    def room(name):
        return conversions(name, sorted((folder / "Sources" / name).rglob("*.swift")), modules, folder)

    rooms = sorted({path.relative_to(folder / "Sources").parts[0] for path in folder.glob("Sources/*/**/*.swift")} - LEFT_OUT)
    found = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(room, rooms):
            found |= part
    if lists:
        for (file, text), what in sorted(found.items()):
            print(f"{file} | {text} | {what}")
        return
    path = folder / "deploy/conversions.txt"
    reasons = allowed(path)
    problems = [
        f"{file}: {text} can trap ({what}): exactly:, clamping: or truncatingIfNeeded:, or a reason in deploy/conversions.txt"
        for (file, text), what in sorted(found.items()) if (file, text) not in reasons]
    problems += [
        f"deploy/conversions.txt: {file}: {text} is not there any more" for file, text in sorted(reasons.keys() - found.keys())]
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(1)
    print(f"conversions: {len(found)} that could trap, each with its reason")


main()
