#!/usr/bin/env bash
# What a GPU does, in under eight minutes: forward passes, whole runs, and the same answers.
#
#   bash benchmarks/gpu.sh                  on the first GPU
#   bash benchmarks/gpu.sh --tiny           every step on the processor, to see it run
#   PYTHON=python3 bash benchmarks/gpu.sh   with another Python than .venv's
#
# Nobody has run it on a GPU yet; --tiny takes some 25 seconds of a processor. It needs an installed
# bioprobe, a GPU that PyTorch knows, some 16 cores for decoding, and no network.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
exec timeout --signal=INT 480 "$python" -m benchmarks.gpu "$@"
