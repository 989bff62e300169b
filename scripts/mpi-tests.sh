#!/bin/sh
# Runs the tests of Collectives and of checkpoints written together under mpirun with 1, 2, 3, 4, 5 and 8 ranks.
#
#   scripts/mpi-tests.sh [debug|release] [RANKS...]
#
# Builds what is missing. Fails if any test fails in any world.
set -eu
cd "$(dirname "$0")/.."

configuration=${1:-debug}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- 1 2 3 4 5 8

case $configuration in
debug | release) ;;
*)
  echo "usage: scripts/mpi-tests.sh [debug|release] [RANKS...]" >&2
  exit 2
  ;;
esac

swift build --build-tests -c "$configuration"
bundle=$(swift build -c "$configuration" --show-bin-path)/bipftPackageTests.xctest

# mpirun refuses root unless told twice; more ranks than cores must be asked for.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
output=$(mktemp)
trap 'rm -f "$output"' EXIT

for ranks; do
  for suite in CollectivesTests CheckpointWorldTests; do
    if mpirun --oversubscribe --timeout 300 -n "$ranks" \
      "$bundle" --testing-library swift-testing --filter "$suite" </dev/null >"$output" 2>&1 &&
      [ "$(grep -c 'Test run with .* passed' "$output")" -eq "$ranks" ]; then
      echo "$suite in a world of $ranks: $(grep -m 1 -o 'Test run with .* passed.*' "$output")"
    else
      cat "$output"
      echo "$suite in a world of $ranks: FAILED" >&2
      exit 1
    fi
  done
done
