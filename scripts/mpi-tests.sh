#!/bin/sh
# Runs the tests of Collectives, of checkpoints written by a world and of a run of an objective of their own under mpirun with 1, 2, 3, 4, 5 and 8 ranks.
#
#   scripts/mpi-tests.sh [debug|release] [RANKS...]
#
# Builds what is missing. Fails if any test fails in any world, or if an abort does not end the job as it should.
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

run() { # RANKS FILTER
  mpirun --oversubscribe --timeout 300 -n "$1" \
    "$bundle" --testing-library swift-testing --filter "$2" </dev/null >"$output" 2>&1
}

fail() {
  cat "$output"
  echo "$1: FAILED" >&2
  exit 1
}

# A process can be part of only one world, so each suite has processes of its own.
for ranks; do
  for suite in CollectivesTests CheckpointWorldTests aProbeTrainsInAnyWorld; do
    name="$suite in a world of $ranks"
    run "$ranks" "$suite" || fail "$name"
    [ "$(grep -c 'Test run with .* passed' "$output")" -eq "$ranks" ] || fail "$name"
    echo "$name: $(grep -m 1 -o 'Test run with .* passed.*' "$output")"
    grep '^SKIPPED' "$output" || true
    if [ "$suite" = aProbeTrainsInAnyWorld ]; then
      weights=$(grep -o 'weights of the probe: [0-9a-f]*' "$output" || true)
      [ "${first:=$weights}" = "$weights" ] && [ -n "$weights" ] || fail "$name: other weights than in the first world"
    fi
  done
done

name="Messages in pieces of 4099 bytes, 3 ranks"
BIPFT_TEST_PIECE_BYTES=4099 run 3 CollectivesTests || fail "$name"
[ "$(grep -c 'Test run with .* passed' "$output")" -eq 3 ] || fail "$name"
echo "$name: passed"

for shape in "4 2" "5 3" "7 3"; do
  set -- $shape
  name="$1 ranks, $2 on a host"
  BIPFT_TEST_HOST_RANKS=$2 run "$1" CollectivesTests.WorldTests || fail "$name"
  [ "$(grep -c 'Test run with .* passed' "$output")" -eq "$1" ] || fail "$name"
  echo "$name: passed"
done

name="An abort of one rank of 3 ends the job with its code and one line"
code=0
BIPFT_TEST_ABORT=1 run 3 abortEndsTheJob || code=$?
[ "$code" -eq 78 ] || fail "$name (exit code $code)"
[ "$(grep -c '^bipft: rank 2 (.*): this test ends the job$' "$output")" -eq 1 ] || fail "$name"
echo "$name: passed"
