#!/usr/bin/env bash
# Fine-tunes a model on the tasks of GLUE whose folders are there, several seeds each, and prints a table: what a model that
# always says the same and a bag of tokens reach, the last epoch, the best epoch, and what BiPFT's authors report.
#
#   scripts/glue.sh MODEL [DATA] [options] [-- ARGUMENTS of bipft finetune]
#
#   scripts/glue.sh runs/bipft-base glue
#   scripts/glue.sh runs/demo glue --tasks rte,sst2 --seeds 2 --epochs 3 --learning-rate 1e-4 --rows 2000
#
# MODEL is a run or a checkpoint; DATA (default: glue) holds CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI or some of
# them; paths are from the clone's folder. The recipe is that of configs/glue. Run it again and it goes on where it was; what
# is finished is only reported. A run keeps up to three checkpoints, each of 12 bytes a parameter.
#
#   --seeds N          seeds 1 to N (default: 3)
#   --tasks T,T        only these
#   --epochs N, --learning-rate R, --patience N
#   --rows N           train on N rows of each task, the same for every seed
#   --ranks N          with mpirun
#   --output DIR       the runs and summaries, DIR/TASK (default: runs/glue); another for another model
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,/^set -/p' scripts/glue.sh | sed -e '/^set -/d' -e 's/^# \{0,1\}//'; }
fail() {
  echo "glue.sh: $1" >&2
  exit 64
}

model="" data="" seeds=3 output=runs/glue ranks="" wanted=""
options=() positional=()
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
        --seeds) seeds=$2 ;;
        --tasks) wanted=$2 ;;
        --output) output=$2 ;;
        --ranks) ranks=$2 ;;
        --epochs | --learning-rate | --patience) options+=("$1" "$2") ;;
        --rows) options+=(--set "task.training_rows=$2") ;;
        *) fail "$1 is not known; --help tells the options" ;;
      esac
      shift
      ;;
    *) positional+=("$1") ;;
  esac
  shift
done
[ ${#positional[@]} -ge 1 ] && [ ${#positional[@]} -le 2 ] || fail "give MODEL and DATA; --help tells the options"
model=${positional[0]} data=${positional[1]:-glue}
[ -d "$data" ] || fail "$data: no such folder; give the folder that holds CoLA, SST-2 and the others"

program=.build/release/bipft
[ -x "$program" ] || scripts/build.sh
launch=("$program")
if [ -n "$ranks" ]; then
  # shellcheck source=scripts/mpi-environment.sh
  . scripts/mpi-environment.sh "$ranks"
  launch=(mpirun -n "$ranks" "$program")
fi

# What BiPFT's authors report for the binary model with estimators: dev, the best epoch, one seed.
published() {
  case $1 in
    cola.matthews) echo 0.229 ;;
    sst2.accuracy) echo 0.862 ;;
    mrpc.accuracy) echo 0.762 ;;
    stsb.pearson) echo 0.802 ;;
    qqp.accuracy) echo 0.837 ;;
    mnli.accuracy_matched) echo 0.695 ;;
    mnli.accuracy_mismatched) echo 0.706 ;;
    qnli.accuracy) echo 0.817 ;;
    rte.accuracy) echo 0.661 ;;
    *) echo - ;;
  esac
}

# The metrics of a summary.json, one a line: key, always the same, bag of tokens, mean and deviation of the last epoch and of
# the best. What is not defined is not in the file.
metrics() {
  awk '
    function value(line) { sub(/^[^:]*: /, "", line); gsub(/[",]/, "", line); return line }
    function cell(name) { return name in found ? sprintf("%.4f", found[name]) : "undefined" }
    function spread(name) {
      return cell(name "mean") (name "deviation" in found ? sprintf(" ± %.4f", found[name "deviation"]) : "")
    }
    /"metrics" : \[/ { inside = 1; next }
    inside && /^  \]/ { exit }
    !inside { next }
    /"(best|last)" : \{/ { part = /"best"/ ? "best " : "last "; next }
    /\}/ {
      if (part != "") { part = ""; next }
      print found["key"] "\t" cell("majority") "\t" cell("bag_of_tokens") "\t" spread("last ") "\t" spread("best ")
      split("", found)
      next
    }
    match($0, /"[a-z_]+" : /) {
      name = substr($0, RSTART + 1, RLENGTH - 5)
      found[part name] = value($0)
    }' "$1"
}

tasks=()
for task in cola:CoLA sst2:SST-2 mrpc:MRPC stsb:STS-B qqp:QQP mnli:MNLI qnli:QNLI rte:RTE wnli:WNLI; do
  case ,$wanted, in ,, | *",${task%%:*},"*) ;; *) continue ;; esac
  if [ -d "$data/${task#*:}" ]; then tasks+=("${task%%:*}"); fi
done
for task in ${wanted//,/ }; do
  case " ${tasks[*]-} " in *" $task "*) ;; *) fail "$task: no such task, or $data holds no folder of it (CoLA, SST-2, …)" ;; esac
done
[ ${#tasks[@]} -gt 0 ] || fail "$data holds no folder of a task; they are to be called CoLA, SST-2, …"

for task in "${tasks[@]}"; do
  echo "== $task" >&2
  "${launch[@]}" finetune --config "configs/glue/$task.yaml" --from "$model" --data "$data" --seeds "$seeds" \
    --output "$output/$task" ${options[@]+"${options[@]}"} >&2
done

echo
echo "From $model${options[*]:+, ${options[*]}}; seeds: $seeds, mean ± standard deviation of a sample (n - 1)"
echo
echo "| task | metric | start point | always the same | bag of tokens | last epoch | best epoch | published |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
for task in "${tasks[@]}"; do
  metrics "$output/$task/summary.json" | while IFS=$'\t' read -r key majority bag last best; do
    echo "| $task | ${key//_/ } | $model | $majority | $bag | $last | $best | $(published "$task.$key") |"
  done
done
echo
echo "The best epoch is chosen on the rows that it is measured on, as the published values are (BiPFT with estimators, as two"
echo "later projects quote it; which correlation of STS-B is not said). They are of models pretrained on billions of tokens."
