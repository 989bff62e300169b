#!/usr/bin/env bash
# Installs what the build needs from the system and is missing: Open MPI, OpenBLAS, OpenSSL and pkg-config, on Debian and its
# relatives with apt. Asks nothing, and says nothing when all is there. As an ordinary user it needs sudo without a
# password; where that does not work it prints the command for an administrator and exits with 1.
#
#   scripts/install-dependencies.sh          # what the build needs
#   scripts/install-dependencies.sh slurm    # also what cluster/test needs: SLURM, munge, iproute2; none is started
set -euo pipefail

missing=()
command -v pkg-config >/dev/null || missing+=(pkg-config)
command -v mpirun >/dev/null || missing+=(openmpi-bin)
# Without pkg-config the libraries cannot be looked for; installing them again does no harm.
pkg-config --exists ompi-c 2>/dev/null || missing+=(libopenmpi-dev)
pkg-config --exists openblas 2>/dev/null || missing+=(libopenblas-dev)
pkg-config --exists libcrypto 2>/dev/null || missing+=(libssl-dev)
if [ "${1:-}" = slurm ]; then
  # SLURM's daemons lie in /usr/sbin, which is not on every user's path.
  PATH=$PATH:/usr/sbin:/sbin
  if ! command -v slurmctld >/dev/null || ! command -v slurmd >/dev/null || ! command -v sbatch >/dev/null; then
    missing+=(slurm-wlm)
  fi
  command -v munged >/dev/null || missing+=(munge)
  command -v ip >/dev/null || missing+=(iproute2)
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "error: missing: ${missing[*]} (names of Debian's packages). Install them with this system's package manager, then run this again." >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
    echo "error: missing: ${missing[*]}. An administrator must run: apt-get update && apt-get install -y ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo -n)
fi

echo "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Debian starts the services that it installs, unless this file forbids it.
policy=/usr/sbin/policy-rc.d
if [ "${1:-}" = slurm ] && [ ! -e "$policy" ]; then
  trap 'rm -f "$log"; "${as_root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" </dev/null >>"$log" 2>&1
}
# Lists that are out of date may still do: only a failed installation is an error.
apt update || true
if ! apt install --no-install-recommends "${missing[@]}"; then
  tail -n 20 "$log" >&2
  echo "error: apt-get could not install ${missing[*]} (its last lines stand above)" >&2
  exit 1
fi
