#!/usr/bin/env bash
# Builds the programs, and of the bundled text the corpus of configs/demo.yaml: corpus/demo. Run again, it builds only what has
# changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

echo "== Build"
scripts/build.sh
programs=$(swift build -c release --show-bin-path)

echo "== Corpus"
"$programs/bipft" corpus demo
