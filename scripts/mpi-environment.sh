# Source this (`. scripts/mpi-environment.sh [RANKS]`, default 8) to run `mpirun -n RANKS` on one machine, whoever you
# are and however few cores there are. What the caller has already set stays.

# mpirun refuses to run as root unless told twice.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# More ranks than cores: allow it (mpirun --oversubscribe; Open MPI counts cores, not hardware threads, hence always),
# and let a rank that waits give its core away instead of polling.
export OMPI_MCA_rmaps_base_oversubscribe="${OMPI_MCA_rmaps_base_oversubscribe:-1}"
# (Without an argument of its own a sourced file sees the caller's: only a number counts.)
case "${1:-}" in
'' | *[!0-9]*) bipft_ranks=8 ;;
*) bipft_ranks=$1 ;;
esac
if [ "$(nproc)" -lt "$bipft_ranks" ]; then
  export OMPI_MCA_mpi_yield_when_idle="${OMPI_MCA_mpi_yield_when_idle:-1}"
fi
unset bipft_ranks

# A rank's threads are its own; the library adds none.
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"
