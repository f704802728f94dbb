"""``python -m edgecomp``: the command line."""

from __future__ import annotations

from edgecomp.cli.process import program

if __name__ == "__main__":
    program()
