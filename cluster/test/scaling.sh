#!/usr/bin/env bash
# How well two hosts do the work of one, against the speed of the link between them, and what the model behind
# `bipft-pretrain --dry-run --link-gbit` says of it: tables as in docs/scaling.md. The hosts are on this machine (hosts.sh), a rank
# of one thread on each; tbf limits the rate of their links. It cannot delay (netem could, where the kernel has it).
#
#   cluster/test/scaling.sh [FOLDER OF THE PROGRAMS] [OPTIONS OF bipft-pretrain...]   # default: .build/release
#
#   BIPFT_LINKS    Gbit/s, default "0.1 1 10 unlimited"
#   BIPFT_BATCHES  global batches, default "32 128"
#   BIPFT_STEPS    of each run, default 24; the median counts, without the first two and those whose lanes were done twice
#   BIPFT_CONFIG   default configs/demo.yaml
#
# Needs root and two idle cores. Exits with 77 where it cannot run, and says why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ "${1:-}" != --inside ]; then
  programs=$(realpath "${1:-.build/release}")
  [ $# -eq 0 ] || shift
  exec cluster/test/hosts.sh 2 cluster/test/scaling.sh --inside "$programs" "$@" </dev/null
fi
program=$2/bipft-pretrain
bipft=$2/bipft
shift 2
on=$BIPFT_HOSTS/on
scratch=$BIPFT_HOSTS/scaling
mkdir -p "$scratch"
"$bipft" corpus build --input configs/demo-text/books.txt --vocab configs/vocab/vocab.txt \
  --output "$scratch/corpus" --held-out 0.05 >"$scratch/corpus.out" 2>&1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OPENBLAS_NUM_THREADS=1
export OMPI_MCA_btl=self,tcp OMPI_MCA_pml=ob1 OMPI_MCA_btl_tcp_if_include=10.77.0.0/24
export OMPI_MCA_oob_tcp_if_include=10.77.0.0/24
steps=${BIPFT_STEPS:-24}
common=(--config "${BIPFT_CONFIG:-configs/demo.yaml}" --set "data.corpus=$scratch/corpus" --set threads=1
  --set "training.steps=$steps" --set training.warmup_steps=1 --set "evaluation.every=$steps"
  --set evaluation.sequences=8 --set checkpoint.every=1000000 --set hang_timeout=0 "$@")
if [ "$(nproc)" -lt 2 ]; then
  echo "two ranks on one core say nothing about two hosts" >&2
  exit 77
fi

fail() {
  echo "scaling: $1: FAILED" >&2
  tail -n 40 "$scratch/output" >&2
  exit 1
}
limit() { # GBIT
  local host rate
  for host in n1 n2; do
    tc qdisc del dev "cable-$host" root 2>/dev/null || true
    "$on" "$host" "tc qdisc del dev eth0 root 2>/dev/null || true"
    [ "$1" != unlimited ] || continue
    rate=$(awk -v g="$1" 'BEGIN { printf "%.0fkbit", g * 1e6 }')
    tc qdisc add dev "cable-$host" root tbf rate "$rate" burst 256kb latency 50ms
    "$on" "$host" "tc qdisc add dev eth0 root tbf rate $rate burst 256kb latency 50ms"
  done
}
# Prints the median time of a step, and the bytes that all ranks sent in one.
run() { # NAME RANKS OPTIONS...
  local name=$1 ranks=$2
  shift 2
  # On a core of its own each: the hosts share this machine's.
  local command=() number
  for ((number = 1; number <= ranks; number++)); do
    [ "$number" -eq 1 ] || command+=(:)
    command+=(-n 1 --host "n$number" taskset --cpu-list $((number - 1)) "$program" --run-dir "$scratch/$name" "${common[@]}" "$@")
  done
  timeout 900 mpirun --bind-to none --mca plm_rsh_agent "$on" -x OPENBLAS_NUM_THREADS "${command[@]}" \
    >"$scratch/output" 2>&1 || fail "$name"
  rm -r "$scratch/$name/checkpoints"
  local tokens=$((batch * length))
  # Of steps whose lanes were done once.
  awk -v tokens="$tokens" '
    match($0, /"step": [0-9]+/) { step = substr($0, RSTART + 8, RLENGTH - 8) + 0 }
    FILENAME == ARGV[1] { if (/"repeated_sums": 0/) once[step] = 1; next }
    /"kind": "train"/ && step > 2 && once[step] {
      match($0, /"tokens_per_second": [0-9.]+/)
      print tokens / substr($0, RSTART + 21, RLENGTH - 21)
    }' "$scratch/$name/measurements.jsonl" "$scratch/$name/metrics.jsonl" |
    sort -n | awk '{ time[NR] = $1 } END { printf "%.5f ", time[int((NR + 1) / 2)] }'
  sed -nE 's/.*"bytes_sent": ([0-9]+).*/\1/p' "$scratch/$name/measurements.jsonl" | tail -n 1
}
# What the model says: the columns compute, exchange, update and step of a row.
model() { # ROW RANKS GBIT CORE OPTIONS...
  local row=$1 ranks=$2 gbit=$3 core=$4
  shift 4
  "$program" "${common[@]}" "$@" --dry-run --ranks "$ranks" --ranks-per-host 1 --link-gbit "$gbit" --core-tokens-per-second "$core" |
    awk -v row="$row" 'index($0, row) == 1 { $0 = substr($0, length(row) + 1); print $1, $2, $3, $4 }'
}

"$program" "${common[@]}" --dry-run >"$scratch/plan" 2>"$scratch/output" || fail "the configuration"
length=$(sed -nE 's/^ *sequence_length: ([0-9]+)$/\1/p' "$scratch/plan")
declare -A row=(
  [replicated-int32]="replicated, int32" [sharded-int32]="sharded, int32" [sharded-int16]="sharded, int16")
for batch in ${BIPFT_BATCHES:-32 128}; do
  options=(--set "training.global_batch=$batch")
  limit unlimited
  read -r alone _ < <(run "alone-$batch" 1 "${options[@]}")
  [ -n "${alone:-}" ] || fail "one rank"
  # The rate at which the model takes as long for one rank: all but its compute is measured here.
  read -r _ _ update _ < <(model "sharded, int32" 1 1 1e15 "${options[@]}")
  core=$(awk -v t="$alone" -v u="$update" -v n="$((batch * length))" 'BEGIN { printf "%.1f", n / (t - u) }')
  echo "global batch $batch: one rank takes $alone s a step, $core tokens/s forward and backward"
  echo
  echo "| Gbit/s | synchronisation | MB sent a rank | step, s | efficiency | model, s | error |"
  echo "| --- | --- | --- | --- | --- | --- | --- |"
  for gbit in ${BIPFT_LINKS:-0.1 1 10 unlimited}; do
    limit "$gbit"
    for way in replicated-int32 sharded-int32 sharded-int16; do
      mode=("${options[@]}" --set "synchronisation=${way%-*}" --set "gradient_format=${way#*-}")
      read -r seconds bytes < <(run "$batch-$gbit-$way" 2 "${mode[@]}")
      [ -n "${seconds:-}" ] || fail "$gbit Gbit/s, $way"
      # An unlimited link is as fast as the cores that copy its bytes: BIPFT_UNLIMITED Gbit/s.
      read -r _ _ _ estimate < <(model "${row[$way]}" 2 "${gbit/unlimited/${BIPFT_UNLIMITED:-16}}" "$core" "${mode[@]}")
      awk -v g="$gbit" -v w="${row[$way]}" -v b="$bytes" -v t="$seconds" -v a="$alone" -v m="$estimate" 'BEGIN {
        printf "| %s | %s | %.1f | %.3f | %.0f %% | %.3f | %+.0f %% |\n", g, w, b / 2e6, t, 100 * a / (2 * t), m,
          100 * (m / t - 1) }'
    done
  done
  echo
done
