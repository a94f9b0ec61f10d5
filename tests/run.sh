#!/usr/bin/env bash
# Runs every test: unit, conventions (tests/tidy.rs), integration (tests/it), doc tests and a short
# set of faults (tests/fault).
# Installs what is missing and leaves the rest alone; needs root or sudo only for that.
# `tests/run.sh prepare` installs and ends. What a stage printed is shown when it fails, or always
# with VERBOSE=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
builder=
trap 'rm -f "$log"; [[ -z $builder ]] || kill "$builder" 2>/dev/null || true' EXIT
trap 'printf "stopped\n"; tail -n 50 "$log" >&2; exit 143' TERM
passed=0

fail() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    exit 1
}

# need COMMAND PACKAGE: installs a Debian package unless its command is there already.
need() {
    command -v "$1" >/dev/null || add_package "$2"
}

# add_package PACKAGE: installs a Debian package.
add_package() {
    command -v apt-get >/dev/null || fail "install what Debian calls $1, then try again"
    local as_root=()
    if [[ $(id -u) != 0 ]]; then
        sudo -n true 2>/dev/null || fail "apt-get install $1 as root, then try again"
        as_root=(sudo -n)
    fi
    stage "package lists" "${as_root[@]}" apt-get update -qq
    stage "package $1" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$1"
}

# stage TITLE COMMAND...: runs it quietly; shows what it said when it fails.
stage() {
    local title=$1 started=$SECONDS
    shift
    printf '%-28s' "$title"
    if "$@" >"$log" 2>&1 </dev/null; then
        [[ -z ${VERBOSE:-} ]] || { printf '\n'; cat "$log"; }
        printf 'ok, %d s\n' $((SECONDS - started))
    else
        printf 'FAILED\n'
        cat "$log" >&2
        fail "$title failed: $*"
    fi
}

# The emulator of Google Cloud Datastore, by others than Google and us, and Google's own client.
emulator_version=0.1.14
client_version=2.27.0
python_home="${XDG_CACHE_HOME:-$HOME/.cache}/moengage-whatsapp-gateway/python"

# need_emulator: builds it once; takes some minutes.
need_emulator() {
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    command -v datastore-emulator >/dev/null && return
    need protoc protobuf-compiler
    [[ -e /usr/include/google/protobuf/timestamp.proto ]] || add_package libprotobuf-dev
    stage "datastore-emulator" cargo install --locked datastore-emulator --version "$emulator_version"
}

# need_client: makes a Python environment outside of the package.
need_client() {
    need python3 python3
    local done_file="$python_home/client-$client_version"
    [[ -e $done_file ]] && return
    rm -rf "$python_home"
    python3 -c 'import ensurepip' 2>/dev/null || add_package python3-venv
    stage "python environment" python3 -m venv "$python_home"
    stage "Google's client" "$python_home/bin/pip" install -q "google-cloud-datastore==$client_version"
    touch "$done_file"
}

# count: adds up what the runner says it passed.
count() {
    local more
    more=$(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1/p' "$log" | paste -sd+)
    passed=$((passed + ${more:-0}))
}

command -v cargo >/dev/null || fail "cargo is missing; install Rust 1.95 or newer"
# The C compiler is for SQLite, which is compiled in.
need cc build-essential
need redis-server redis-server
# A throw-away key of a service account is made with it.
need openssl openssl
# promtool checks the metrics.
need promtool prometheus
need_emulator
need_client
[[ ${1:-} != prepare ]] || exit 0

export CARGO_TERM_COLOR=never
stage "build" cargo build --locked
stage "build the tests" cargo test --locked --no-run
# What the faults need is built beside the tests, which mostly wait, and leaves them most of the processor.
nice -n 5 cargo bench --locked --bench fault --no-run >/dev/null 2>&1 </dev/null &
builder=$!
stage "unit" cargo test --locked --no-fail-fast --lib --bins
count
stage "conventions" cargo test --locked --no-fail-fast --test tidy
count
# More at once than there are processors: these tests mostly wait for another process.
stage "integration" cargo test --locked --no-fail-fast --test it -- --test-threads=6
count
# The same on Redis; those that are always on Redis, or never, are done.
stage "integration, Redis" env GATEWAY_TEST_STORE=redis cargo test --locked --no-fail-fast --test it -- --test-threads=6 \
    --skip cli:: --skip replicas --skip redis_ --skip tokens_killed:: --skip mixed_versions:: --skip lost_answers:: \
    --skip production:: --skip shared::
count
stage "doc tests" cargo test --locked --doc
count
# A build that failed is told by the stage, which builds what is missing.
wait "$builder" || true
builder=
# One seed of each kind of fault on each store, with the release binary.
stage "faults" tests/fault/run.sh --seeds 60 --messages 300

((passed > 0)) || fail "no test was run"
printf '\ntests: %d passed, 0 failed\n' "$passed"
