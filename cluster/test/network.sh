#!/usr/bin/env bash
# Runs over a network between hosts of their own on this machine (hosts.sh), with mpirun and launch.sh over TCP: the same bits as
# on one host, over slow links too, ranks and hosts that do not fit together, a cable cut under a run, a host gone, an mpirun
# that stays. About 3 minutes.
#
#   cluster/test/network.sh [FOLDER OF THE PROGRAMS]         # default: .build/release
#
# Needs root. Exits with 77 where it cannot run, and says why. Speeds: scaling.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ "${1:-}" != --inside ]; then
  programs=$(realpath "${1:-.build/release}")
  exec cluster/test/hosts.sh 2 cluster/test/network.sh --inside "$programs" </dev/null
fi
program=$2/bipft-pretrain
on=$BIPFT_HOSTS/on
scratch=$BIPFT_HOSTS/scratch
mkdir "$scratch"
"$2/bipft" corpus build --input configs/demo-text/books.txt --vocab configs/vocab/vocab.txt \
  --output "$scratch/corpus" --held-out 0.05 >"$scratch/corpus.out" 2>&1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OPENBLAS_NUM_THREADS=1
export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_pml=ob1 OMPI_MCA_btl_tcp_if_include=10.77.0.0/24
export OMPI_MCA_oob_tcp_if_include=10.77.0.0/24 OMPI_MCA_mpi_yield_when_idle=1
steps=${BIPFT_TEST_STEPS:-20}
arguments=(--set "data.corpus=$scratch/corpus" --set "training.steps=$steps" --set threads=1 --set evaluation.every=20
  --set evaluation.sequences=16 --set checkpoint.every=10)
patient=(--set hang_timeout=120)
printf 'n1 slots=2\nn2 slots=2\n' >"$scratch/hostfile"

fail() {
  echo "network: $1: FAILED" >&2
  tail -n 40 "$scratch/output" >&2
  exit 1
}
# mpirun over both hosts.
over_network() { # OPTIONS AND PROGRAM...
  timeout 300 mpirun --hostfile "$scratch/hostfile" --oversubscribe --bind-to none --mca plm_rsh_agent "$on" \
    -x OPENBLAS_NUM_THREADS "$@" >"$scratch/output" 2>&1
}
run() { # NAME OPTIONS OF bipft-pretrain...
  local name=$1
  shift
  over_network -n 4 "$program" --config configs/demo.yaml --run-dir "$scratch/$name" "${arguments[@]}" "${patient[@]}" "$@"
}
# A run of ranks that do not fit together ends at once, with one line that says why, and begins nothing.
refused() { # WHAT LINE PROGRAM OPTIONS OF bipft-pretrain...
  local what=$1 line=$2 code=0
  shift 2
  over_network -n 4 "$1" --config configs/demo.yaml --run-dir "$scratch/refused" "${arguments[@]}" "${patient[@]}" "${@:2}" ||
    code=$?
  [ "$code" -eq 78 ] || fail "$what (exit code $code)"
  [ "$(grep -c '^bipft' "$scratch/output")" -eq 1 ] && grep -q -e "$line" "$scratch/output" || fail "$what"
  [ ! -e "$scratch/refused" ] || fail "$what: something was begun"
  echo "network: $what: passed"
}
# Lets all ranks wait at this moment, however fast they are, until thaw.
freeze() { # NAME WHAT
  local process
  frozen=()
  for process in /proc/[0-9]*; do
    if [ "$(readlink "$process/exe")" = "$program" ]; then frozen+=("${process#/proc/}"); fi
  done
  [ ${#frozen[@]} -gt 0 ] && kill -STOP "${frozen[@]}" || fail "$2: no ranks to stop"
  if trained "$1" "$steps"; then fail "$2: the run was over too soon (BIPFT_TEST_STEPS=$steps)"; fi
}
thaw() { kill -CONT "${frozen[@]}" 2>/dev/null || true; }
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

what="two hosts give the bits of one"
"$program" --config configs/demo.yaml --run-dir "$scratch/one" "${arguments[@]}" >"$scratch/output" 2>&1 || fail "$what"
run two || fail "$what"
grep -q "4 ranks of 1 thread on 2 hosts (n1: 2 .*n2: 2 " "$scratch/output" || fail "$what"
[ "$(digest one)" = "$(digest two)" ] || fail "$what"
echo "network: $what: passed"

what="links of 1 Gbit/s, and what the plan says of the bytes"
for host in n1 n2; do
  tc qdisc add dev "cable-$host" root tbf rate 1gbit burst 256kb latency 50ms
  "$on" "$host" "tc qdisc add dev eth0 root tbf rate 1gbit burst 256kb latency 50ms"
done
run slow --set synchronisation=replicated || fail "$what"
[ "$(digest one)" = "$(digest slow)" ] || fail "$what: other weights"
for name in two slow; do
  mode=sharded
  [ "$name" = two ] || mode=replicated
  "$program" --config configs/demo.yaml "${arguments[@]}" --set "synchronisation=$mode" --dry-run --ranks 4 \
    --link-gbit 1 --core-tokens-per-second 10000 >"$scratch/plan"
  sent=$(sed -nE 's/.*"bytes_sent": ([0-9]+).*/\1/p' "$scratch/$name/measurements.jsonl" | tail -n 1)
  # In MiB, as the plan says it.
  grep -q "^sent a step *$(awk -v bytes="$sent" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }') " "$scratch/plan" ||
    fail "$what: $sent bytes, $(grep '^sent a step' "$scratch/plan")"
done
grep -q "^estimate of a step: 4 ranks" "$scratch/plan" || fail "$what: no estimate"
for host in n1 n2; do
  tc qdisc del dev "cable-$host" root
  "$on" "$host" "tc qdisc del dev eth0 root"
done
echo "network: $what: passed"

what="a run folder that is not shared is refused"
mkdir "$scratch/private"
"$on" n2 "mount -t tmpfs tmpfs '$scratch/private'"
code=0
run private/run || code=$?
[ "$code" -eq 78 ] || fail "$what"
grep -q "rank 2 (n2): .*/private/run is not the folder that rank 0 has there" "$scratch/output" || fail "$what"
echo "network: $what: passed"

# Starts the program as it is on n1, and otherwise on n2.
elsewhere() { # NAME COMMANDS
  printf '#!/bin/sh\nprogram="%s"\nif [ "$(hostname)" != n1 ]; then %s; fi\nexec "$program" "$@"\n' "$program" "$2" \
    >"$scratch/$1"
  chmod 755 "$scratch/$1"
}
# (On a processor without AVX-512 they are of one; Tests/SystemTests has the portable kernels beside others.)
what="processors of two kinds give the bits of one"
elsewhere older "export BIPFT_KERNELS=avx2"
over_network -n 4 "$scratch/older" --config configs/demo.yaml --run-dir "$scratch/kinds" "${arguments[@]}" "${patient[@]}" || fail "$what"
grep -q "avx2" "$scratch/output" || fail "$what: one kind"
[ "$(digest one)" = "$(digest kinds)" ] || fail "$what"
echo "network: $what: passed"

cp "$program" "$scratch/other-build"
printf x >>"$scratch/other-build"
elsewhere updated "program='$scratch/other-build'"
refused "two builds are refused" "ranks 2-3 (n2): another build of the program than rank 0 (n1) runs" "$scratch/updated"

# A file of its own on each host's own disk. What is in it comes later: this is no model.
mkdir "$scratch/models"
echo one >"$scratch/models/teacher"
"$on" n2 "mount -t tmpfs tmpfs '$scratch/models' && echo two >'$scratch/models/teacher'"
refused "two teachers are refused" "ranks 2-3 (n2): another teacher under the same name than rank 0 (n1) reads" "$program" \
  --set "teacher=$scratch/models/teacher"
"$on" n2 "rm '$scratch/models/teacher'"
refused "a teacher that a host lacks is told" "models/teacher: cannot be read on n2 (key teacher)" "$program" \
  --set "teacher=$scratch/models/teacher"

launch() { # NAME PATIENCE
  BIPFT_PROGRAM=$program BIPFT_RSH=$on BIPFT_PAUSE=1 BIPFT_MPIRUN_OPTIONS="--oversubscribe --bind-to none" \
    timeout 400 cluster/launch.sh "$scratch/hostfile" configs/demo.yaml --run-dir "$scratch/$1" "${arguments[@]}" --set "hang_timeout=$2" \
    >"$scratch/output" 2>&1 &
  job=$!
}

what="a cable cut under a run: the watchdog ends the job, and it goes on when the cable is back"
launch cut 10
await 120 "$what" trained cut 12
freeze cut "$what"
ip link set cable-n2 down
thaw
await 120 "$what: not told" grep -q "no progress for 10 s" "$scratch/output"
# What was cut off ends by itself.
gone() { ! "$on" n2 "pgrep bipft-pretrain" >/dev/null; }
await 120 "$what: ranks stay" gone
ip link set cable-n2 up
await 300 "$what: it hangs" ended
wait "$job" || fail "$what"
[ "$(digest one)" = "$(digest cut)" ] || fail "$what: other weights"
echo "network: $what: passed"

what="launch.sh goes on without a host that is gone"
launch launched 120
await 120 "$what" trained launched 12
freeze launched "$what"
"$BIPFT_HOSTS/off" n2
thaw
await 300 "$what" ended
wait "$job" || fail "$what"
grep -q "host n2 does not answer" "$scratch/output" && grep -q "2 ranks on n1" "$scratch/output" || fail "$what"
[ "$(digest one)" = "$(digest launched)" ] || fail "$what: other weights"
echo "network: $what: passed"

what="an mpirun that does not end when its ranks are gone is ended, and the run goes on"
mkdir "$scratch/stuck"
# Waits for ever after its first run.
printf '#!/bin/sh\n"%s" "$@"\ncode=$?\n[ -e "%s" ] && exit "$code"\ntouch "%s"\nexec sleep 1000\n' \
  "$(command -v mpirun)" "$scratch/stuck/once" "$scratch/stuck/once" >"$scratch/stuck/mpirun"
chmod 755 "$scratch/stuck/mpirun"
printf 'localhost slots=2\n' >"$scratch/hostfile"
PATH=$scratch/stuck:$PATH launch stuck-run 120
await 120 "$what" trained stuck-run 12
freeze stuck-run "$what"
# Until launch.sh has seen that the run is held.
sleep 3
kill -9 "${frozen[@]}" 2>/dev/null || true
await 120 "$what" ended
wait "$job" || fail "$what"
[ -e "$scratch/stuck/once" ] && grep -q "exit code 137; starting again" "$scratch/output" || fail "$what"
[ "$(digest one)" = "$(digest stuck-run)" ] || fail "$what: other weights"
echo "network: $what: passed"
