#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: those of the package, those that need several ranks under
# mpirun, some under sanitizers, the format of the Swift sources and the syntax of the scripts. Fails if anything fails.
# Arguments go to `swift test` (for instance --filter Golden).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts=(.ci/run)
while IFS= read -r script; do scripts+=("$script"); done < <(find scripts cluster -name '*.sh' -o -name '*.sbatch' | sort)

echo "== Scripts"
for script in "${scripts[@]}"; do bash -n "$script"; done
if command -v shellcheck >/dev/null; then
  shellcheck --shell=bash --external-sources --severity=warning "${scripts[@]}"
else
  echo "shellcheck is not installed: only the syntax was checked"
fi
if command -v python3 >/dev/null; then
  # Parsed, not run: these programs need packages that the tests do without.
  find scripts -name '*.py' -print0 | sort -z | xargs -0r \
    python3 -c 'import ast, sys; [ast.parse(open(f, encoding="utf-8").read(), f) for f in sys.argv[1:]]'
else
  echo "SKIPPED: the syntax of the Python scripts: python3 is not installed"
fi

echo "== Build"
scripts/build.sh

echo "== Format"
swift format lint --strict --recursive Sources Tests Examples scripts/fuzz Package.swift

echo "== Kernels on arm64"
scripts/test-arm64.sh

# shellcheck source=scripts/mpi-environment.sh
. scripts/mpi-environment.sh 8

echo "== Tests"
# No testable imports: the tests use the public API, and the modules just built are not built again.
swift test -c release --disable-testable-imports --disable-xctest \
  --explicit-target-dependency-import-check error "$@"

echo "== Tests under mpirun"
scripts/mpi-tests.sh release

echo "== The package as others use it"
scripts/test-package.sh

echo "== Under AddressSanitizer and UndefinedBehaviorSanitizer, in short"
scripts/test-sanitizers.sh --short

echo "== Tests in a SLURM of two nodes, and over a network of hosts"
# BIPFT_CLUSTER_TESTS=0 leaves them out.
if [ "${BIPFT_CLUSTER_TESTS:-1}" = 0 ]; then
  echo "SKIPPED: the tests in a SLURM and over a network of hosts: BIPFT_CLUSTER_TESTS=0"
else
  cluster/test/all.sh "$(swift build -c release --show-bin-path)"
fi

echo "== All passed"
