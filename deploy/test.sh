#!/usr/bin/env bash
# Runs every check and test of the repository. Installs what they need on Debian or Ubuntu (as root, or through sudo after
# asking); what can't be had is a named skip in the tests.
#   deploy/test.sh          asks before it uses sudo
#   deploy/test.sh -y       does not ask
#   deploy/test.sh -n       installs nothing
#   deploy/test.sh --sanitize [address|thread]   the tests once more under AddressSanitizer and under ThreadSanitizer, or one of
#                           them, in builds of their own (.build-asan, .build-tsan); CABSTAND_ROOMS keeps them to some rooms
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

install=ask

# sanitize NAME FOLDER: builds and runs the tests with a sanitizer. gold, Swift's own linker, would print hundreds of warnings.
sanitize() {
    local name=$1 folder=$2 log=$2/test.log status=0
    step "tests under the $name sanitizer${CABSTAND_ROOMS:+ ($CABSTAND_ROOMS)}"
    mkdir -p "$folder"
    # What the tests leave behind at their end is theirs; a leak per connection or call is what deploy/fuzz.sh finds.
    {
        ASAN_OPTIONS=detect_leaks=0 swift test --scratch-path "$folder" --sanitize "$name" -Xswiftc -use-ld=lld \
            --disable-xctest 2>&1 || status=$?
        echo "$status" >"$folder/status"
    } | tee "$log" | grep -aE '^==|WARNING: ThreadSanitizer|SUMMARY|error:|✘|Test run with' || true
    status=$(cat "$folder/status")
    # A race does not end the tests at once, and a program that they started may have had it.
    if grep -aqE 'Sanitizer: ' "$log"; then
        say "FAILED: the $name sanitizer has found something ($log)"
        return 1
    fi
    [ "$status" = 0 ] || say "FAILED: tests under the $name sanitizer ($log)"
    return "$status"
}

if [ "${1:-}" = --sanitize ]; then
    need_swift
    case "${2:-both}" in
    address) sanitize address .build-asan ;;
    thread) sanitize thread .build-tsan ;;
    both)
        status=0
        sanitize address .build-asan || status=$?
        sanitize thread .build-tsan || status=$?
        exit "$status"
        ;;
    *) exit 64 ;;
    esac
    exit
fi

while getopts yn option; do
    case $option in
    y) install=yes ;;
    n) install=no ;;
    *) exit 64 ;;
    esac
done
[ "${CI:-}" != true ] || install=yes

need_swift
started=$SECONDS
step "what the build and the tests need"
install_packages "$install" "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
if [ "$install" != no ]; then
    python_packages "${TEST_PYTHON[@]}" || say "Python's packages could not be installed: tests that need them are skipped"
    source_package gunicorn || say "the sources of gunicorn could not be had: its corpus of requests is skipped"
    unpack_packages "${UNPACKED_PACKAGES[@]}" ||
        say "not unpacked: ${UNPACKED_PACKAGES[*]}: tests that need them are skipped"
    if [ -x ../shared/tools/unpack.sh ]; then
        ../shared/tools/unpack.sh "${CABSTAND_TOOLS_FOLDER:-/tmp/cabstand-tools}" >/dev/null ||
            say "the test tools could not be unpacked: tests that need them are skipped"
    fi
fi

failed=()
check() {
    step "$1"
    shift
    "$@" || failed+=("$*")
}

export CABSTAND_WARNINGS_AS_ERRORS=1
check "format" swift format lint --strict --recursive --parallel Package.swift Sources Tests
check "shell scripts" sh_syntax
check "floors" python3 deploy/check-floors.py

step "build"
swift build --build-tests || exit 1
products=$(swift build --show-bin-path)
check "what the programs are linked with" python3 deploy/check-floors.py "$products"
check "documentation of the libraries" deploy/docs.sh -b "$products"
check "conversions of numbers" python3 deploy/check-conversions.py "$products"
if command -v protoc >/dev/null; then
    PROTOC_GEN_CABSTAND=$products/protoc-gen-cabstand
    export PROTOC_GEN_CABSTAND
    check "generated code" deploy/generate-protos.sh --check
else
    say "protoc is missing: skipped the check of the generated code"
fi

CONFORMANCE=$products/conformance
export CONFORMANCE
# The quick ones; Tests/README.md says how to run all.
check "conformance" deploy/conformance.sh h2spec grpc-interop grpc-http2 grpc-grpcio grpc-tools tls curl wget requests gunicorn http-client

step "tests"
log=.build/test.log
status=0
swift test --skip-build --disable-xctest 2>&1 | tee "$log" || status=$?
[ "$status" = 0 ] || failed+=("swift test")

skip='(Test|Suite) .*skipped'
skips=$(grep -acE "$skip" "$log" || true)
say ""
[ "$skips" = 0 ] || {
    say "Skipped:"
    grep -aE "$skip" "$log" | sed 's/^[^A-Za-z"]*/  /' | sort -u
}
for what in "${failed[@]}"; do say "FAILED: $what"; done
say "$(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s"
# The last line is the test runner's own.
grep -a 'Test run with' "$log" | tail -n 1
[ "${#failed[@]}" = 0 ]
