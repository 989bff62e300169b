#!/usr/bin/env bash
# Builds the programs, and of the bundled text the corpus of configs/demo.yaml: corpus/demo. Run again, it builds only what has
# changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

text=configs/demo-text/books.txt
vocabulary=configs/vocab/vocab.txt
corpus=corpus/demo

echo "== Build"
scripts/build.sh
programs=$(swift build -c release --show-bin-path)

echo "== Corpus"
# What the corpus was made of: kept beside it, so that a corpus is reused only if all of that is the same.
inputs=$corpus.inputs
held_out=0.05
wanted=$(echo "held-out $held_out" && sha256sum "$text" "$vocabulary")
if [ -f "$corpus/corpus.json" ] && [ -f "$inputs" ] && [ "$(cat "$inputs")" = "$wanted" ]; then
  echo "$corpus is up to date"
else
  # An older corpus of ours gives way; anything else that lies there is for the program to refuse.
  if [ -f "$corpus/corpus.json" ]; then rm -r "$corpus"; fi
  rm -f "$inputs"
  "$programs/bipft" corpus build --input "$text" --vocab "$vocabulary" --output "$corpus" --held-out "$held_out"
  echo "$wanted" >"$inputs.new"
  mv "$inputs.new" "$inputs"
fi
