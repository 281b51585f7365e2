#!/usr/bin/env bash
# Runs every check and test of the repository. Installs what they need on Debian or Ubuntu (as root, or through sudo after
# asking); what can't be had is a named skip in the tests.
#   deploy/test.sh          asks before it uses sudo
#   deploy/test.sh -y       does not ask
#   deploy/test.sh -n       installs nothing
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

install=ask
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
if command -v protoc >/dev/null; then
    PROTOC_GEN_CABSTAND=$products/protoc-gen-cabstand
    export PROTOC_GEN_CABSTAND
    check "generated code" deploy/generate-protos.sh --check
else
    say "protoc is missing: skipped the check of the generated code"
fi

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
