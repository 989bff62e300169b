#!/usr/bin/env bash
# Compiles the C kernels for arm64 and runs all of them, NEON and portable, under qemu's user emulation: integer products
# and packing against plain loops, everything else for the same bits as this machine's own kernels. A few seconds.
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
sources=(Sources/CBitKernels/*.c scripts/arm64/compare_kernels.c)
options=(-O2 -Wall -Wextra -Werror -ISources/CBitKernels/include)
clang "${options[@]}" "${sources[@]}" -lm -lpthread -o "$folder/native"
# Linked by the cross compiler, which knows where its libraries lie.
for source in "${sources[@]}"; do
  clang --target=aarch64-linux-gnu "${options[@]}" -c "$source" -o "$folder/$(basename "$source" .c).o"
done
aarch64-linux-gnu-gcc -static "$folder"/*.o -lm -lpthread -o "$folder/arm64"
"$folder/native" >"$folder/native.txt"
qemu-aarch64 "$folder/arm64" >"$folder/arm64.txt"
if ! diff "$folder/native.txt" "$folder/arm64.txt"; then
  echo "error: these kernels (left $(uname -m), right arm64) differ" >&2
  exit 1
fi
echo "$(wc -l <"$folder/arm64.txt") kernels on arm64: the same bits as on $(uname -m)"
