"""Pillow plug-in: after ``import edgecomp.pillow``, Pillow opens and saves ``.edge`` files.

::

    import edgecomp.pillow
    image = Image.open("a.edge")
    image.save("b.edge", quality="B")

Saving takes ``quality`` ("A", "B", "C"), ``coder``, ``backend``, ``model``, ``precision``,
``threads``, and ``exif``, ``icc_profile``, ``xmp`` (bytes; by default those in ``image.info``).
"""

from __future__ import annotations

import io
from typing import IO, Any, Final

from PIL import Image, ImageFile

from edgecomp import api
from edgecomp import constants as k
from edgecomp.codestream import is_codestream, parse
from edgecomp.errors import EdgecompError, FormatError

FORMAT: Final = "EDGECOMP"
_OPTIONS: Final = ("quality", "coder", "backend", "model", "precision", "threads")
_METADATA: Final = ("exif", "icc_profile", "xmp")


class EdgeImageFile(ImageFile.ImageFile):
    """An ``.edge`` file: the header is read on opening, the pixels when they are asked for."""

    format = FORMAT
    format_description = "edgecomp codestream"

    def _open(self) -> None:
        assert self.fp is not None
        self._codestream = self.fp.read()
        try:
            stream = parse(self._codestream)
            kinds = {section.kind for section in stream.sections}
            exif, icc, xmp = (
                stream.section(kind) for kind in (k.SECTION_EXIF, k.SECTION_ICC, k.SECTION_XMP)
            )
        except FormatError as error:
            # Pillow's sign for "not mine", after which it says that it cannot identify the file.
            raise SyntaxError(str(error)) from error
        except EdgecompError as error:
            raise OSError(str(error)) from error
        self._mode = ("L" if stream.grey else "RGB") + ("A" if k.SECTION_ALPHA in kinds else "")
        self._size = (stream.width, stream.height)
        if exif:
            self.info["exif"] = b"Exif\x00\x00" + exif
        if icc:
            self.info["icc_profile"] = icc
        if xmp:
            self.info["xmp"] = xmp

    def load(self) -> Any:
        """Decode the pixels, once."""
        if self._codestream:
            try:
                pixels = api.decode(self._codestream).tobytes()
            except EdgecompError as error:
                raise OSError(str(error)) from error
            self._codestream = b""
            if self.fp is not None and self._exclusive_fp:
                self.fp.close()
            self.fp = io.BytesIO(pixels)
            self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, self.mode)]
        return super().load()


def _accept(prefix: bytes) -> bool:
    return is_codestream(prefix)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    given: dict[str, Any] = image.encoderinfo
    options = {key: given[key] for key in _OPTIONS if given.get(key) is not None}
    copy = image.copy()
    for key in _METADATA:
        value = given.get(key)
        if isinstance(value, Image.Exif):
            value = value.tobytes()
        if value is not None:
            copy.info[key] = value
    try:
        file.write(api.encode(copy, **options))
    except EdgecompError as error:
        raise OSError(str(error)) from error


Image.register_open(FORMAT, EdgeImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, k.CODESTREAM_SUFFIX)
Image.register_mime(FORMAT, "image/x-edgecomp")
