#!/usr/bin/env bash
# Compiles the C kernels for arm64 and runs all of them under qemu's user emulation, on processors with and without products of bytes
# by fours and of matrices: products, packing and integers against plain loops, everything for the same bits as this machine's own
# kernels. About a minute, most of it compiling.
#
# Needs clang, an arm64 C library to link with, and qemu (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross,
# qemu-user). As root it installs what is missing; otherwise it says what and skips.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
is_complete() { command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null; }

if ! command -v clang >/dev/null; then
  echo "SKIPPED: kernels on arm64 need clang (it comes with Swift)"
  exit 0
fi
if ! is_complete && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${packages[*]}"
  apt-get update -q >/dev/null 2>&1 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}" </dev/null >/dev/null 2>&1 || true
fi
if ! is_complete; then
  echo "SKIPPED: kernels on arm64 need ${packages[*]} (names of Debian's packages; as root this script installs them)"
  exit 0
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sources=(Sources/CBitKernels/*.c scripts/arm64/*.c)
options=(-O2 -Wall -Wextra -Werror -ISources/CBitKernels/include)
clang "${options[@]}" "${sources[@]}" -lm -lpthread -o "$folder/native"
# Linked by the cross compiler, which knows where its libraries lie.
for source in "${sources[@]}"; do
  clang --target=aarch64-linux-gnu "${options[@]}" -c "$source" -o "$folder/$(basename "$source" .c).o"
done
aarch64-linux-gnu-gcc -static "$folder"/*.o -lm -lpthread -o "$folder/arm64"
"$folder/native" >"$folder/native.txt"
# A kind of processor, and its instruction sets, fastest first.
while read -r processor sets; do
  # shellcheck disable=SC2086
  qemu-aarch64 -cpu "$processor" "$folder/arm64" $sets >"$folder/arm64.txt"
  if ! diff "$folder/native.txt" "$folder/arm64.txt"; then
    echo "error: these kernels (left $(uname -m), right $processor) differ" >&2
    exit 1
  fi
  echo "$(wc -l <"$folder/arm64.txt") kernels on $processor ($sets): the same bits as on $(uname -m)"
done <<'END'
cortex-a53 neon portable
neoverse-n1 neondot neon portable
max neoni8mm neondot neon portable
END
