#!/usr/bin/env bash
# One pretraining run on hosts without SLURM: starts it over ssh, and starts it again when it fails, with fewer ranks where a
# host is gone, until it is finished. The result is the same bit for bit.
#
#   cluster/launch.sh HOSTFILE CONFIG [ARGUMENTS OF bipft-pretrain...]
#   cluster/launch.sh cluster/hostfile mine.yaml --run-dir runs/mine
#
# Run it on one of the hosts, in a folder that all of them see under the same path. HOSTFILE is mpirun's: a host a line, slots=N the
# ranks it gets. SIGUSR1, SIGTERM or Ctrl-C: saves and stops with 75; the same command goes on from there.
#
#   BIPFT_RANKS           the most ranks; default: all slots, as far as there are lanes (global_batch / micro_batch)
#   BIPFT_PROGRAM         default .build/release/bipft-pretrain
#   BIPFT_RSH             reaches a host; default ssh -o BatchMode=yes -o ConnectTimeout=5
#   BIPFT_PAUSE           seconds before it is started again; default 10
#   BIPFT_MPIRUN_OPTIONS  default --bind-to core; more ranks than cores: --oversubscribe --bind-to none
set -uo pipefail
say() { echo "launch.sh: $*" >&2; }
if [ $# -lt 2 ]; then
  say "usage: cluster/launch.sh HOSTFILE CONFIG [ARGUMENTS OF bipft-pretrain...]"
  exit 78
fi
hostfile=$1
config=$2
shift 2
program=${BIPFT_PROGRAM:-.build/release/bipft-pretrain}
rsh=${BIPFT_RSH:-ssh -o BatchMode=yes -o ConnectTimeout=5}
mpirun_options=${BIPFT_MPIRUN_OPTIONS:---bind-to core}
if [ ! -r "$hostfile" ]; then
  say "$hostfile cannot be read: give a file of hosts, as cluster/hostfile"
  exit 78
fi
if [ ! -x "$program" ]; then
  say "$PWD/$program does not exist: run scripts/build.sh, or set BIPFT_PROGRAM"
  exit 78
fi
run=runs/$(basename "$config" .yaml)
before=""
for word in "$@"; do
  case $word in --run-dir=*) run=${word#--run-dir=} ;; esac
  if [ "$before" = --run-dir ]; then run=$word; fi
  before=$word
done
# A value of the run's state.json; nothing where there is none.
state() { sed -nE "s/^.*\"$1\" *: *\"?([^\",}]*).*$/\1/p" "$run/state.json" 2>/dev/null | head -n 1; }
# No more ranks than lanes. The plan of the run tells their number, or what is wrong with the configuration.
plan=$("$program" --config "$config" "$@" --dry-run)
code=$?
if [ "$code" -ne 0 ]; then
  say "exit code $code: the reason stands above, mend it first"
  exit "$code"
fi
most=$(sed -nE 's/^lanes +([0-9,]+) .*/\1/p' <<<"$plan" | tr -d ,)
if [ -n "${BIPFT_RANKS:-}" ] && [ "$BIPFT_RANKS" -lt "$most" ]; then most=$BIPFT_RANKS; fi
present=$(mktemp)
trap 'rm -f "$present"' EXIT

# Writes the hosts that answer to $present, and their slots to $slots.
find_hosts() {
  local host rest
  slots=0
  : >"$present"
  while read -r host rest; do
    case $host in '' | '#'*) continue ;; esac
    # shellcheck disable=SC2086
    if [ "$host" = localhost ] || [ "$host" = "$(hostname)" ] || $rsh "$host" true </dev/null; then
      echo "$host $rest" >>"$present"
      if [[ $rest =~ slots=([0-9]+) ]]; then slots=$((slots + BASH_REMATCH[1])); else slots=$((slots + 1)); fi
    else
      say "host $host does not answer: going on without it"
    fi
  done <"$hostfile"
}

asked=""
job=""
stop() { # SIGNAL
  asked=$1
  say "SIG$1: the ranks are asked to save and stop"
  if [ -n "$job" ]; then kill -USR1 "$job" 2>/dev/null; fi
}
trap 'stop USR1' USR1
trap 'stop TERM' TERM
trap 'stop INT' INT
export OPENBLAS_NUM_THREADS=1

while :; do
  find_hosts
  ranks=$slots
  if [ "$most" -lt "$ranks" ]; then ranks=$most; fi
  code=70
  if [ "$ranks" -eq 0 ]; then
    say "no host of $hostfile answers"
  elif [ -z "$asked" ]; then
    say "$ranks ranks on $(cut -d ' ' -f 1 "$present" | paste -s -d ' ')"
    attempt=$(state attempt)
    # In a process group of its own: Ctrl-C reaches this script alone.
    # shellcheck disable=SC2086
    setsid mpirun -n "$ranks" --hostfile "$present" --mca plm_rsh_agent "$rsh" -x OPENBLAS_NUM_THREADS \
      $mpirun_options "$program" --config "$config" "$@" </dev/null &
    job=$!
    # mpirun waits for ever for a host that it cannot reach any more, even when all ranks are gone. It gets 15 s once the
    # watchdog has ended the run, or once no rank holds the run's lock any more (and this host has seen that one did).
    (
      trap - USR1 TERM INT EXIT
      held=""
      while sleep "${held:-1}" && kill -0 "$job" 2>/dev/null; do
        [ "$(state attempt)" != "$attempt" ] || continue
        if [ "$(state status)" != hung ]; then
          case $("${program%-pretrain}" checkpoint list "$run" 2>/dev/null | tail -n 1) in
          "run: running"*) held=5 && continue ;;
          "run: its last job ended without a word"*) [ -n "$held" ] || continue ;;
          *) continue ;;
          esac
        fi
        sleep 15
        kill -9 "$job" 2>/dev/null
      done
    ) &
    # A trapped signal ends a wait early.
    while :; do
      wait "$job"
      code=$?
      kill -0 "$job" 2>/dev/null || break
    done
    job=""
  fi
  case $code in
  0) exit 0 ;;
  78)
    say "exit code 78: the reason stands above, mend it first"
    exit 78
    ;;
  126 | 127)
    say "mpirun cannot be started (exit code $code): install Open MPI"
    exit 78
    ;;
  esac
  if [ -n "$asked" ]; then
    say "stopped with exit code $code; the same command goes on"
    exit 75
  fi
  # A run that gets nowhere ends with 78 by itself; one that cannot even begin (no network between hosts, say) does not.
  if [ "$SECONDS" -gt 30 ]; then fruitless=0; else fruitless=$((${fruitless:-0} + 1)); fi
  if [ "$fruitless" -ge 10 ]; then
    say "ended at once 10 times in a row, with exit code $code at last: the reason stands above"
    exit 70
  fi
  say "exit code $code; starting again in ${BIPFT_PAUSE:-10} s"
  sleep "${BIPFT_PAUSE:-10}" &
  wait $!
  SECONDS=0
done
