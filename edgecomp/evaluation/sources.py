"""The pictures of an evaluation: which files of a folder, as plain RGB pixels and as PNG files."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from edgecomp.constants import DEFAULT_MAX_PIXELS
from edgecomp.errors import SourceError, UnsupportedPictureError
from edgecomp.names import Note, printable
from edgecomp.output import reason_of
from edgecomp.pictures import PICTURE_SUFFIXES, PixelSource, read_picture
from edgecomp.scan import scan

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pictures are held in memory a chunk at a time: about 100 MB of pixels.
CHUNK_PIXELS: Final = 32_000_000
# SHA-256 over the digests of the 24 pictures of the Kodak suite, in the order of their names, so
# that they are known however their PNG files were written.
_KODAK: Final = "33c1bba5c5ef750e571635ea87ef486afdedc8903c00edfc56cf8d7959f6ec86"
_KODAK_PICTURES: Final = 24


@dataclass(frozen=True, slots=True)
class Source:
    """One picture.

    Attributes:
        name: its path below the folder, for people.
        png: the PNG file that stands for it, 8-bit RGB without metadata.
        inside: the path of that file where pictures are copied side by side.
        width, height: in pixels.
        png_bytes: of the PNG file.
        digest: SHA-256 of its size and pixels, hexadecimal.
    """

    name: str
    png: Path
    inside: str
    width: int
    height: int
    png_bytes: int
    digest: str

    def load(self) -> NDArray[np.uint8]:
        """Its pixels, uint8 (height, width, 3), C-contiguous.

        Raises:
            SourceError: the file is no longer what it was.
        """
        try:
            rgb = read_picture(self.png.read_bytes(), name=self.name, max_pixels=None).rgb
        except (OSError, UnsupportedPictureError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else error.message
            raise SourceError(f"can no longer be read: {reason}", path=self.name) from error
        if _digest(rgb) != self.digest:
            raise SourceError("has changed while it was evaluated", path=self.name)
        return rgb


def find_sources(
    folder: str,
    scratch: Path,
    *,
    limit: int | None = None,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    done: Callable[[str], None] = lambda name: None,
) -> tuple[list[Source], list[Note]]:
    """The pictures in a folder and those that cannot be evaluated, both in the order of names.

    A file that is no plain RGB picture in a PNG file is saved as one, so that every method is
    given the same: 8-bit RGB, no alpha, no metadata. Files that do not have a picture's name
    are not looked at.

    Args:
        folder: searched with its subfolders.
        scratch: where such PNG files are written.
        limit: take the first so many pictures only.
        max_pixels: larger pictures are left out.
        done: called with the name of each file that was looked at.

    Raises:
        SourceError: it is no folder, or there is no picture in it.
    """
    if not Path(folder).is_dir():
        what = "is no folder" if Path(folder).exists() else "no such folder"
        raise SourceError(what, path=printable(folder))
    found = scan([folder])
    left_out = [note for note in found.skipped if _is_picture_name(note.path)]
    paths = [e for e in found.entries if e.kind == "file" and _is_picture_name(e.source)]
    sources: list[Source] = []
    for entry in paths[:limit]:
        name = printable(entry.source)
        try:
            sources.append(_source(Path(entry.path), entry.source, name, scratch, max_pixels))
        except UnsupportedPictureError as error:
            left_out.append(Note(name, error.message))
        except OSError as error:
            left_out.append(Note(name, f"cannot be read: {reason_of(error)}"))
        done(name)
    if not sources:
        why = "" if not left_out else f" ({left_out[0].path}: {left_out[0].reason})"
        raise SourceError(f"no pictures that can be evaluated{why}", path=printable(folder))
    return sources, sorted(left_out, key=lambda note: note.path)


def is_kodak(sources: Sequence[Source]) -> bool:
    """Whether these are the 24 pictures of the Kodak suite, to the pixel."""
    if len(sources) != _KODAK_PICTURES:
        return False
    return hashlib.sha256("".join(s.digest for s in sources).encode()).hexdigest() == _KODAK


def chunks(sources: Sequence[Source], pixels: int = CHUNK_PIXELS) -> Iterator[list[Source]]:
    """Runs of sources that together have at most so many pixels, but at least one each."""
    chunk: list[Source] = []
    held = 0
    for source in sources:
        area = source.width * source.height
        if chunk and held + area > pixels:
            yield chunk
            chunk, held = [], 0
        chunk.append(source)
        held += area
    if chunk:
        yield chunk


def copy_to(folder: Path, sources: Sequence[Source]) -> list[str]:
    """Copy the PNG files into a folder and return their paths in it.

    Raises:
        OSError: no space, or a file has gone.
    """
    for source in sources:
        target = folder / source.inside
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.png, target)
    return [source.inside for source in sources]


def _source(path: Path, relative: str, name: str, scratch: Path, max_pixels: int | None) -> Source:
    data = path.read_bytes()
    picture = read_picture(data, name=name, max_pixels=max_pixels)
    inside = relative
    if not _is_plain_png(data, picture):
        inside = f"{relative}.png"
        path = scratch / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.rgb).save(path, format="png")
    return Source(
        name=name,
        png=path,
        inside=inside,
        width=picture.width,
        height=picture.height,
        png_bytes=path.stat().st_size,
        digest=_digest(picture.rgb),
    )


def _is_plain_png(data: bytes, picture: PixelSource) -> bool:
    kept = (picture.alpha, picture.exif, picture.icc, picture.xmp)
    if picture.grey or any(part is not None for part in kept):
        return False
    return data.startswith(b"\x89PNG\r\n\x1a\n") and data[25:26] == b"\x02"  # colour type RGB


def _digest(rgb: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(repr(rgb.shape).encode())
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def _is_picture_name(name: str) -> bool:
    with suppress(ValueError):
        return Path(name).suffix.lower() in PICTURE_SUFFIXES
    return False
