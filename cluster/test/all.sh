#!/usr/bin/env bash
# Every test that needs a cluster: in a real SLURM (suite.sh) and over a network of hosts (network.sh), all on this machine. Installs
# SLURM if it is missing. Where root, apt or the system does not allow it, says what was skipped and why, and succeeds.
#
#   cluster/test/all.sh [FOLDER OF THE PROGRAMS]    # default: .build/release
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

skip() {
  echo "SKIPPED: the tests in a SLURM and over a network of hosts: $1"
  exit 0
}
[ "$(id -u)" -eq 0 ] || skip "they need root"
problem=$(scripts/install-dependencies.sh slurm 2>&1) || skip "SLURM cannot be installed: ${problem##*$'\n'}"
[ -z "$problem" ] || echo "$problem"

output=$(mktemp)
trap 'rm -f "$output"' EXIT
for suite in suite network; do
  code=0
  # What fails is told on standard error, as is why it cannot run.
  "cluster/test/$suite.sh" "$@" 2> >(tee "$output" >&2) || code=$?
  if [ "$code" -eq 77 ]; then
    sleep 0.2
    skip "$(tail -n 1 "$output")"
  fi
  [ "$code" -eq 0 ] || exit "$code"
done
