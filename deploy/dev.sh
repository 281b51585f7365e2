#!/usr/bin/env bash
# The commands of everyday work, in one place.
#   deploy/dev.sh run [OPTION…]     builds and runs everything on this machine (deploy/run-local.sh)
#   deploy/dev.sh test              every check and test (deploy/test.sh)
#   deploy/dev.sh test ROOM…        only the tests of these rooms, with what they stand on: deploy/dev.sh test HTTP1 Reactor
#   deploy/dev.sh lint              formatting, floors and shell scripts, without a build
#   deploy/dev.sh format            formats every Swift file
#   deploy/dev.sh protos [--check]  writes the code of every .proto file again, or checks that nothing differs
#   deploy/dev.sh docs [OPTION…]    the documentation of the libraries, as a site (deploy/docs.sh)
#   deploy/dev.sh bench [SUBJECT…]  measures (deploy/bench.sh)
#   deploy/dev.sh image [OPTION…]   the container image `cabstand`; options are docker build's
#   deploy/dev.sh clean             removes everything that was built, run or measured here
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; }

# test_rooms ROOM…: a build of these rooms alone is a matter of seconds to a minute.
test_rooms() {
    local room filter=
    for room; do
        [ -d "Sources/$room" ] || [ -d "Tests/$room" ] || [ -d "Tests/${room}Tests" ] ||
            die "There is no room $room. Rooms: $(cd Sources && printf '%s ' */ | tr -d /)"
        filter+="${filter:+|}^${room%Tests}Tests\\."
    done
    need_swift
    export CABSTAND_WARNINGS_AS_ERRORS=1 CABSTAND_ROOMS
    CABSTAND_ROOMS=$(IFS=, && printf '%s' "${*%Tests}")
    swift build --build-tests
    swift test --skip-build --disable-xctest --filter "$filter"
}

lint() {
    local status=0
    need_swift
    swift format lint --strict --recursive --parallel Package.swift Sources Tests || status=1
    python3 deploy/check-floors.py || status=1
    sh_syntax || status=1
    return "$status"
}

command=${1:-help}
[ $# = 0 ] || shift
case $command in
run) exec deploy/run-local.sh "$@" ;;
test) if [ $# = 0 ]; then exec deploy/test.sh; else test_rooms "$@"; fi ;;
lint) lint ;;
format) swift format --in-place --recursive --parallel Package.swift Sources Tests ;;
protos) exec deploy/generate-protos.sh "$@" ;;
docs) exec deploy/docs.sh "$@" ;;
bench) exec deploy/bench.sh "$@" ;;
image) exec docker build -f deploy/Dockerfile -t cabstand "$@" . ;;
# All of it is named in .gitignore.
clean) rm -rf .build* deploy/prebuilt ;;
-h | --help | help) usage ;;
*)
    usage >&2
    exit 64
    ;;
esac
