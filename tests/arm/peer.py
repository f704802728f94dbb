"""A program: what edgecomp makes of pictures on the machine that it runs on, as hashes.

    python peer.py JOB        (a file; `arm.machines` writes it)

prints a JSON object with ``machine``, what it ran on, and ``found``, hashes by what they are of.
Only edgecomp and what it needs is imported.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import platform
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import fingerprints
import numpy as np
import onnxruntime
import PIL
from PIL import Image

import edgecomp
import edgecomp._native
import edgecomp.pillow
from edgecomp.archive import ArchiveReader
from edgecomp.cli import main
from edgecomp.codec import CodecCache

AT_HWCAP = 16


def digest(*parts: bytes | np.ndarray | None) -> str:
    """SHA-256 of bytes and arrays, their lengths or shapes among them."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype}{part.shape}".encode())
            part = np.ascontiguousarray(part).tobytes()
        found.update(b"-" if part is None else f"{len(part)}:".encode() + part)
    return found.hexdigest()


def liblzma() -> str:
    """Version of the library behind the module lzma, where it can be told."""
    try:
        library = ctypes.CDLL("liblzma.so.5")
    except OSError:
        return "unknown"
    library.lzma_version_string.restype = ctypes.c_char_p
    return str(library.lzma_version_string().decode())


def machine() -> dict[str, Any]:
    """What this runs on."""
    library = ctypes.CDLL(None)
    library.getauxval.restype = ctypes.c_ulong
    library.getauxval.argtypes = [ctypes.c_ulong]
    return {
        "processor": platform.machine(),
        "hwcap": library.getauxval(AT_HWCAP),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
        "pillow": PIL.__version__,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "liblzma": liblzma(),
        "edgecomp": edgecomp.__version__,
        "package": str(Path(edgecomp.__file__).parent),
        "library": str(edgecomp._native.__file__),
    }


def command(*words: str | Path) -> None:
    """One command of edgecomp.

    Raises:
        RuntimeError: it does not end with 0.
    """
    code = main([*map(str, words), "--quiet"])
    if code != 0:
        raise RuntimeError(f"edgecomp {' '.join(map(str, words))}: exit code {code}")


def picture_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files below a folder by their names, in order."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield path.relative_to(folder).as_posix(), path


def of_symbols(archive: Path, model: Path | None) -> Iterator[tuple[str, str]]:
    """The decoded symbols (and counts) of each picture of an archive, by its name."""
    codecs = CodecCache(backend=None, model=model)
    with ArchiveReader(archive) as reader:
        for member in reader.members:
            if member.kind == "picture":
                stream = reader.codestream(member)
                latent = codecs.for_stream(stream).decode_symbols(stream)
                yield _shown(str(member.source)), digest(latent.symbols, latent.counts)


def of_restored(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Pixels with their metadata, and bytes, of each file that was restored, by its name."""
    for name, path in picture_files(folder):
        data = path.read_bytes()
        if path.suffix == ".png":
            with Image.open(path) as image:
                kept = [image.info.get(key) for key in ("exif", "icc_profile")]
                pixels = digest(image.mode.encode(), np.asarray(image), *kept)
        else:
            pixels = digest(data)
        yield _shown(name), pixels, digest(data)


def _shown(name: str) -> str:
    """What a picture has in common with what is restored of it."""
    return str(PurePosixPath(name).with_suffix(""))


def of_model(job: dict[str, Any], model: dict[str, Any], coder: str) -> dict[str, str]:
    """Everything about one model and one coder."""
    found = {}
    name = f"{model['name']}, {coder}"
    stem = f"{model['file']}-{coder}"
    folder = Path(model["folder"]) if model["folder"] else None
    chosen = ["--model", folder] if folder else ["-q", model["name"]]
    own = Path(job["out"], f"{stem}.ecz")
    if job["compress"]:
        command("compress", job["pictures"], "-o", own, "--coder", coder, "--verify", *chosen)
        found[f"{name}: archive"] = digest(own.read_bytes())
    archive = Path(job["archives"], own.name) if job["archives"] else own
    chosen = ["--model", folder] if folder else []
    restored = Path(job["out"], stem)
    command("verify", archive, *chosen)
    command("decompress", archive, "-o", restored, *chosen)
    for source, symbols in of_symbols(archive, folder):
        found[f"{name}, {source}: symbols"] = symbols
    for source, pixels, data in of_restored(restored):
        found[f"{name}, {source}: pixels"] = pixels
        found[f"{name}, {source}: file"] = data
    if model["fp32"]:
        command("decompress", archive, "-o", f"{restored}-fp32", "--precision", "fp32", *chosen)
    return found


def of_plugin(job: dict[str, Any]) -> dict[str, str]:
    """Pillow's plug-in, both ways."""
    name, path = next(picture_files(Path(job["pictures"])))
    data = io.BytesIO()
    with Image.open(path) as image:
        image.save(data, "EDGECOMP")
    with Image.open(io.BytesIO(data.getvalue())) as image:
        pixels = digest(image.mode.encode(), np.asarray(image))
    name = f"Pillow plug-in, {name}"
    return {f"{name}: codestream": digest(data.getvalue()), f"{name}: pixels": pixels}


def work(job: dict[str, Any]) -> dict[str, Any]:
    """All of a job."""
    found: dict[str, str] = {}
    start = time.monotonic()
    for model in job["models"]:
        for coder in model["coders"]:
            found |= of_model(job, model, coder)
        if job["compress"]:
            folder = model["folder"] or Path(edgecomp.__file__).parent / "models" / model["name"]
            symbols, pixels = fingerprints.of_model(Path(folder))
            found[f"{model['name']}, fingerprints: symbols"] = symbols
            found[f"{model['name']}, fingerprints: pixels"] = pixels
        print(f"{model['name']}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    if job["compress"]:
        found |= of_plugin(job)
    return {"machine": machine(), "found": found}


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    print(json.dumps(work(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), indent=1))
