#!/usr/bin/env bash
# Sets edgecomp up in .venv and runs every check: ruff, mypy --strict, the tests (the C library under the
# address and undefined-behaviour sanitizers among them).
#   bash tests/run.sh            the runtime; the tests of export/ are skipped with a word
#   bash tests/run.sh --export   those too (installs TensorFlow, Keras, JAX, tf2onnx: about 2 GB)
set -euo pipefail
cd "$(dirname "$0")/.."
extras=dev
if [ "${1:-}" = --export ]; then
    extras=dev,export
    shift
fi
. examples/setup.sh --editable ".[$extras]"
export PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
mypy --platform win32 --cache-dir .mypy_cache/win32
python -m pytest --numprocesses 2 "$@"
