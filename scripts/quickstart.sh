#!/usr/bin/env bash
# From a fresh clone to a pretrained 1-bit transformer: installs what is missing, builds, makes a corpus of the bundled
# text (corpus/demo), pretrains on it with 8 ranks (runs/demo), and prints the held-out loss before and after.
#
# Run it again and it goes on from where it is: the corpus is built anew only if the text or the vocabulary
# changed, an interrupted run resumes from its newest checkpoint, and a finished one is only reported.
# To start over: rm -r runs/demo
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

configuration=configs/demo.yaml
run=runs/demo
ranks=8

scripts/demo-corpus.sh
programs=$(swift build -c release --show-bin-path)

echo "== Pretraining with $ranks ranks"
# shellcheck source=scripts/mpi-environment.sh
. scripts/mpi-environment.sh "$ranks"
if [ -f "$run/metrics.jsonl" ]; then
  echo "$run exists: it goes on from its newest checkpoint, or is only reported if it is finished (to start over: rm -r $run)"
fi
mpirun -n "$ranks" "$programs/bipft-pretrain" --config "$configuration" --run-dir "$run"

echo "== Result"
# The value of a key in one JSON line.
field() { sed -nE "s/.*\"$1\"[[:space:]]*:[[:space:]]*([-+0-9.eE]+).*/\1/p"; }
evaluations=$(grep -E '"kind"[[:space:]]*:[[:space:]]*"eval"' "$run/metrics.jsonl" || true)
if [ -z "$evaluations" ]; then
  echo "error: $run/metrics.jsonl holds no evaluation" >&2
  exit 1
fi
first=$(head -n 1 <<<"$evaluations")
last=$(tail -n 1 <<<"$evaluations")
awk -v a="$(field mlm_loss <<<"$first")" -v b="$(field mlm_loss <<<"$last")" \
  -v s="$(field step <<<"$first")" -v t="$(field step <<<"$last")" \
  'BEGIN { printf "held-out MLM loss: %.4f before (step %d), %.4f after (step %d), %.4f nats less\n", a, s, b, t, a - b }'
echo "metrics:     $PWD/$run/metrics.jsonl"
newest=""
for checkpoint in "$run"/checkpoints/step-*/; do
  if [ -f "${checkpoint}model.safetensors" ]; then newest=${checkpoint%/}; fi
done
if [ -n "$newest" ]; then echo "checkpoint:  $PWD/$newest (the model is model.safetensors)"; fi

echo "== Use"
"$programs/bipft" export "$run" --output "$run/model.bipft"
text='The old man walked to the [MASK].'
echo "$text"
"$programs/bipft" fill-mask "$run/model.bipft" --top 3 <<<"$text"
