#!/usr/bin/env bash
# Lets libFuzzer throw bytes at one engine, or at a whole server on the simulated kernel, with AddressSanitizer watching.
#   deploy/fuzz.sh list             what can be fuzzed
#   deploy/fuzz.sh TARGET MINUTES   one target for so long; further arguments are libFuzzer's
#   deploy/fuzz.sh all SECONDS      every target for so long each, two at a time
#   deploy/fuzz.sh check [TARGET]   every target, or one, the same few thousand inputs each time and on each machine: what CI runs
#   deploy/fuzz.sh replay TARGET FILE…   only these inputs
#   deploy/fuzz.sh keep TARGET      the inputs that were found and reach something new go to Tests/Fuzz/Corpus, the smallest first
# What is found lies in .build-fuzz: crashers/ (put one into Tests/Fuzz/Corpus/TARGET, under a name that says what it is, once it
# is mended: FuzzTests replays it), corpus/ (where the next run goes on). The other inputs of Tests/Fuzz/Corpus/TARGET are lines
# of its file `inputs`, in base64. The build has a folder of its own, and is made again when something has changed.
# CABSTAND_FUZZ_PROGRAM=FILE uses a program that was built before.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'
    exit 64
}

build=.build-fuzz
targets() { ls Tests/Fuzz/Corpus; }
program=${CABSTAND_FUZZ_PROGRAM:-}

build() {
    [ -z "$program" ] || return 0
    need_swift
    mkdir -p "$build"
    # Not `--sanitize fuzzer --sanitize address`: the compiler takes the one that happens to come last. Testability, because
    # the gateway's parts are fuzzed and not only its port. The settings of the tests would build everything again.
    if ! env -u CABSTAND_WARNINGS_AS_ERRORS CABSTAND_FUZZ=1 CABSTAND_ROOMS=fuzz swift build -c release --product fuzz \
        --scratch-path "$build" --sanitize fuzzer -Xswiftc -sanitize=fuzzer,address -Xswiftc -use-ld=lld \
        -Xswiftc -enable-testing >"$build/build.log" 2>&1; then
        grep -a 'error:' "$build/build.log" >&2 || tail -n 20 "$build/build.log" >&2
        die "The fuzzing program could not be built ($build/build.log)."
    fi
    program=$build/release/fuzz
}

# seeds TARGET: the folder with all that is known of a target as files, which is what libFuzzer takes.
seeds() {
    python3 - "Tests/Fuzz/Corpus/$1" "$build/seeds/$1" <<'END'
import base64, hashlib, pathlib, sys
corpus, folder = map(pathlib.Path, sys.argv[1:])
folder.mkdir(parents=True, exist_ok=True)
for file in folder.iterdir():
    file.unlink()
for file in corpus.iterdir():
    if file.name != "inputs":
        (folder / file.name).write_bytes(file.read_bytes())
        continue
    for line in file.read_text().split():
        data = base64.b64decode(line)
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
END
    say "$build/seeds/$1"
}

# run TARGET ARGUMENT…: the program on a target. A Swift trap must reach libFuzzer, so Swift's own crash handler is off.
run() {
    local target=$1 leaks=1
    shift
    # The parts of the gateway hold each other for as long as its process lives.
    [ "$target" != gateway ] || leaks=0
    [ -d "Tests/Fuzz/Corpus/$target" ] || die "There is no target $target: $(targets | tr '\n' ' ')"
    mkdir -p "$build/corpus/$target" "$build/crashers"
    # Memory that was freed stays poisoned until so much more was: an input frees about one megabyte, and fresh pages for each
    # would cost more than the input.
    env ASAN_OPTIONS="quarantine_size_mb=16:detect_leaks=$leaks" SWIFT_BACKTRACE=enable=off \
        CABSTAND_FUZZ_TARGET="$target" ${fixed[@]+"${fixed[@]}"} "$program" -detect_leaks="$leaks" "$@"
}

# fuzz TARGET CORPUS HOW_LONG ARGUMENT…: goes on from what lies in CORPUS and in the folders named behind.
fuzz() {
    local target=$1 corpus=$2 long=$3 log=$build/$1.log status=0
    shift 3
    # The first folder takes what is found.
    run "$target" -max_len=2048 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/crashers/$target-" "$corpus" "$@" >"$log" 2>&1 || status=$?
    # Without instrumentation the fuzzer would be blind and find nothing, without a word.
    grep -aq 'INFO: Loaded [1-9][0-9]* modules' "$log" || {
        tail -n 20 "$log" >&2
        die "$target: the program has no coverage instrumentation."
    }
    if [ "$status" != 0 ]; then
        grep -aE 'Fatal error|ERROR:|SUMMARY|Test unit written' "$log" >&2 || tail -n 5 "$log" >&2
        say "$target: an input breaks a promise ($log)"
        return 1
    fi
    say "$target: $(grep -aoE 'number_of_executed_units: [0-9]+' "$log" | grep -oE '[0-9]+$') inputs$long, no finding"
}

# fuzz_for SECONDS TARGET ARGUMENT…
fuzz_for() { fuzz "$2" "$build/corpus/$2" " in $1 s" -max_total_time="$1" "${@:3}" "$(seeds "$2")"; }

# check TARGET: the same inputs each time, so that a finding can be repeated: nothing depends on the clock, on addresses or on the order
# of a folder. About 15 seconds.
check() {
    local folder=$build/check/$1 inputs=100000 fixed=() known
    case $1 in gateway) inputs=500 ;; *-server | *-client) inputs=4000 ;; esac
    rm -rf "$folder"
    mkdir -p "$folder"
    known=$(find "$(seeds "$1")" -type f | LC_ALL=C sort | paste -sd, -)
    printf '%s' "$known" >"$folder.inputs"
    ! setarch "$(uname -m)" -R true 2>/dev/null || fixed=(setarch "$(uname -m)" -R)
    SWIFT_DETERMINISTIC_HASHING=1 fuzz "$1" "$folder" '' -seed=1 -runs="$inputs" -reload=0 -use_cmp=0 \
        -seed_inputs="@$folder.inputs"
}

# each COMMAND…: with every target as its last argument, two at a time.
each() {
    local failed=0 target job running=()
    for target in $(targets); do
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do sleep 0.5; done
        "$@" "$target" &
        running+=($!)
    done
    for job in "${running[@]}"; do wait "$job" || failed=1; done
    return $failed
}

case "${1:-}" in
list) targets ;;
all)
    [ $# = 2 ] || usage
    build
    each fuzz_for "$2"
    ;;
check)
    [ $# -le 2 ] || usage
    build
    if [ $# = 2 ]; then check "$2"; else each check; fi
    ;;
replay)
    [ $# -ge 3 ] || usage
    build
    run "${@:2}"
    ;;
keep)
    [ $# = 2 ] || usage
    build
    small=$(mktemp -d)
    # Edges alone, not how often each was passed, and few inputs that cover many: they are replayed at each test.
    run "$2" -set_cover_merge=1 -use_counters=0 -max_len=400 "$small" "$(seeds "$2")" "$build/corpus/$2" >"$build/$2-merge.log" 2>&1
    python3 - "$small" "Tests/Fuzz/Corpus/$2" <<'END'
import base64, pathlib, sys
small, corpus = map(pathlib.Path, sys.argv[1:])
named = {file.read_bytes() for file in corpus.iterdir() if file.name != "inputs"}
inputs = sorted({file.read_bytes() for file in small.iterdir()} - named - {b""}, key=lambda data: (len(data), data))
(corpus / "inputs").write_text("".join(base64.b64encode(data).decode() + "\n" for data in inputs))
END
    rm -rf "$small"
    say "$2: $(wc -l <"Tests/Fuzz/Corpus/$2/inputs") inputs, and $(($(ls "Tests/Fuzz/Corpus/$2" | wc -l) - 1)) with names"
    ;;
'' | -*) usage ;;
*)
    [ $# -ge 2 ] || usage
    build
    fuzz_for $(($2 * 60)) "$1" "${@:3}"
    ;;
esac
