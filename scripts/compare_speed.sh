#!/usr/bin/env bash
# Training speed of bipft against PyTorch at BERT-base size on the same cores, taking turns; 16 sequences a step on both
# sides, here one lane in slices of 8, there two micro-batches of 8:
#   scripts/compare_speed.sh [python]      (a Python with torch, numpy and safetensors)
# THREADS=2, STEPS=2 and ROUNDS=3 can be set. Prints each measurement as JSON, then the medians of the rounds' ratios.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
threads=${THREADS:-2}
steps=${STEPS:-2}
rounds=${ROUNDS:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bipft=.build/release/bipft
[ -x "$bipft" ] || { echo "error: no $bipft; run scripts/build.sh" >&2; exit 1; }
export OMP_NUM_THREADS=$threads

"$python" scripts/pytorch/speed.py --write-teacher "$work/teacher.safetensors"
ours() {
  "$bipft" bench step --threads "$threads" --steps "$steps" --lanes 1 --micro-batch 16 --precision int8 --json "$@"
}
theirs() { "$python" scripts/pytorch/speed.py --threads "$threads" --steps "$steps" "$@"; }
for ((round = 1; round <= rounds; round++)); do
  ours | tee -a "$work/ours"
  theirs --precision float32 | tee -a "$work/float32"
  theirs --precision bfloat16 | tee -a "$work/bfloat16"
  ours --teacher "$work/teacher.safetensors" | tee -a "$work/ours-teacher"
  theirs --precision float32 --teacher | tee -a "$work/float32-teacher"
  theirs --precision bfloat16 --teacher | tee -a "$work/bfloat16-teacher"
done
"$python" - "$work" <<'END'
import json, statistics, sys
read = lambda name: [json.loads(line) for line in open(f'{sys.argv[1]}/{name}')]
for suffix, title in (('', 'without teacher'), ('-teacher', 'with teacher')):
    own = read('ours' + suffix)
    for name in ('float32', 'bfloat16'):
        other = read(name + suffix)
        ratios = [a['tokens_per_s'] / b['tokens_per_s'] for a, b in zip(own, other)]
        memory = statistics.median(b['peak_rss_mib'] for b in other)
        print(f"{title}: {statistics.median(ratios):.2f} times PyTorch {name} "
              f"({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds), "
              f"{own[0]['peak_rss_mib'] / memory:.2f} of its memory")
END
