#!/usr/bin/env bash
# Submits small runs to a real SLURM of two nodes on this machine (slurm.sh), interrupts them in every way that a cluster does,
# and compares what they wrote with an undisturbed run, bit for bit. About 4 minutes.
#
#   cluster/test/suite.sh [FOLDER OF THE PROGRAMS]    # default: .build/release
#
# Needs root. Exits with 77 where it cannot run, and says why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [ "${1:-}" != --inside ]; then
  programs=$(realpath "${1:-.build/release}")
  exec cluster/test/slurm.sh cluster/test/suite.sh --inside "$programs" </dev/null
fi
programs=$2
scratch=$BIPFT_HOSTS/scratch
mkdir "$scratch"

# ---- a run so small that it takes some 15 seconds ----

if ! "$programs/bipft" corpus build --input configs/demo-text/books.txt --vocab configs/vocab/vocab.txt \
  --output "$scratch/corpus" --held-out 0.05 >"$scratch/corpus.out" 2>&1; then
  cat "$scratch/corpus.out" >&2
  exit 1
fi
export BIPFT_PROGRAM=$programs/bipft-pretrain
steps=${BIPFT_TEST_STEPS:-40}
settings=(--set "data.corpus=$scratch/corpus" --set threads=1 --set evaluation.sequences=16 --set checkpoint.every=10
  --set hang_timeout=120)
arguments=(configs/demo.yaml "${settings[@]}" --set "training.steps=$steps" --set evaluation.every=20)

fail() {
  echo "SLURM: $1: FAILED" >&2
  for file in "$scratch"/*.out; do
    echo "--- $file" >&2
    tail -n 30 "$file" >&2
  done
  scontrol show job >&2 || true
  tail -n 20 "$BIPFT_HOSTS/log/slurmctld" >&2
  exit 1
}

# Submits a run called NAME; prints the job.
submit() { # NAME [OPTIONS OF sbatch...]
  local name=$1
  shift
  BIPFT_RUN=$scratch/$name sbatch --parsable --output="$scratch/$name.out" --mincpus=2 "$@" \
    cluster/bipft.sbatch "${arguments[@]}"
}

# Waits until a command succeeds.
await() { # SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || fail "$what"
    sleep 0.2
  done
}
trained() { grep -q "\"kind\": \"train\", \"step\": $2," "$scratch/$1/metrics.jsonl" 2>/dev/null; }
says() { grep -q -e "$2" "$scratch/$1.out" 2>/dev/null; }
job_is() { scontrol show job "$1" 2>/dev/null | grep -q "JobState=$2 "; }

# The processes of the ranks on all hosts.
ranks() {
  local process
  for process in /proc/[0-9]*; do
    if [ "$(readlink "$process/exe")" = "$BIPFT_PROGRAM" ]; then echo "${process#/proc/}"; fi
  done
}

# Lets the ranks of a run wait at this moment, however fast they are, until thaw.
freeze() { # NAME WHAT
  mapfile -t frozen < <(ranks)
  [ ${#frozen[@]} -gt 0 ] && kill -STOP "${frozen[@]}" || fail "$2: no ranks to stop"
  if trained "$1" "$steps"; then fail "$2: the run was over too soon (BIPFT_TEST_STEPS=$steps)"; fi
}
thaw() { kill -CONT "${frozen[@]}" 2>/dev/null || true; }

# What does not depend on the machine: without rates, times and bytes.
curve() { sed -E 's/, "[a-z_]*(_per_second|_seconds|bytes)[a-z_]*": [^,}]*//g' "$scratch/$1/metrics.jsonl"; }
digest() { sha256sum "$scratch/$1/checkpoints/step-$(printf %08d "$steps")/model.safetensors" | cut -d ' ' -f 1; }
same() { # NAME WHAT
  [ "$(curve "$1")" = "$(curve whole)" ] || fail "$2: other metrics than the undisturbed run"
  [ "$(digest "$1")" = "$(digest whole)" ] || fail "$2: other weights than the undisturbed run"
}

# ---- what is refused ----

what="no SLURM"
code=0
env -u SLURM_JOB_ID bash cluster/bipft.sbatch >"$scratch/outside.out" 2>&1 || code=$?
[ "$code" -eq 78 ] && says outside "submit it with sbatch" || fail "$what"
what="a wrong partition"
if submit wrong --partition=none >"$scratch/wrong.out" 2>&1; then fail "$what"; fi
says wrong "invalid partition" || fail "$what"
what="a wrong configuration"
job=$(BIPFT_RUN=$scratch/refused sbatch --parsable --output="$scratch/refused.out" cluster/bipft.sbatch \
  "${arguments[@]}" --set training.stepps=3)
await 60 "$what" job_is "$job" FAILED
says refused "did you mean training.steps" && says refused "exit code 78.*not queued again" || fail "$what"
echo "SLURM: no SLURM, a wrong partition, a wrong configuration are refused: passed"

what="a SLURM without PMIx"
mkdir "$scratch/without-pmix"
printf '#!/bin/sh\necho "MPI plugin types are..."\necho "	none"\n' >"$scratch/without-pmix/srun"
chmod 755 "$scratch/without-pmix/srun"
job=$(PATH=$scratch/without-pmix:$PATH BIPFT_LAUNCHER=srun submit no-pmix)
await 60 "$what" job_is "$job" FAILED
says no-pmix "this SLURM has no PMIx .*: use mpirun.*; not queued again" || fail "$what"
what="srun without PMIx, by hand"
code=0
srun --mpi=none --ntasks=2 --nodes=2 --output="$scratch/separate.out" --error="$scratch/separate.out" "$BIPFT_PROGRAM" \
  --config "${arguments[@]}" --run-dir "$scratch/separate" >"$scratch/separate-srun.out" 2>&1 || code=$?
[ "$code" -eq 78 ] && says separate "SLURM started 2 tasks, but each is a world of one rank" || fail "$what (exit code $code)"
[ ! -e "$scratch/separate" ] || fail "$what: something was begun"
echo "SLURM: srun without PMIx is refused: passed"

# ---- to the end ----

what="a job to its end"
job=$(submit whole --nodes=2)
await 300 "$what" job_is "$job" COMPLETED
says whole "4 ranks" && says whole "finished at step $steps; not queued again" || fail "$what"
says whole "2 hosts (n1: 2 .*, n2: 2 " || fail "$what: preflight"
echo "SLURM: $what: passed"

# ---- preempted ----

what="SIGUSR1, queued again, and resumed"
job=$(submit signalled --nodes=2)
await 120 "$what" trained signalled 5
freeze signalled "$what"
scancel --batch --signal=USR1 "$job"
await 60 "$what" says signalled "SIGUSR1: the ranks are asked to save"
thaw
await 120 "$what" says signalled "saved at step [0-9]*; queued again"
await 300 "$what" job_is "$job" COMPLETED
says signalled "going on from" || fail "$what"
same signalled "$what"
echo "SLURM: $what: passed"

# ---- cancelled by SIGTERM, submitted again ----

what="scancel, and submitted again, through srun and PMIx"
job=$(BIPFT_LAUNCHER=srun submit cancelled --nodes=2)
await 120 "$what" trained cancelled 5
freeze cancelled "$what"
scancel "$job"
await 60 "$what" says cancelled "SIGTERM: the ranks are asked to save"
thaw
await 60 "$what" job_is "$job" CANCELLED
await 60 "$what" says cancelled "saved at step [0-9]*; SLURM ended the job"
job=$(BIPFT_LAUNCHER=srun submit cancelled --nodes=2)
await 300 "$what" job_is "$job" COMPLETED
same cancelled "$what"
echo "SLURM: $what: passed"

# ---- the time limit ----

what="the time limit, queued again, and resumed"
job=$(submit limited --nodes=2 --time=1 --signal=B:USR1@55)
await 120 "$what" trained limited 5
# SLURM looks at its clock every 30 s.
freeze limited "$what"
await 120 "$what" says limited "SIGUSR1: the ranks are asked to save"
thaw
await 120 "$what" says limited "saved at step [0-9]*; queued again"
# The rest may take longer.
scontrol update "jobid=$job" timelimit=10
await 300 "$what" job_is "$job" COMPLETED
same limited "$what"
echo "SLURM: $what: passed"

# ---- seeds ----

what="an array of two seeds, each in a folder of its own"
array=$(BIPFT_RUN=$scratch/array sbatch --parsable --output="$scratch/array-%a.out" --nodes=1 --mincpus=2 --array=1-2 \
  cluster/bipft.sbatch configs/demo.yaml "${settings[@]}" --set training.steps=6 --set training.warmup_steps=2 \
  --set evaluation.every=6)
# Its jobs leave the queue in the end.
over() { [ -z "$(squeue --noheader --job="$array" 2>/dev/null)" ]; }
await 300 "$what" over
for seed in 1 2; do
  says "array-$seed" "finished at step 6; not queued again" || fail "$what"
  grep -q '"step": 6,' "$scratch/array-seed-$seed/metrics.jsonl" || fail "$what"
done
[ "$(curve array-seed-1)" != "$(curve array-seed-2)" ] || fail "$what: both did the same"
echo "SLURM: $what: passed"

# ---- a lost node ----

what="a node lost, and the run resumed on the other"
job=$(submit lost --nodes=1-2)
await 120 "$what" trained lost 12
freeze lost "$what"
"$BIPFT_HOSTS/off" n2
thaw
await 300 "$what" job_is "$job" COMPLETED
says lost "on n1: 2 ranks" || fail "$what"
same lost "$what"
echo "SLURM: $what: passed"

# ---- nothing stays ----

what="no process of a job is left"
quiet() {
  local process
  [ -z "$(squeue --noheader)" ] || return 1
  for process in /proc/[0-9]*; do
    case $(cat "$process/comm" 2>/dev/null) in bipft-pretrain | mpirun | orted | prted | slurmstepd) return 1 ;; esac
  done
}
await 60 "$what" quiet
echo "SLURM: $what: passed"
