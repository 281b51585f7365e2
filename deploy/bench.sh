#!/bin/bash
# Measures Cabstand's servers beside other servers, and its own parts.
#
#   deploy/bench.sh                 everything below
#   deploy/bench.sh http            HTTP/1.1 keep-alive and pipelined
#   deploy/bench.sh ws-echo         WebSocket echo
#   deploy/bench.sh ws-fanout       one message to 1,000 and 10,000 subscribers, bytes per idle connection
#   deploy/bench.sh ws-idle         bytes per idle connection
#   deploy/bench.sh grpc            unary calls over h2c
#   deploy/bench.sh micro           our own parts, without a peer
#   deploy/bench.sh tls             what TLS costs, beside nginx: CPU time for each request and handshake (deploy/bench-tls.py)
#   deploy/bench.sh abuse           what hostile peers cost the all-in-one program: memory, longest turn (deploy/abuse.py)
#   deploy/bench.sh floods          what floods cost another client where access is restricted; how long signing in takes
#   deploy/bench.sh access          what requests cost with and without access control, by callgrind
#   deploy/bench.sh instructions    what one operation of each hot path costs, by callgrind (deploy/count-instructions.py);
#                                   with BASE=COMMIT also what it cost there, and an error if it has grown by more than 2 %
#
# The peers come from PEERS, a folder with their build.sh and bench.sh (default ../shared/peers beside this repository).
# Without it only `micro`, `tls`, `abuse` and `instructions` run, and it says so. `instructions` is not part of everything: it takes
# minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

peers=${PEERS:-$(cd .. && pwd)/shared/peers}
subjects=("$@")
if [ "${subjects[*]}" = floods ] || [ "${subjects[*]}" = access ]; then
    swift build -c release --product cabstand
    binary=$(swift build -c release --show-bin-path)/cabstand
    [ "${subjects[*]}" = access ] && exec deploy/count-instructions.py --access "$binary"
    exec deploy/abuse.py "$binary" floods
fi
if [ "${subjects[*]}" = abuse ]; then
    swift build -c release --product cabstand
    DRIVERS=${DRIVERS:-2000} exec python3 deploy/abuse.py "$(swift build -c release --show-bin-path)/cabstand"
fi
[ ${#subjects[@]} -gt 0 ] || subjects=(http ws-echo ws-fanout grpc micro)

CABSTAND_ROOMS=benchmarks swift build -c release --product benchmarks
binary=$(CABSTAND_ROOMS=benchmarks swift build -c release --show-bin-path)/benchmarks

# Builds the programs of BASE with the measurements of today, in a folder that is kept for the next time.
count_instructions() {
    local programs=("$binary")
    if [ -n "${BASE:-}" ]; then
        local tree=${BASE_TREE:-/tmp/cabstand-base}
        [ -d "$tree/.git" ] || git clone -q . "$tree"
        git -C "$tree" fetch -q origin && git -C "$tree" checkout -qf --detach "$BASE"
        rm -rf "$tree/Tests/Benchmarks" && cp -r Tests/Benchmarks "$tree/Tests/"
        (cd "$tree" && CABSTAND_ROOMS=benchmarks swift build -c release --product benchmarks)
        programs+=("$(cd "$tree" && CABSTAND_ROOMS=benchmarks swift build -c release --show-bin-path)/benchmarks")
    fi
    deploy/count-instructions.py "${programs[@]}"
}

for subject in "${subjects[@]}"; do
    echo
    echo "## $subject"
    case $subject in
        micro) "$binary" --micro; continue ;;
        tls) deploy/bench-tls.py "$binary"; continue ;;
        instructions) count_instructions; continue ;;
        http) mode=--http ;;
        ws-*) mode=--ws ;;
        grpc) mode=--grpc ;;
        *) echo "unknown: $subject (http, ws-echo, ws-fanout, ws-idle, grpc, tls, micro, instructions)" >&2; exit 2 ;;
    esac
    if [ ! -x "$peers/bench.sh" ]; then
        echo "skipped: no peers at $peers (PEERS names their folder)"
        continue
    fi
    # A small machine cannot build every peer: what is built is compared, the C floor at least.
    [ -x "${PEERS_BUILD:-/tmp/peers-build}/floor_http" ] || "$peers/build.sh" c
    TARGET_CMD="$binary $mode --port {port}" "$peers/bench.sh" "$subject"
done
