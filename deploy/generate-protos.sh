#!/bin/sh
# Writes the Swift code of every .proto file of the house again (protoc and protoc-gen-cabstand).
#   deploy/generate-protos.sh           writes the Generated folders
#   deploy/generate-protos.sh --check   changes nothing; fails if what is there differs
set -eu
cd "$(dirname "$0")/.."

command -v protoc >/dev/null || {
    echo "protoc is missing: apt-get install protobuf-compiler" >&2
    exit 1
}
if [ -z "${PROTOC_GEN_CABSTAND:-}" ]; then
    CABSTAND_ROOMS=protoc-gen-cabstand swift build --scratch-path .build/generator --product protoc-gen-cabstand >&2
    PROTOC_GEN_CABSTAND=.build/generator/debug/protoc-gen-cabstand
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# generate FOLDER: all .proto files under FOLDER/protos, for the module that the folder is named after
generate() {
    mkdir -p "$out/$1"
    (cd "$1/protos" && find . -name '*.proto' | sed 's,^\./,,' | LC_ALL=C sort) | xargs \
        protoc --plugin=protoc-gen-cabstand="$PROTOC_GEN_CABSTAND" \
        -I"$1"/protos -ISources/GRPCRuntime/protos -ISources/ProtobufWire/protos \
        --cabstand_out="$out/$1" --cabstand_opt=module="${1#*/}" \
        --cabstand_opt=map=google/rpc/=GRPCRuntime --cabstand_opt=map=grpc/=GRPCRuntime
}

status=0
for room in Sources/ProtobufWire Sources/GRPCRuntime Sources/RideAPI Tests/ProtobufWireTests Tests/GRPCRuntimeTests \
    Tests/Benchmarks Tests/Conformance; do
    generate "$room"
    if [ "${1:-}" = --check ]; then
        diff -r "$out/$room" "$room/Generated" || status=1
    else
        rm -rf "$room/Generated"
        cp -r "$out/$room" "$room/Generated"
    fi
done
[ "$status" = 0 ] || echo "the generated code differs from the .proto files: run deploy/generate-protos.sh" >&2
exit "$status"
