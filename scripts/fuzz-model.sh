#!/usr/bin/env bash
# Feeds libFuzzer's mutants of packed models to the library BinaryInference under AddressSanitizer: any crash, any read outside
# the file and any answer that takes longer than ten seconds is a finding, and leaves the file that made it.
#
#   scripts/fuzz-model.sh [SECONDS]     (600 unless told otherwise)
#
# Needs a toolchain with libFuzzer (Swift on Linux has it) and the programs of scripts/build.sh, which make the first files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-600}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
programs=$(swift build -c release --show-bin-path)
[ -x "$programs/bipft" ] || { echo "error: no $programs/bipft; run scripts/build.sh" >&2; exit 1; }

echo "-- models to begin with"
# shellcheck source=scripts/mpi-environment.sh
. scripts/mpi-environment.sh 1
words="[PAD] [UNK] [CLS] [SEP] [MASK] . the a king queen river old saw walked to night day"
tr ' ' '\n' <<<"$words" >"$folder/vocab.txt"
for _ in {1..30}; do
  echo "The king saw a river. The old queen walked to the river. A day. The night saw the king walked to a queen."
  echo "A queen walked to the old king. The river saw the night. The day saw a king."
  echo
done >"$folder/text.txt"
"$programs/bipft" corpus build --input "$folder/text.txt" --vocab "$folder/vocab.txt" --output "$folder/corpus" \
  --held-out 0.2 >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
for rank in 0 1; do
  "$programs/bipft-pretrain" --config configs/demo.yaml --run-dir "$folder/run$rank" --set data.corpus="$folder/corpus" \
    --set data.sequence_length=8 --set model.hidden_size=8 --set model.layers=1 --set model.heads=2 \
    --set model.intermediate_size=8 --set model.maximum_length=8 --set model.estimator_rank=$rank \
    --set training.global_batch=4 --set training.micro_batch=4 --set training.steps=2 --set training.warmup_steps=1 \
    --set evaluation.sequences=2 >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
done
mkdir "$folder/rows" "$folder/seeds"
for row in 1 2 3 4; do printf 'the king\troyal\na river\tplain\n'; done | sed '1i text\tlabel' >"$folder/rows/train.tsv"
cp "$folder/rows/train.tsv" "$folder/rows/dev.tsv"
"$programs/bipft" finetune --from "$folder/run1" --data "$folder/rows" --text text --epochs 1 --batch 4 --length 8 \
  --output "$folder/tuned" >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
for reals in float16 int16 float32; do
  "$programs/bipft" export "$folder/run1" --reals $reals --output "$folder/seeds/words-$reals"
  "$programs/bipft" export "$folder/run0" --reals $reals --head none --output "$folder/seeds/none-$reals"
  "$programs/bipft" export "$folder/tuned" --reals $reals --output "$folder/seeds/classifier-$reals"
done >"$folder/log"

echo "-- build"
kernels=Sources/CBitKernels
flags=(-O -wmo -parse-as-library -package-name bipft -swift-version 6 -sanitize=fuzzer,address -I "$folder" -enable-experimental-feature Lifetimes)
for source in "$kernels"/*.c; do
  clang -O1 -g -fsanitize=fuzzer-no-link,address -I "$kernels/include" -c "$source" \
    -o "$folder/$(basename "$source" .c).o"
done
printf 'module CBitKernels { header "%s" export * }\n' "$PWD/$kernels/include/bit_kernels.h" >"$folder/module.modulemap"
for module in FileFormats WordPiece BinaryInference; do
  swiftc "${flags[@]}" -module-name $module -emit-module -emit-module-path "$folder/$module.swiftmodule" \
    -emit-object -o "$folder/$module.o" Sources/$module/*.swift
done
# (What the linker says of sanitizers is of no interest if it links.)
swiftc "${flags[@]}" scripts/fuzz/FuzzModel.swift "$folder"/*.o -o "$folder/fuzz" 2>"$folder/log" ||
  { cat "$folder/log" >&2; exit 1; }

echo "-- $seconds seconds"
# What stands in headers, so that mutants are often valid JSON.
tr ' ' '\n' >"$folder/words.dict" <<'WORDS'
"\"dtype\"" "\"shape\"" "\"data_offsets\"" "\"__metadata__\"" "\"F16\"" "\"F32\"" "\"U8\"" "\"I64\"" "\"head\"" "\"mlm\""
"\"classifier\"" "\"none\"" "\"labels\"" "\"[]\"" "\"texts\"" "\"layers\"" "\"heads\"" "\"hidden_size\"" "[0,0]" "[]" "[8,8]"
"9223372036854775807" "18446744073709551615" "-1" "16777216" "16777217" "\\u0000" "\\ud800" ",\"" "\":" "{\"" "\"}"
WORDS
mkdir "$folder/found"
findings=$PWD/fuzz-findings
status=0
ASAN_OPTIONS=detect_leaks=0 "$folder/fuzz" "$folder/found" "$folder/seeds" -dict="$folder/words.dict" -max_len=40000 \
  -timeout=10 -rss_limit_mb=4096 -max_total_time="$seconds" -artifact_prefix="$folder/finding-" -print_final_stats=1 \
  >"$folder/log" 2>&1 || status=$?
grep -E '^stat::|^Done|ERROR|SUMMARY' "$folder/log"
if [ $status -ne 0 ]; then
  mkdir -p "$findings"
  cp "$folder"/finding-* "$findings" 2>/dev/null || true
  tail -n 60 "$folder/log" >&2
  echo "error: a finding; its file is in $findings" >&2
  exit 1
fi
echo "fuzzing: nothing found"
