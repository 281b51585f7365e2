# Shared by the scripts of this folder: what is needed and how it is installed. To be sourced by bash.

# To build and to run.
BUILD_PACKAGES=(librdkafka-dev libssl-dev zlib1g-dev libsqlite3-dev)
# To test: commands by the package that brings them.
TEST_PACKAGES=(
    binutils ca-certificates chromium curl jq kcat nodejs openjdk-17-jre-headless openssl protobuf-compiler
    python3 python3-venv xz-utils
)
# Packages that are unpacked into .build/tools and not installed: prometheus (20 MB, with promtool) would start a server.
UNPACKED_PACKAGES=(prometheus)
TEST_PYTHON=(
    playwright protobuf grpcio grpcio-tools grpcio-reflection grpcio-health-checking kosoku==0.1.0
    requests oidc-provider-mock==0.3.4
)

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Says how to get Swift and ends, if it is not there or too old.
need_swift() {
    local version
    if ! command -v swift >/dev/null; then
        cat >&2 <<'END'
Swift is not on the PATH. Cabstand needs Swift 6.3 or newer:
  - https://www.swift.org/install/linux/  has the toolchain for Debian and Ubuntu (about 1 GB); put its usr/bin on the PATH.
Or install Docker: deploy/run-local.sh then builds and runs everything in containers.
END
        exit 69
    fi
    version=$(swift --version 2>/dev/null | grep -oE 'Swift version [0-9]+\.[0-9]+' | grep -oE '[0-9]+\.[0-9]+' || true)
    case ${version:-0.0} in
    [0-5].* | 6.[0-2]) die "This is Swift $version; Cabstand needs 6.3 or newer (https://www.swift.org/install/linux/)." ;;
    esac
}

# The packages of the arguments that are not installed.
missing_packages() {
    local package
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || say "$package"
    done
}

# install_packages ask|yes|no PACKAGE…: shows the one line that installs what is missing, and runs it.
install_packages() {
    local mode=$1 missing line answer
    shift
    command -v dpkg-query >/dev/null || {
        say "This is not Debian or Ubuntu. Needed are: $*"
        return 0
    }
    mapfile -t missing < <(missing_packages "$@")
    drop_what_is_there
    [ "${#missing[@]}" -gt 0 ] || return 0
    line="apt-get install -y --no-install-recommends ${missing[*]}"
    if [ "$mode" = no ]; then
        say "Missing (not installed, as asked): ${missing[*]}"
        return 0
    fi
    if [ "$(id -u)" = 0 ]; then
        say "+ apt-get update && $line"
        run_apt "" "$line"
        return
    fi
    command -v sudo >/dev/null || die "Run this as root, then start again:  apt-get update && $line"
    say "+ sudo apt-get update && sudo $line"
    if [ "$mode" = ask ]; then
        [ -t 0 ] || die "Nobody is here to ask: run that line, or give -y."
        read -r -p "Run this with sudo? [y/N] " answer
        case $answer in [yY]*) ;; *) die "Then run it yourself and start again." ;; esac
    fi
    run_apt sudo "$line"
}

# Leaves out of `missing` what another package or hand already brings as a command.
drop_what_is_there() {
    local kept=() package command
    for package in "${missing[@]}"; do
        command=
        case $package in
        chromium | curl | jq | kcat | openssl | python3) command=$package ;;
        nodejs) command=node ;;
        openjdk-17-jre-headless) command=java ;;
        protobuf-compiler) command=protoc ;;
        binutils) command=readelf ;;
        xz-utils) command=xz ;;
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null && continue ;;
        esac
        [ -n "$command" ] && command -v "$command" >/dev/null && continue
        kept+=("$package")
    done
    missing=("${kept[@]}")
}

run_apt() {
    local sudo=$1 line=$2 log
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    if ! { $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive $line; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "The packages could not be installed."
    fi
    rm -f "$log"
}

# unpack_packages PACKAGE…: their commands in .build/tools/usr/bin, nothing installed and nothing started.
unpack_packages() {
    local package folder
    for package; do
        command -v "$package" >/dev/null || [ -x ".build/tools/usr/bin/$package" ] && continue
        command -v dpkg-deb >/dev/null || return 1
        mkdir -p .build/tools
        folder=$(mktemp -d) || return 1
        (cd "$folder" && apt-get download "$package") >/dev/null 2>&1 && dpkg-deb -x "$folder"/*.deb .build/tools || {
            rm -rf "$folder"
            return 1
        }
        rm -rf "$folder"
    done
}

# A virtual environment of the repository's own with these packages from PyPI.
python_packages() {
    local venv=.build/venv
    [ -x "$venv/bin/python3" ] || python3 -m venv "$venv" || return 1
    "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check "$@"
}

# source_package NAME: a package of PyPI as its authors publish it, unpacked into .build; its tests are what it is for.
source_package() {
    ls -d ".build/$1"-*/ >/dev/null 2>&1 && return
    (
        cd .build
        venv/bin/python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-binary :all: "$1" &&
            tar xzf "$1"-*.tar.gz
    )
}

# Every script can be read by its shell.
sh_syntax() {
    local script
    for script in .ci/run deploy/*.sh; do
        bash -n "$script" || return 1
    done
}

# Whether someone listens on a TCP port of this machine.
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
