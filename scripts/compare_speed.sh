#!/usr/bin/env bash
# Training speed of bipft against PyTorch on the same cores, taking turns; 16 sequences a step on both sides:
#   scripts/compare_speed.sh [python]      (a Python with torch, numpy, safetensors and transformers)
# MODEL="hidden layers heads intermediate" (default BERT-base, "768 12 12 3072"), THREADS=2, STEPS=2 and ROUNDS=3 can be set.
# SET=avx2 holds both sides to AVX2. Prints each measurement as JSON, then the medians of the rounds' ratios.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
threads=${THREADS:-2}
steps=${STEPS:-2}
rounds=${ROUNDS:-3}
read -r hidden layers heads intermediate <<< "${MODEL:-768 12 12 3072}"
shape=(--hidden "$hidden" --layers "$layers" --heads "$heads" --intermediate "$intermediate")
if [ -n "${SET:-}" ]; then
  export BIPFT_KERNELS=$SET ATEN_CPU_CAPABILITY=$SET ONEDNN_MAX_CPU_ISA=${SET^^}
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bipft=.build/release/bipft
[ -x "$bipft" ] || { echo "error: no $bipft; run scripts/build.sh" >&2; exit 1; }
export OMP_NUM_THREADS=$threads

"$python" scripts/pytorch/speed.py "${shape[@]}" --write-teacher "$work/teacher.safetensors"
ours() {
  "$bipft" bench step "${shape[@]}" --threads "$threads" --steps "$steps" --lanes 1 --micro-batch 16 --precision int8 --json "$@"
}
theirs() { "$python" scripts/pytorch/speed.py "${shape[@]}" --threads "$threads" --steps "$steps" "$@"; }
for ((round = 1; round <= rounds; round++)); do
  ours | tee -a "$work/ours"
  ours --teacher "$work/teacher.safetensors" | tee -a "$work/ours-teacher"
  for precision in float32 bfloat16; do
    theirs --precision "$precision" | tee -a "$work/$precision"
    theirs --precision "$precision" --teacher | tee -a "$work/$precision-teacher"
    theirs --precision "$precision" --network bert | tee -a "$work/$precision-bert"
  done
done
"$python" - "$work" <<'END'
import json, statistics, sys
read = lambda name: [json.loads(line) for line in open(f'{sys.argv[1]}/{name}')]
for suffix, title, side in (('', 'without teacher', ''), ('-teacher', 'with teacher', '-teacher'),
                            ('-bert', 'without teacher, beside a full-precision BERT', '')):
    own = read('ours' + side)
    for name in ('float32', 'bfloat16'):
        other = read(name + suffix)
        ratios = [a['tokens_per_s'] / b['tokens_per_s'] for a, b in zip(own, other)]
        tokens = lambda runs: ', '.join(f"{run['tokens_per_s']:.0f}" for run in runs)
        memory = [statistics.median(run['peak_rss_mib'] for run in runs) for runs in (own, other)]
        print(f"{title}: {statistics.median(ratios):.2f} times PyTorch {name} "
              f"({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds; tokens/s {tokens(own)} against "
              f"{tokens(other)}; {memory[0]:.0f} MiB, {memory[0] / memory[1]:.2f} of its memory)")
END
