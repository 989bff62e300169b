#!/usr/bin/env bash
# What a run leaves for other programs, read by them: a run that is killed, goes on, and goes back to an earlier checkpoint; then
# TensorBoard's three readers, promtool, a textfile collector, and a browser that opens the report. Needs promtool (Debian's
# prometheus), prometheus-node-exporter, chromium, curl, and a python3 with the pip package tensorboard (PYTHON names another).
#
#   scripts/build.sh && PYTHON=venv/bin/python scripts/test-telemetry.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/mpi-environment.sh
. scripts/mpi-environment.sh 2
programs="${BIPFT_PROGRAMS:-$(swift build -c release --show-bin-path)}"
python="${PYTHON:-python3}"
work="$(mktemp -d)"
collector=
trap '[ -z "$collector" ] || kill "$collector"; rm -rf "$work"' EXIT
fail() { echo "test-telemetry.sh: $1" >&2; exit 1; }

"$programs/bipft-tools" corpus demo >/dev/null
run="$work/run"
train() {
  mpirun -n 2 "$programs/bipft-pretrain" --config configs/demo.yaml --run-dir "$run" --quiet --set training.steps=40 \
    --set evaluation.every=8 --set checkpoint.every=8 --set checkpoint.keep=9 "$@"
}
echo "== A run that is killed, goes on, and goes back"
train &
job=$!
for _ in $(seq 600); do
  [ ! -e "$run/metrics.jsonl" ] || [ "$(grep -c '"train"' "$run/metrics.jsonl")" -lt 20 ] || break
  sleep 0.1
done
# A rank; mpirun then ends the other one.
pkill -KILL --oldest --parent "$(pgrep --parent "$job")"
if wait "$job"; then fail "the job that was killed says that it went well"; fi
train
train --resume "$run/checkpoints/step-00000016"
[ "$(grep -c '"event":"start"' "$run/history.jsonl")" -ge 3 ] || fail "the run was not started three times"

echo "== TensorBoard"
"$python" scripts/telemetry_readers.py "$run"
"$programs/bipft-tools" report --rebuild-events "$run"
"$python" scripts/telemetry_readers.py "$run"

echo "== Prometheus"
promtool check metrics < "$run/metrics.prom" || fail "promtool finds fault with metrics.prom"
(cd cluster/prometheus && promtool check rules bipft-rules.yml && promtool test rules bipft-rules-test.yml)
port=$((20000 + RANDOM % 20000))
prometheus-node-exporter --collector.disable-defaults --collector.textfile --collector.textfile.directory="$run" \
  --web.listen-address="127.0.0.1:$port" 2>"$work/collector.log" &
collector=$!
for _ in $(seq 100); do curl -sf "http://127.0.0.1:$port/metrics" -o "$work/metrics" && break; sleep 0.1; done
grep -q '^node_textfile_scrape_error 0' "$work/metrics" || fail "the textfile collector refuses metrics.prom"
grep -q '^bipft_step{run="run"} 40' "$work/metrics" || fail "the textfile collector does not show step 40"
grep -q '^bipft_state{run="run",state="finished"} 1' "$work/metrics" || fail "the textfile collector does not show the state"

echo "== The report in a browser"
"$programs/bipft-tools" report "$run" --output "$work/report.html"
chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/chromium" --enable-logging=stderr --v=0 --dump-dom \
  "file://$work/report.html" >"$work/dom" 2>"$work/console"
grep -q '<polyline' "$work/dom" || fail "the browser shows no curves"
if grep CONSOLE "$work/console"; then fail "the browser's console has messages"; fi
echo "== All read"
