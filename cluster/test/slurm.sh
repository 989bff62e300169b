#!/usr/bin/env bash
# Runs a command in a real SLURM of two nodes, n1 and n2, which exists only for it: controller, munge and two slurmd, each on
# a host of its own (see hosts.sh). All of it, files too, is gone when the command has ended.
#
#   cluster/test/slurm.sh COMMAND [ARGUMENT...]
#   cluster/test/slurm.sh bash        # look around: sinfo, sbatch, squeue …
#
# The node n2 goes away with "$BIPFT_HOSTS/off" n2. Logs of the daemons: $BIPFT_HOSTS/log. Needs root and the packages
# slurm-wlm, munge and iproute2 (scripts/install-dependencies.sh slurm). Exits with 77 where it cannot run.
set -euo pipefail
script=$(realpath "${BASH_SOURCE[0]}")
PATH=$PATH:/usr/sbin:/sbin

configure() {
  local folder=$BIPFT_HOSTS
  mkdir "$folder/log" "$folder/state" "$folder/munge"
  chmod 755 "$folder/munge"
  dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none
  chmod 600 "$folder/munge.key"
  cat >"$folder/slurm.conf" <<EOF
ClusterName=bipft
SlurmctldHost=control(10.77.0.1)
SlurmUser=root
AuthType=auth/munge
# A requeued job waits for the old one's credentials to expire: 2 minutes, if nothing else is said.
AuthInfo=socket=$folder/munge/socket,cred_expire=6
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
JobRequeue=1
ReturnToService=2
SlurmdTimeout=10
KillWait=10
MessageTimeout=10
BatchStartTimeout=30
SchedulerParameters=sched_interval=2,bf_interval=2
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd-%n
# More processors than there may be: the ranks of a test are small.
SlurmdParameters=config_overrides
NodeName=n1 NodeAddr=10.77.0.11 CPUs=4 RealMemory=100 State=UNKNOWN
NodeName=n2 NodeAddr=10.77.0.12 CPUs=4 RealMemory=100 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
EOF
  echo "PMIxCliTmpDirBase=$folder/tmp" >"$folder/mpi.conf"
}

start() {
  local folder=$BIPFT_HOSTS node
  export SLURM_CONF=$folder/slurm.conf
  munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munge/pid" --seed-file="$folder/munge/seed" --log-file="$folder/log/munged" \
    >"$folder/log/munged.output" 2>&1 &
  until [ -S "$folder/munge/socket" ]; do
    kill -0 $! || return 1
    sleep 0.1
  done
  slurmctld -D -f "$SLURM_CONF" >"$folder/log/slurmctld.output" 2>&1 &
  for node in n1 n2; do
    # In a shell of its own, which keeps to itself that a node was killed.
    ("$folder/on" "$node" "slurmd -D -N $node -f '$SLURM_CONF'" || true) >"$folder/log/$node.output" 2>&1 &
  done
}

# Waits until both nodes take jobs.
wait_for_nodes() {
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    [ "$(sinfo --noheader --format=%t%D 2>/dev/null)" != idle2 ] || return 0
    sleep 0.2
  done
  echo "SLURM does not come up; the last lines of its logs:" >&2
  tail -n 5 "$BIPFT_HOSTS"/log/* >&2
  return 1
}

if [ "${1:-}" = --inside ]; then
  shift
  configure
  start
  wait_for_nodes
  # For the jobs: root may run them, and there may be more ranks than cores.
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
  export BIPFT_MPIRUN_OPTIONS="--oversubscribe --bind-to none" BIPFT_SRUN_OPTIONS=--overcommit
  code=0
  "$@" || code=$?
  exit "$code"
fi
if [ $# -eq 0 ]; then
  echo "usage: cluster/test/slurm.sh COMMAND [ARGUMENT...]" >&2
  exit 2
fi
for program in slurmctld slurmd sbatch munged; do
  if ! command -v "$program" >/dev/null; then
    echo "the program $program is missing (scripts/install-dependencies.sh slurm installs it)" >&2
    exit 77
  fi
done
exec "$(dirname "$script")/hosts.sh" 2 "$script" --inside "$@"
