#!/usr/bin/env bash
# Packed models beside other runtimes on this machine: BERT-base and two small shapes, all with random weights, a process a case,
# taking turns:
#   scripts/compare_inference.sh [python]
# The Python needs torch 2.13.0, transformers 4.57.6, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, ctranslate2 4.8.5; without
# one a venv with them is made. ROUNDS=3 and SECONDS_EACH=2 can be set. Prints each measurement as JSON, then a table of the best
# rounds: the least processor time of a call, the median by the clock, load, peak memory, file.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bipft=.build/release/bipft
[ -x "$bipft" ] || { echo "error: no $bipft; run scripts/build.sh" >&2; exit 1; }
python=${1:-}
if [ -z "$python" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q torch==2.13.0 transformers==4.57.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 \
    ctranslate2==4.8.5
  python=$work/venv/bin/python
fi
export HF_HUB_OFFLINE=1

"$python" scripts/inference/rivals.py "$work" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
untrained() { # SHAPE LAYERS HIDDEN HEADS INTERMEDIATE
  "$bipft" bench untrained-model --output "$work/$1.bipft" --layers "$2" --hidden "$3" --heads "$4" --intermediate "$5" \
    >"$work/log"
}
untrained 12x768 12 768 12 3072
untrained 6x384 6 384 12 1536
untrained 4x312 4 312 12 1200

measure() { # SHAPE RUNTIMES...
  local shape=$1
  "$python" scripts/inference/ours.py "$bipft" "$work/$shape.bipft" "$shape" 30
  for runtime in "${@:2}"; do
    for case in '1 16 1' '1 128 1' '1 512 1' '16 128 2'; do
      # shellcheck disable=SC2086
      "$python" scripts/inference/measure.py "$runtime" "$work/$shape" $case "$seconds"
    done
  done
}
for ((round = 1; round <= rounds; round++)); do
  measure 12x768 onnxruntime-int8 ctranslate2-int8 pytorch-int8 pytorch-bfloat16 pytorch-float32
  measure 6x384 onnxruntime-int8 ctranslate2-int8
  measure 4x312 onnxruntime-int8 ctranslate2-int8
done | tee "$work/measurements"
"$python" scripts/inference/table.py <"$work/measurements"
