#!/usr/bin/env bash
# The fault suite: tests/fault/run.sh [--seeds N] [--seed N] [--messages N] ...; --help tells more.
# Builds suite and gateway as for a release, with the features of the tests, and gives the runs namespaces
# of their own: for mounts, as one class of faults fills up a small disk, and for processes, so that none
# is left behind however it ends.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tests/run.sh prepare
suite=$(cargo bench --locked --bench fault --no-run 2>&1 | sed -nE 's/.*Executable.*\((.*)\)$/\1/p')
[[ -x $suite ]] || { cargo bench --locked --bench fault --no-run; exit 1; }
as=(unshare --mount --pid --fork --kill-child --mount-proc)
[[ $(id -u) == 0 ]] || as+=(--map-root-user)
exec "${as[@]}" "$suite" "$@"
