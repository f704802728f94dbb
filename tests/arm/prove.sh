#!/usr/bin/env bash
# Proves that edgecomp makes the same of pictures on emulated ARM cores as on this x86 machine (docs/arm.md).
#   bash tests/arm/prove.sh [--quick] [--log FILE] [--core NAME ...] [--onnxruntime VERSION ...] [--source DIR] [--keep]
# It needs an environment with edgecomp and its tests' packages (.venv, which tests/run.sh makes, or the active one), QEMU's user
# mode, cross compilers, apt and a network:
#   apt-get install qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-s390x-linux-gnu libc6-dev-s390x-cross
# Exit code 0: all equal; 1: a difference, the last line names it; 2: it cannot be run here.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -x "$root/.venv/bin/python" ]; then
    python=$root/.venv/bin/python
elif [ -n "${VIRTUAL_ENV:-}" ]; then
    python=$VIRTUAL_ENV/bin/python
else
    echo "prove.sh: no environment: run tests/run.sh, which makes .venv, or activate one" >&2
    exit 2
fi
PYTHONPATH="$root:$root/tests${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m arm.prove "$@"
