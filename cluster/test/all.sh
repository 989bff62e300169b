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

# What the cluster could leave on this machine has one of these names; its processes have BIPFT_HOSTS in their environment.
left_behind() {
  find /tmp /run /etc /var /dev/shm -xdev \( -name 'bipft-??????' -o -name '*slurm*' -o -name '*munge*' -o -name '*pmix*' \
    -o -name 'ompi.*' \) 2>/dev/null || true
  cut -d ' ' -f 5 /proc/self/mountinfo
  cat /etc/hosts
  ip -oneline link show type veth
  ip -oneline link show type bridge
  { grep -lsz '^BIPFT_HOSTS=/tmp/bipft-' /proc/[0-9]*/environ || true; } | xargs -r dirname | while IFS= read -r process; do
    echo "$process: $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null)"
  done
}

PATH=$PATH:/usr/sbin:/sbin
output=$(mktemp)
before=$(left_behind | sort)
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

left=$(comm -13 <(echo "$before") <(left_behind | sort))
if [ -n "$left" ]; then
  echo "$left" >&2
  echo "cluster: something is left behind: FAILED" >&2
  exit 1
fi
echo "cluster: no process, file, mount or network link is left behind: passed"
