#!/usr/bin/env bash
# Writes the documentation of the libraries, a site of static files, from their doc comments and articles (Sources/*/*.docc), with the docc of
# the toolchain. A warning of it is an error, but that a parameter is not described: here a parameter is, where its name does not say it all. The files belong at /docs/api/ of whatever serves them, and are not committed.
#   deploy/docs.sh [-b BUILD] [FOLDER]      into FOLDER, or .build/docs/api. Builds the libraries first, for debugging, unless BUILD is the folder
#                                           of a build: what `swift build --show-bin-path` prints
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/lib.sh

build=
while getopts b: option; do
    case $option in
    b) build=$OPTARG ;;
    *) exit 64 ;;
    esac
done
shift $((OPTIND - 1))

need_swift
docc=$(command -v docc || true)
[ -n "$docc" ] || docc=$(dirname "$(readlink -f "$(command -v swift)")")/docc
[ -x "$docc" ] || {
    say "docc is missing: it comes with Swift's toolchain"
    exit 1
}
site=${1:-.build/docs/api}
work=.build/docs/work
rm -rf "$work" "$site"
mkdir -p "$work" "$(dirname "$site")"

libraries=(Reactor HTTPServer HTTPClient WebSocketServer GRPCRuntime KafkaClient)
if [ -z "$build" ]; then
    CABSTAND_ROOMS=$(IFS=, && echo "${libraries[*]}")
    export CABSTAND_ROOMS
    swift build
    build=$(swift build --show-bin-path)
fi
python3 deploy/check-docs.py "$build" "$work/graphs"

archives=()
for library in "${libraries[@]}"; do
    step "$library"
    "$docc" convert "Sources/$library/$library.docc" --additional-symbol-graph-dir "$work/graphs/$library" \
        --fallback-display-name "$library" --fallback-bundle-identifier "cabstand.$library" \
        --transform-for-static-hosting --hosting-base-path docs/api \
        --output-path "$work/$library.doccarchive" >"$work/$library.log" 2>&1 || {
        cat "$work/$library.log"
        exit 1
    }
    if grep -E -A 3 '^(warning|error): ' "$work/$library.log" |
        grep -vE "^warning: Parameter '[^']*' is missing documentation" | grep -E -A 3 '^(warning|error): '; then
        die "docc has something to say of $library"
    fi
    archives+=("$work/$library.doccarchive")
done
"$docc" merge "${archives[@]}" --synthesized-landing-page-name Cabstand --output-path "$site"
say "$site: to be served at /docs/api/"
