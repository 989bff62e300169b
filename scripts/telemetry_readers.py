"""Reads RUN/events with TensorBoard's own readers, and compares each with RUN/metrics.jsonl.

    python3 telemetry_readers.py RUN

The readers: EventAccumulator, the server with its default loader, and the server with --load_fast=false. Each must show every step of
metrics.jsonl once, with its loss, and none besides. Needs the pip package tensorboard. scripts/test-telemetry.sh calls this.
"""

import json
import math
import pathlib
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = pathlib.Path(sys.argv[1]).resolve()
lines = [json.loads(line) for line in open(run / "metrics.jsonl")]
expected = {kind + "/loss": [(r["step"], float(r["loss"])) for r in lines if r["kind"] == kind] for kind in ("train", "eval")}


def compare(reader, tag, found):
    wanted = expected[tag]
    # Floats of 32 bits.
    is_same = len(found) == len(wanted) and all(
        s == t and math.isclose(a, b, rel_tol=1e-6) for (s, a), (t, b) in zip(found, wanted))
    if not is_same:
        twice = sorted({s for s, _ in found if [t for t, _ in found].count(s) > 1})
        missing = sorted({s for s, _ in wanted} - {s for s, _ in found})
        sys.exit(f"{reader}: {tag}: {len(found)} values instead of {len(wanted)}; twice {twice[:5]}, missing {missing[:5]}")
    print(f"{reader}: {tag}: {len(found)} steps, each once")


accumulator = EventAccumulator(str(run / "events"), size_guidance={"scalars": 0, "histograms": 0})
accumulator.Reload()
for tag in expected:
    compare("EventAccumulator", tag, [(e.step, e.value) for e in accumulator.Scalars(tag)])
histograms = accumulator.Tags()["histograms"]
for tag in histograms:
    steps = [e.step for e in accumulator.Histograms(tag)]
    vitals = [json.loads(line)["step"] for line in open(run / "vitals.jsonl")]
    if steps != vitals:
        sys.exit(f"EventAccumulator: {tag}: steps {steps} instead of {vitals}")
print(f"EventAccumulator: {len(histograms)} histograms, steps as in vitals.jsonl")


def get(port, path, **query):
    url = f"http://127.0.0.1:{port}/data/{path}?{urllib.parse.urlencode(query)}"
    return json.load(urllib.request.urlopen(url, timeout=10))


for option in ["--load_fast=auto", "--load_fast=false"]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", str(run), "--port", str(port), option, "--samples_per_plugin",
         "scalars=100000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.time() + 120
        while True:
            try:
                tags = get(port, "plugin/scalars/tags").get("events", {})
                if set(expected) <= set(tags):
                    break
            except OSError:
                pass
            if time.time() > deadline or server.poll() is not None:
                sys.exit(f"tensorboard {option}: shows no run within 120 s")
            time.sleep(0.5)
        for tag in expected:
            points = get(port, "plugin/scalars/scalars", run="events", tag=tag)
            compare(f"tensorboard {option}", tag, [(step, value) for _, step, value in points])
    finally:
        server.terminate()
        server.wait()
