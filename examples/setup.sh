# Sourced by demo.sh and by tests/run.sh: a virtual environment in .venv with edgecomp built into it.
# Usage: . examples/setup.sh PIP_ARGUMENT...     (from the repository's root)

need() {
    echo "edgecomp's set-up: $1 is missing." >&2
    echo "On Debian, Ubuntu or Raspberry Pi OS: sudo apt-get install -y gcc python3-dev python3-venv" >&2
    exit 1
}

: "${PYTHON:=python3}"
command -v "$PYTHON" > /dev/null || need "$PYTHON"
command -v "${CC:-cc}" > /dev/null || need "a C compiler"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "edgecomp's set-up: Python 3.11 or newer is needed; PYTHON=python3.12 $0 chooses another." >&2
    exit 1
}
"$PYTHON" -c 'import os, sysconfig; os.stat(os.path.join(sysconfig.get_paths()["include"], "Python.h"))' \
    2> /dev/null || need "Python's header Python.h"
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
    rm -rf .venv
    "$PYTHON" -m venv .venv || need "Python's venv"
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
