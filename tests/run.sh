#!/usr/bin/env bash
# Runs every test: unit, conventions (tests/tidy.rs), integration (tests/it) and doc tests.
# Installs what is missing and leaves the rest alone; needs root or sudo only for that.
# `tests/run.sh prepare` installs and ends. What a stage printed is shown when it fails, or always
# with VERBOSE=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'printf "stopped\n"; tail -n 50 "$log" >&2; exit 143' TERM
passed=0

fail() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    exit 1
}

# need COMMAND PACKAGE: installs a Debian package unless its command is there already.
need() {
    command -v "$1" >/dev/null && return
    command -v apt-get >/dev/null || fail "$1 is missing: install what Debian calls $2"
    local as_root=()
    if [[ $(id -u) != 0 ]]; then
        sudo -n true 2>/dev/null || fail "$1 is missing: apt-get install $2 as root, then try again"
        as_root=(sudo -n)
    fi
    stage "package lists" "${as_root[@]}" apt-get update -qq
    stage "package $2" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$2"
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
[[ ${1:-} != prepare ]] || exit 0

export CARGO_TERM_COLOR=never
stage "build" cargo build --locked
stage "build the tests" cargo test --locked --no-run
stage "unit" cargo test --locked --no-fail-fast --lib --bins
count
stage "conventions" cargo test --locked --no-fail-fast --test tidy
count
# More at once than there are processors: these tests mostly wait for another process. Those that
# measure a pace run alone by themselves.
stage "integration" cargo test --locked --no-fail-fast --test it -- --test-threads=6
count
# To be switched on with REDIS_URL. Those skipped are on Redis in the stage above already.
# stage "integration, Redis" env GATEWAY_TEST_STORE=redis cargo test --locked --no-fail-fast --test it -- --test-threads=6 --skip replicas:: --skip redis_ && count
stage "doc tests" cargo test --locked --doc
count

((passed > 0)) || fail "no test was run"
printf '\ntests: %d passed, 0 failed\n' "$passed"
