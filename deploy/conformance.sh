#!/usr/bin/env bash
# Runs conformance suites that others have written against this stack (Tests/Conformance), one line for each:
#   deploy/conformance.sh              all of them
#   deploy/conformance.sh SUITE…       these
#   deploy/conformance.sh --list       what there is
# It prints `SUITE: passed/total`; a suite whose tool is missing is skipped, with the line that would end that. The status is not 0
# if a case has failed. What the suites said is in .build/conformance.
#
# A suite is a program in Tests/Conformance/suites; its second line says what it is. It finds in its environment
#   CONFORMANCE           the program of Tests/Conformance (CONFORMANCE of the caller, or it is built)
#   HTTP GRPC             ports of a `conformance serve` on 127.0.0.1: HTTP and WebSocket echo, grpc.testing.TestService
#   HTTPS GRPCS           the same over TLS, with
#   CERTIFICATE KEY       for localhost, 127.0.0.1 and *.test.google.fr, signed by
#   AUTHORITY             PEM files, all three
#   SERVER                the process that serves all these
#   PYTHON                with the packages that deploy/test.sh installs
#   SCRATCH               an empty folder of its own
# Tools are looked for in the test venv, on the PATH, in .build/tools, and in CABSTAND_TOOLS. Its last line is PASSED/TOTAL; it ends
# with 0 if the two are equal, with 77 if something is missing: then the last line says how to have it.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

folder=$PWD/Tests/Conformance/suites
out=$PWD/.build/conformance
if [ "${1:-}" = --list ]; then
    for suite in "$folder"/*; do printf '%-20s%s\n' "$(basename "$suite")" "$(sed -n '2s/^# //p' "$suite")"; done
    exit
fi
if [ $# -gt 0 ]; then suites=("$@"); else mapfile -t suites < <(ls "$folder"); fi
for suite in "${suites[@]}"; do [ -x "$folder/$suite" ] || die "There is no suite \"$suite\"; --list says which there are."; done

if [ -z "${CONFORMANCE:-}" ]; then
    need_swift
    swift build --product conformance >&2
    CONFORMANCE=$(swift build --show-bin-path)/conformance
fi
tools=${CABSTAND_TOOLS:-/tmp/cabstand-tools/tools}
if [ ! -d "$tools" ] && [ -x ../shared/tools/unpack.sh ]; then tools=$(../shared/tools/unpack.sh "$(dirname "$tools")") || true; fi
PATH=$PWD/.build/venv/bin:$PATH:/usr/sbin:$PWD/.build/tools/usr/bin:$tools
PYTHON=$(command -v python3)
rm -rf "$out"
mkdir -p "$out"
AUTHORITY=$out/authority.pem CERTIFICATE=$out/certificate.pem KEY=$out/key.pem
export CONFORMANCE PATH PYTHON AUTHORITY CERTIFICATE KEY
export REPOSITORY=$PWD

# An authority and what it has signed, for two days.
certificates() {
    local key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
    local names=subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:*.test.google.fr
    openssl req -x509 "${key[@]}" -days 2 -subj "/CN=conformance authority" -keyout "$out/authority.key" -out "$AUTHORITY"
    openssl req "${key[@]}" -subj /CN=localhost -addext "$names" -keyout "$KEY" -out "$out/request.pem"
    openssl x509 -req -in "$out/request.pem" -CA "$AUTHORITY" -CAkey "$out/authority.key" -set_serial 2 \
        -copy_extensions copy -days 2 -out "$CERTIFICATE"
}
certificates >"$out/openssl.log" 2>&1 || die "$(cat "$out/openssl.log")"

server=
end() { [ -z "$server" ] || kill "$server" 2>/dev/null || true; }
trap end EXIT
serve() {
    local tries words
    "$CONFORMANCE" serve --certificate="$CERTIFICATE" --key="$KEY" >"$out/ports" 2>>"$out/serve.log" &
    server=$!
    for ((tries = 0; tries < 200; tries++)); do
        [ -s "$out/ports" ] && break
        sleep 0.05
    done
    read -ra words <"$out/ports" || die "The server has not come up: $(tail -n 3 "$out/serve.log")"
    export "SERVER=$server" "HTTP=${words[1]}" "GRPC=${words[3]}" "HTTPS=${words[5]}" "GRPCS=${words[7]}"
}
serve

failed=0
for suite in "${suites[@]}"; do
    log=$out/$suite.log
    SCRATCH=$out/$suite
    mkdir -p "$SCRATCH"
    export SCRATCH
    status=0
    timeout --kill-after 10 1200 "$folder/$suite" >"$log" 2>&1 || status=$?
    last=$(tail -n 1 "$log")
    kill -0 "$server" 2>/dev/null || {
        last="the server has died: $(tail -n 3 "$out/serve.log")" status=1
        serve
    }
    [ "$status" != 0 ] || [[ $last =~ ^[1-9][0-9]*/[0-9]+$ && ${last%/*} = "${last#*/}" ]] || status=1
    case $status in
    0) say "$suite: $last" ;;
    77) say "$suite: skipped: $last" ;;
    *)
        failed=1
        say "$suite: $last FAILED ($log)"
        ;;
    esac
done
exit "$failed"
