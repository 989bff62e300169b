#!/usr/bin/env bash
# Runs over a network between hosts of their own on this machine (hosts.sh), with mpirun and launch.sh over TCP: the same bits as
# on one host, ranks and hosts that do not fit together, a cable cut under a run, a host gone. About 2 minutes.
#
#   cluster/test/network.sh [FOLDER OF THE PROGRAMS]         # default: .build/release
#   cluster/test/network.sh --speeds [FOLDER OF THE PROGRAMS] # only a table: tokens/s against the speed of the links
#
# Needs root. Exits with 77 where it cannot run, and says why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ "${1:-}" != --inside ]; then
  mode=suite
  if [ "${1:-}" = --speeds ]; then
    mode=speeds
    shift
  fi
  programs=$(realpath "${1:-.build/release}")
  code=0
  cluster/test/hosts.sh 2 cluster/test/network.sh --inside "$mode" "$programs" || code=$?
  exit "$code"
fi
mode=$2
program=$3/bipft-pretrain
on=$BIPFT_HOSTS/on
scratch=$BIPFT_HOSTS/scratch
mkdir "$scratch"
"$3/bipft" corpus build --input configs/demo-text/books.txt --vocab configs/vocab/vocab.txt \
  --output "$scratch/corpus" --held-out 0.05 >"$scratch/corpus.out" 2>&1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OPENBLAS_NUM_THREADS=1
export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_pml=ob1 OMPI_MCA_btl_tcp_if_include=10.77.0.0/24
export OMPI_MCA_oob_tcp_if_include=10.77.0.0/24 OMPI_MCA_mpi_yield_when_idle=1
steps=${BIPFT_TEST_STEPS:-20}
patience=6
if [ "$mode" = speeds ]; then patience=100; fi
arguments=(--set "data.corpus=$scratch/corpus" --set "training.steps=$steps" --set threads=1 --set evaluation.every=20
  --set evaluation.sequences=16 --set checkpoint.every=10 --set "hang_timeout=$patience")
printf 'n1 slots=2\nn2 slots=2\n' >"$scratch/hostfile"

fail() {
  echo "network: $1: FAILED" >&2
  tail -n 40 "$scratch/output" >&2
  exit 1
}
# mpirun over both hosts.
over_network() { # OPTIONS AND PROGRAM...
  timeout 120 mpirun --hostfile "$scratch/hostfile" --oversubscribe --bind-to none --mca plm_rsh_agent "$on" \
    -x OPENBLAS_NUM_THREADS "$@" >"$scratch/output" 2>&1
}
run() { # NAME OPTIONS OF bipft-pretrain...
  local name=$1
  shift
  over_network -n 4 "$program" --config configs/demo.yaml --run-dir "$scratch/$name" "${arguments[@]}" "$@"
}
trained() { grep -q "\"kind\": \"train\", \"step\": $2," "$scratch/$1/metrics.jsonl" 2>/dev/null; }
await() { # SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || fail "$what"
    sleep 0.1
  done
}
digest() { sha256sum "$scratch/$1/checkpoints/step-$(printf %08d "$steps")/model.safetensors" | cut -d ' ' -f 1; }
ended() { ! kill -0 "$job" 2>/dev/null; }

if [ "$mode" = speeds ]; then
  echo "| link | tokens/s |"
  echo "| --- | --- |"
  for speed in unlimited 10gbit 1gbit 100mbit; do
    if [ "$speed" != unlimited ]; then
      for host in n1 n2; do
        tc qdisc replace dev "cable-$host" root tbf rate "$speed" burst 256kb latency 50ms
        "$on" "$host" "tc qdisc replace dev eth0 root tbf rate $speed burst 256kb latency 50ms"
      done
    fi
    run "speed-$speed" || fail "links of $speed"
    # Half of the steps, the slower half left out.
    grep '"train"' "$scratch/speed-$speed/metrics.jsonl" | sed -E 's/.*"tokens_per_second": ([0-9]+).*/\1/' |
      sort -n | tail -n 10 | head -n 1 | sed "s/.*/| $speed | & |/"
  done
  exit 0
fi

what="two hosts give the bits of one"
"$program" --config configs/demo.yaml --run-dir "$scratch/one" "${arguments[@]}" >"$scratch/output" 2>&1 || fail "$what"
run two || fail "$what"
grep -q "4 ranks of 1 thread on 2 hosts (n1: 2 .*n2: 2 " "$scratch/output" || fail "$what"
[ "$(digest one)" = "$(digest two)" ] || fail "$what"
echo "network: $what: passed"

what="a run folder that is not shared is refused"
mkdir "$scratch/private"
"$on" n2 "mount -t tmpfs tmpfs '$scratch/private'"
code=0
run private/run || code=$?
[ "$code" -eq 78 ] || fail "$what"
grep -q "rank 2 (n2): .*/private/run is not the folder that rank 0 has there" "$scratch/output" || fail "$what"
echo "network: $what: passed"

what="processors of two kinds are refused"
printf '#!/bin/sh\n[ "$(hostname)" = n1 ] || export BIPFT_KERNELS=portable\nexec "%s" "$@"\n' "$program" >"$scratch/older"
chmod 755 "$scratch/older"
code=0
over_network -n 4 "$scratch/older" --config configs/demo.yaml --run-dir "$scratch/older-run" "${arguments[@]}" || code=$?
[ "$code" -eq 78 ] || fail "$what"
grep -q "ranks 2-3 (n2): portable kernels, rank 0 (n1) has " "$scratch/output" || fail "$what"
echo "network: $what: passed"

launch() { # NAME
  BIPFT_PROGRAM=$program BIPFT_RSH=$on BIPFT_PAUSE=1 BIPFT_MPIRUN_OPTIONS="--oversubscribe --bind-to none" \
    timeout 150 cluster/launch.sh "$scratch/hostfile" configs/demo.yaml --run-dir "$scratch/$1" "${arguments[@]}" \
    >"$scratch/output" 2>&1 &
  job=$!
}

what="a cable cut under a run: the watchdog ends the job, and it goes on when the cable is back"
launch cut
await 60 "$what" trained cut 12
ip link set cable-n2 down
await 60 "$what: not told" grep -q "no progress for 6 s" "$scratch/output"
# What was cut off ends by itself.
gone() { ! "$on" n2 "pgrep bipft-pretrain" >/dev/null; }
await 60 "$what: ranks stay" gone
ip link set cable-n2 up
await 100 "$what: it hangs" ended
wait "$job" || fail "$what"
[ "$(digest one)" = "$(digest cut)" ] || fail "$what: other weights"
echo "network: $what: passed"

what="launch.sh goes on without a host that is gone"
launch launched
await 60 "$what" trained launched 12
"$BIPFT_HOSTS/off" n2
await 100 "$what" ended
wait "$job" || fail "$what"
grep -q "host n2 does not answer" "$scratch/output" && grep -q "2 ranks on n1" "$scratch/output" || fail "$what"
[ "$(digest one)" = "$(digest launched)" ] || fail "$what: other weights"
echo "network: $what: passed"
