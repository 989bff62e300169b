#!/usr/bin/env bash
# The package as others use it: from a clone made now, Examples/ and a new package of the README's lines are built, fetch no
# other package, link neither Foundation nor MPI nor BLAS, and answer as the program bipft does.
#
#   scripts/test-package.sh     part of scripts/test.sh; needs the programs of scripts/build.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
programs=$(swift build -c release --show-bin-path)
fail() {
  cat "$folder/log" >&2 2>/dev/null || true
  echo "error: $1" >&2
  exit 1
}
quietly() { "$@" >"$folder/log" 2>&1 || fail "$*"; }

# What git has and what it would add, so that it also serves before a commit.
mkdir "$folder/bipft" "$folder/origin"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | tar -c --null -T - | tar -x -C "$folder/origin"
quietly git -C "$folder/origin" init -q
quietly git -C "$folder/origin" add -A
quietly git -C "$folder/origin" -c user.name=test -c user.email=test@localhost commit -q -m "as it is"
quietly git clone -q "$folder/origin" "$folder/bipft"

echo "-- a model"
# shellcheck source=scripts/mpi-environment.sh
. scripts/mpi-environment.sh 1
head -n 1000 configs/demo-text/books.txt >"$folder/text.txt"
quietly "$programs/bipft" corpus build --input "$folder/text.txt" --vocab configs/vocab/vocab.txt \
  --output "$folder/corpus" --held-out 0.2
quietly "$programs/bipft-pretrain" --config configs/demo.yaml --run-dir "$folder/run" \
  --set data.corpus="$folder/corpus" --set data.sequence_length=32 --set model.hidden_size=64 --set model.layers=2 \
  --set model.heads=2 --set model.intermediate_size=128 --set training.global_batch=8 --set training.micro_batch=4 \
  --set training.steps=3 --set training.warmup_steps=1 --set evaluation.sequences=4
quietly "$programs/bipft" export "$folder/run" --output "$folder/model.bipft"
printf 'The old man walked to the river.\nA king said nothing.\nThe old king walked to the river.\n' >"$folder/lines"

# Builds the package FOLDER; nothing may be fetched, and only what the library needs may be linked.
build() {
  quietly swift build -c release --package-path "$1"
  [ -z "$(ls -A "$1/.build/checkouts" 2>/dev/null)" ] || fail "$1 fetched $(ls "$1/.build/checkouts")"
  if ldd "$(swift build -c release --package-path "$1" --show-bin-path)/$2" | grep -E 'Foundation|mpi|openblas|crypto'; then
    fail "$2 links what the library can do without"
  fi
}

echo "-- Examples"
build "$folder/bipft/Examples" nearest
"$folder/bipft/Examples/.build/release/nearest" "$folder/model.bipft" <"$folder/lines" >"$folder/nearest"
# The same cosines as of the vectors that the program prints.
"$programs/bipft" embed "$folder/model.bipft" <"$folder/lines" | sed 's/.*\[\(.*\)\].*/\1/; s/,//g' | awk '
  { n = split($0, v, " "); for (i = 1; i <= n; i++) x[NR, i] = v[i] }
  END {
    for (a = 1; a <= NR; a++) {
      best = 0
      for (b = 1; b <= NR; b++) {
        if (a == b) continue
        s = 0; for (i = 1; i <= n; i++) s += x[a, i] * x[b, i]
        if (!best || s > most) { best = b; most = s }
      }
      printf "line %d: nearest is line %d, cosine %.4f\n", a, best, most
    }
  }' >"$folder/expected"
awk '{ printf "line %d: nearest is line %d, cosine %.4f\n", $2, $6, $8 }' "$folder/nearest" >"$folder/found"
[ "$(wc -l <"$folder/found")" -eq 3 ] && diff "$folder/expected" "$folder/found" || fail "nearest answers otherwise than bipft embed"

echo "-- A new package of the README's lines"
mkdir -p "$folder/mine/Sources/mine"
# The lines of README.md from MARK to the next empty one, without their indentation.
block() { awk -v mark="$1" 'index($0, mark) { on = 1 } on && !NF { exit } on { sub(/^    /, ""); print }' README.md; }
block '// swift-tools-version' >"$folder/mine/Package.swift"
block 'import BinaryInference' >"$folder/mine/Sources/mine/main.swift"
[ -s "$folder/mine/Package.swift" ] && [ -s "$folder/mine/Sources/mine/main.swift" ] || fail "README.md has no such lines"
cp "$folder/model.bipft" "$folder/mine/mine.bipft"
build "$folder/mine" mine
answer=$(cd "$folder/mine" && .build/release/mine)
[[ $answer == *"64 numbers"* ]] || fail "the README's program says: $answer"

echo "the package from a clone: nothing else fetched, the same answers"
