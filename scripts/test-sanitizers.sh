#!/usr/bin/env bash
# Runs under AddressSanitizer and, what is C, under UndefinedBehaviorSanitizer: the kernels of every instruction set of
# this processor, the readers with thousands of damaged files, the layers, and jobs of two ranks. Any finding ends it.
#
#   scripts/test-sanitizers.sh          all of that, with ten times as many damaged files
#   scripts/test-sanitizers.sh --short  one job and its teacher's; part of scripts/test.sh
#
# Builds into .build-sanitizers, apart from the build that people run. BIPFT_MUTATION_ROUNDS=n takes n times as many
# damaged files, BIPFT_MUTATION_SEED=s others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "$*" in
'') is_short=0 ;;
--short) is_short=1 ;;
*)
  echo "usage: scripts/test-sanitizers.sh [--short]" >&2
  exit 2
  ;;
esac

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Leaks are not looked for: MPI and Swift's runtime keep memory until the end.
export ASAN_OPTIONS=detect_leaks=0
export UBSAN_OPTIONS=print_stacktrace=1

echo "-- kernels"
if command -v clang >/dev/null; then
  # Exact blocks, so that a byte read beyond an operand is found. (What the linker says is of no interest if it links.)
  clang -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -ISources/CBitKernels/include \
    Sources/CBitKernels/*.c scripts/arm64/*.c -lm -lpthread -o "$folder/kernels" 2>"$folder/linker.txt" ||
    { cat "$folder/linker.txt" >&2; exit 1; }
  ASAN_OPTIONS=detect_leaks=1 "$folder/kernels" >/dev/null
else
  echo "SKIPPED: the kernels by themselves need clang (it comes with Swift)"
fi

echo "-- build"
# Checks between the instructions keep loops from being unrolled: said by the compiler, and of no interest here.
options=(-c release --scratch-path .build-sanitizers --sanitize address
  -Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined -Xcc -Wno-pass-failed)
swift test list "${options[@]}" --disable-testable-imports --disable-xctest >"$folder/build.txt" 2>&1 ||
  { cat "$folder/build.txt" >&2; exit 1; }
programs=$(swift build "${options[@]}" --show-bin-path)
tests=$programs/bipftPackageTests.xctest

echo "-- readers, layers, kernels in Swift"
# All suites but those that run programs.
if [ $is_short -eq 0 ]; then export BIPFT_MUTATION_ROUNDS="${BIPFT_MUTATION_ROUNDS:-10}"; fi
if ! "$tests" --testing-library swift-testing --skip '^SystemTests\.' </dev/null >"$folder/output.txt" 2>&1; then
  cat "$folder/output.txt" >&2
  exit 1
fi
grep -o 'Test run with .* passed.*' "$folder/output.txt"

echo "-- a job of two ranks"
# shellcheck source=scripts/mpi-environment.sh
. scripts/mpi-environment.sh 2
job() { # EXPECTED-CODE NAME ARGUMENTS...
  local expected=$1 name=$2 code=0
  shift 2
  mpirun -n 2 --timeout 300 "$programs/bipft-pretrain" --config configs/demo.yaml --run-dir "$folder/$name" \
    --set data.corpus="$folder/corpus" --set data.sequence_length=32 --set model.hidden_size=40 \
    --set model.layers=2 --set model.heads=2 --set model.intermediate_size=72 --set training.global_batch=8 \
    --set training.micro_batch=2 --set training.steps=6 --set training.warmup_steps=2 \
    --set training.replica_check_every=2 --set evaluation.every=3 --set evaluation.sequences=6 \
    --set checkpoint.every=2 --set threads=2 "$@" </dev/null >"$folder/output.txt" 2>&1 || code=$?
  if [ "$code" -ne "$expected" ] || grep -qE 'AddressSanitizer|runtime error' "$folder/output.txt"; then
    cat "$folder/output.txt" >&2
    echo "a job of two ranks, $name: FAILED (exit code $code, not $expected)" >&2
    exit 1
  fi
}
head -n 1000 configs/demo-text/books.txt >"$folder/text.txt"
"$programs/bipft" corpus build --input "$folder/text.txt" --vocab configs/vocab/vocab.txt \
  --output "$folder/corpus" --held-out 0.2 >"$folder/output.txt" 2>&1 || { cat "$folder/output.txt" >&2; exit 1; }
for precision in float32 int8 bfloat16; do
  more=(--set training.backward_precision=$precision)
  if [ $precision != float32 ]; then more+=(--set lanes=dynamic --set gradient_format=int16); fi
  BIPFT_TEST_FAULTS=stop:1:3 job 75 $precision "${more[@]}"
  job 0 $precision "${more[@]}"
  if [ $is_short -eq 1 ]; then break; fi
done
"$programs/bipft" checkpoint verify "$folder/float32" >/dev/null
"$programs/bipft" schedule --audit "$folder/float32" >/dev/null
# The last weights of a run at full precision start and teach another one.
job 0 full --set model.precision=full --set model.estimator_rank=0
weights=$folder/full/checkpoints/step-00000006/model.safetensors
job 0 taught --set teacher="$weights" --set initial_weights="$weights" --set training.backward_precision=int8
echo "sanitizers: nothing found"
