#!/usr/bin/env python3
"""Prints after how many tokens and minutes of training a run of the objective `sentence` reached some correlations.

    python3 scripts/speedrun.py runs/minilm-sentence [0.60 0.70 0.75]

Reads metrics.jsonl and config.yaml of the run folder. Tokens count padding. Minutes are those of the steps themselves: neither the
start nor evaluations nor checkpoints are in them. One line a correlation, as a row of the table in docs/results.md.
"""

import json
import os
import platform
import re
import sys


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    run, thresholds = sys.argv[1], [float(text) for text in sys.argv[2:]] or [0.60, 0.70, 0.75]
    with open(f"{run}/config.yaml", encoding="utf-8") as file:
        text = file.read()
    sizes = [int(re.search(rf"^ *{key}: *(\d+)", text, re.M)[1]) for key in ("global_batch", "sequence_length")]
    step_tokens = sizes[0] * sizes[1]
    tokens, seconds, best, reached = 0, 0.0, None, {}
    with open(f"{run}/metrics.jsonl", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["kind"] == "train":
                tokens += step_tokens
                seconds += step_tokens / record["tokens_per_second"]
                continue
            value = record.get("spearman")
            if value is None:
                continue
            for threshold in thresholds:
                if value >= threshold:
                    reached.setdefault(threshold, (tokens, seconds, record["step"]))
            if best is None or value > best[0]:
                best = (value, record["step"])
    if best is None:
        sys.exit(f"{run}: no evaluation has spearman; set sentence.evaluation to a folder with STS-B's files")
    print(f"{processor()}; {tokens / 1e6:.2f} M tokens, {seconds / 60:.1f} minutes, best {best[0]:.4f} (step {best[1]})")
    print("| Spearman | million tokens | minutes | step |\n| --- | --- | --- | --- |")
    for threshold in thresholds:
        if threshold in reached:
            own = reached[threshold]
            print(f"| {threshold:.2f} | {own[0] / 1e6:.2f} | {own[1] / 60:.1f} | {own[2]} |")
        else:
            print(f"| {threshold:.2f} | not reached | | |")


main()
