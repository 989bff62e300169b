#!/usr/bin/env bash
# Builds both programs, optimised, after installing what is missing. Any arguments go to `swift build`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/install-dependencies.sh

if ! version=$(swift --version 2>/dev/null); then
  echo "error: no working Swift toolchain found. Install Swift 6.2 or newer from https://www.swift.org/install/linux/ and add its usr/bin folder to PATH." >&2
  exit 1
fi
if [[ ! $version =~ Swift\ version\ ([0-9]+)\.([0-9]+) ]] ||
  ((BASH_REMATCH[1] < 6 || (BASH_REMATCH[1] == 6 && BASH_REMATCH[2] < 2))); then
  echo "error: Swift 6.2 or newer is needed, $(command -v swift) says: ${version%%$'\n'*}. Newer ones: https://www.swift.org/install/linux/" >&2
  exit 1
fi

swift build -c release --explicit-target-dependency-import-check error "$@"
