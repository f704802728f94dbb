"""Uses an installed edgecomp as people do, and says what is wrong; a command.

    python tests/installed.py PICTURES

Needs nothing but the package and Python. For wheels and source distributions in environments of
their own: it refuses to test the source tree. Prints SHA-256 of the pixels that come back, which is
the same on every platform.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# The command that pip has installed, as it is called on this system.
COMMAND = Path(sysconfig.get_path("scripts")) / (
    "edgecomp" + (".exe" if sys.platform == "win32" else "")
)

CACHE = str(Path(tempfile.gettempdir()) / "edgecomp-installed-cache")


def run(*words: str | Path) -> str:
    """What a command of edgecomp prints.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(
        [COMMAND, *words],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        # What the doctor finds here is not for the user's own runs.
        env=os.environ | {"XDG_CACHE_HOME": CACHE, "LOCALAPPDATA": CACHE, "HOME": CACHE},
    )
    if done.returncode:
        sys.exit(f"edgecomp {' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def document(*words: str | Path) -> dict[str, Any]:
    """The same, of a command with ``--json``."""
    found: dict[str, Any] = json.loads(run(*words, "--json"))
    return found


def expect(condition: bool, what: str) -> None:
    """End with an error unless it holds."""
    if not condition:
        sys.exit(f"{what}: not so")


def pixels_of(folder: Path) -> str:
    """SHA-256 of the pixels of a folder's pictures, in the order of their names."""
    from PIL import Image

    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            found.update(
                f"{path.relative_to(folder).as_posix()} {image.mode} {image.size}".encode()
            )
            found.update(image.tobytes())
    return found.hexdigest()


def use(pictures: Path, scratch: Path) -> None:
    """A folder there and back, one picture, the Python interface, the doctor."""
    sources = scratch / "photos"
    shutil.copytree(pictures, sources)
    (sources / "notes.txt").write_bytes(b"kept as it is\n" * 9)
    files = [path for path in sources.rglob("*") if path.is_file()]
    count = sum(path.suffix == ".png" for path in files)
    archive, back = scratch / "photos.ecz", scratch / "back"
    made = document("compress", sources, "-o", archive, "--precision", "int8", "--verify")
    expect(made["images"] == count > 0, "every picture was compressed")
    expect(made["bytes_out"] < made["bytes_in"] / 4, "the archive is much smaller")
    expect(document("verify", archive)["decoded"] == count, "every picture is verified")
    expect(len(document("list", archive)["entries"]) == len(files), "every file is listed")
    document("decompress", archive, "-o", back, "--precision", "int8")
    expect((back / "notes.txt").read_bytes() == b"kept as it is\n" * 9, "other files come back")
    again = document("decompress", archive, "-o", scratch / "fp32", "--precision", "fp32")
    expect(again["images"] == count, "fp32 restores as well")

    from PIL import Image

    import edgecomp
    import edgecomp.pillow

    first = min(sources.rglob("*.png"))
    with Image.open(first) as image:
        data = edgecomp.encode(image, precision="int8")
        decoded = edgecomp.decode(data, precision="int8")
        expect(decoded.size == image.size, "the Python interface restores a picture")
    (scratch / "x.edge").write_bytes(data)
    with Image.open(scratch / "x.edge") as plugged:
        expect(plugged.size == decoded.size, "Pillow opens it")
    found = document("doctor")
    expect(found["golden"] is True, f"golden vectors: {found['wrong']}")
    for name in ("cpu", "architecture", "dot_product", "onnxruntime", "milliseconds", "precision"):
        print(f"{name}: {found[name]}")
    print(f"pixels: {pixels_of(back)}")


def main() -> None:
    """Entry point."""
    import edgecomp

    place = Path(edgecomp.__file__).resolve()
    expect(ROOT not in place.parents or "site-packages" in place.parts, f"{place} is installed")
    expect(COMMAND.exists(), f"{COMMAND} is installed")
    print(f"edgecomp {edgecomp.__version__}, Python {sys.version.split()[0]}, {sys.platform}")
    with tempfile.TemporaryDirectory(prefix="edgecomp-installed-") as scratch:
        use(Path(sys.argv[1]).resolve(), Path(scratch))


if __name__ == "__main__":
    main()
