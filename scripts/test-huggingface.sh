#!/usr/bin/env bash
# Trains a little, pretraining and then a classifier, exports both for Hugging Face and loads them with transformers: all names
# and values, and the tokenizer.
#
#   scripts/test-huggingface.sh [PYTHON]     (a Python with torch, transformers and safetensors; else a venv with them is made)
#
# Not part of scripts/test.sh, which does without these packages. Needs the programs of scripts/build.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
programs=$(swift build -c release --show-bin-path)
python=${1:-}
if [ -z "$python" ]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install -q torch==2.13.0 'transformers==4.57.6' 'safetensors>=0.6'
  python=$folder/venv/bin/python
fi
export HF_HUB_OFFLINE=1
quietly() { "$@" >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }; }

# shellcheck source=scripts/mpi-environment.sh
. scripts/mpi-environment.sh 1
head -n 1000 configs/demo-text/books.txt >"$folder/text.txt"
quietly "$programs/bipft" corpus build --input "$folder/text.txt" --vocab configs/vocab/vocab.txt \
  --output "$folder/corpus" --held-out 0.2
quietly "$programs/bipft-pretrain" --config configs/demo.yaml --run-dir "$folder/run" \
  --set data.corpus="$folder/corpus" --set data.sequence_length=32 --set model.hidden_size=64 --set model.layers=2 \
  --set model.heads=2 --set model.intermediate_size=128 --set training.global_batch=8 --set training.micro_batch=4 \
  --set training.steps=3 --set training.warmup_steps=1 --set evaluation.sequences=4
quietly "$programs/bipft" export "$folder/run" --format huggingface --output "$folder/bert"
grep -v '^$' configs/demo-text/books.txt | sed -n '2000,2500p' >"$folder/lines"
"$programs/bipft" corpus encode --vocab configs/vocab/vocab.txt --input "$folder/lines" >"$folder/ids"
"$python" scripts/huggingface/load.py "$folder/bert" "$folder/ids" <"$folder/lines"

mkdir "$folder/rows"
for row in 1 2 3 4 5 6; do printf 'A king %d.\troyal\nA river %d.\tplain\nA road %d.\tplain\n' "$row" "$row" "$row"; done |
  sed '1i text\tlabel' >"$folder/rows/train.tsv"
cp "$folder/rows/train.tsv" "$folder/rows/dev.tsv"
quietly "$programs/bipft" finetune --from "$folder/run" --data "$folder/rows" --text text --epochs 1 --batch 4 \
  --length 16 --output "$folder/tuned"
quietly "$programs/bipft" export "$folder/tuned" --format huggingface --output "$folder/classifier"
"$python" scripts/huggingface/load.py "$folder/classifier"
