#!/usr/bin/env bash
# Training speed of bipft against PyTorch at BERT-base size on the same cores, one after the other:
#   scripts/compare_speed.sh [python]      (a Python with torch, numpy and safetensors)
# THREADS=2 and STEPS=2 can be set. Prints each measurement as JSON, then the ratios.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
threads=${THREADS:-2}
steps=${STEPS:-2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bipft=.build/release/bipft
[ -x "$bipft" ] || { echo "error: no $bipft; run scripts/build.sh" >&2; exit 1; }
export OMP_NUM_THREADS=$threads

"$python" scripts/pytorch/speed.py --write-teacher "$work/teacher.safetensors"
ours() { "$bipft" bench step --threads "$threads" --steps "$steps" --precision int8 --json "$@"; }
theirs() { "$python" scripts/pytorch/speed.py --threads "$threads" --steps "$steps" "$@"; }
ours | tee "$work/ours"
theirs --precision float32 | tee "$work/float32"
theirs --precision bfloat16 | tee "$work/bfloat16"
ours --teacher "$work/teacher.safetensors" | tee "$work/ours-teacher"
theirs --precision float32 --teacher | tee "$work/float32-teacher"
theirs --precision bfloat16 --teacher | tee "$work/bfloat16-teacher"

"$python" - "$work" <<'END'
import json, sys
read = lambda name: json.load(open(f'{sys.argv[1]}/{name}'))
for suffix, title in (('', 'without teacher'), ('-teacher', 'with teacher')):
    own = read('ours' + suffix)
    for name in ('float32', 'bfloat16'):
        other = read(name + suffix)
        print(f"{title}: {own['tokens_per_s'] / other['tokens_per_s']:.2f} times PyTorch {name}, "
              f"{own['peak_rss_mib'] / other['peak_rss_mib']:.2f} of its memory")
END
