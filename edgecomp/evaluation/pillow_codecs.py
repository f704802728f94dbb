"""The classical codecs that edgecomp is compared with, through Pillow and two plug-ins.

Every call works in memory and keeps one core busy. How each library is held to that:

- JPEG, JPEG 2000 and WebP use the calling thread alone. (OpenJPEG would also obey the environment
  variable ``OPJ_NUM_THREADS``.)
- AVIF: ``max_threads=1`` to encode. Pillow's decoder takes the number from its module's
  ``DEFAULT_MAX_THREADS``, or the number of processors that the process may use, when a file is
  opened; it is 1 for the moment of opening, and then as it was.
- JPEG XL: no threads, asked for call by call; the plug-in's own default is one a processor.
- HEIC: x265 takes one worker thread a processor unless it is told ``pools=none``; the thread that
  is left works while the caller waits. To decode, libde265 has one worker, in turn with the caller.

Confining the process to one processor (``os.sched_setaffinity``) holds all of them to it as well.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, features

from edgecomp.evaluation.methods import Method, UnavailableError
from edgecomp.evaluation.results import CODEC_NAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A quality of JPEG 2000 is hundredths of bits per pixel; Pillow wants the ratio to 24 bits.
_JPEG2000_RATIO_TIMES_QUALITY: Final = 2400
_PROBE_SIDE: Final = 16


@dataclass(frozen=True)
class PillowCodec:
    """One codec, at any of its qualities. This class is right for what Pillow itself can do.

    Attributes:
        name: one of `CODEC_NAMES`.
        title: for people: "JPEG XL".
        mime: type of its files.
        qualities: the codec's own scale, the lowest to the highest, in whole numbers. For JPEG 2000
            hundredths of bits per pixel.
        measured: the qualities for tables and curves, ascending; on the Kodak pictures they cover
            MS-SSIM from about 0.955 to 0.995.
        fixed: arguments of `Image.save` (parameters of x265) that are the same at every quality.
        pillow_format: Pillow's name of the format.
        package: the library behind it, or the plug-in as pip knows it.
        feature: the library's name for `PIL.features`; "" for plug-ins.
        version_feature: the name under which that knows the library's version, if another.
        module: the plug-in's module, if it needs one.
    """

    name: str
    title: str
    mime: str
    qualities: range
    measured: tuple[int, ...]
    fixed: Mapping[str, Any]
    pillow_format: str
    package: str
    feature: str = ""
    version_feature: str = ""
    module: str | None = None

    def encode(self, rgb: NDArray[np.uint8], quality: int) -> bytes:
        """Picture uint8 (height, width, 3), C-contiguous, to the bytes of a file.

        Raises:
            ValueError: the codec has no such quality.
        """
        self._check(quality)
        buffer = io.BytesIO()
        options = {**self._options(quality), **self.fixed}
        Image.fromarray(rgb).save(buffer, self.pillow_format, **options)
        return buffer.getvalue()

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The bytes of a file to a picture uint8 (height, width, 3), C-contiguous and writable.

        Raises:
            OSError or SyntaxError: no file of this format, or a damaged one.
        """
        with self._open(data) as image:
            return np.array(image.convert("RGB"))

    def settings(self, quality: int) -> str:
        """The options, for people: "quality=75, optimize=True"."""
        options = {**self._options(quality), **self.fixed}
        return ", ".join(f"{name}={value}" for name, value in options.items())

    def library(self) -> str | None:
        """Name and version of the library behind it, for people; None if it is not there."""
        version = features.version(self.version_feature or self.feature)
        return None if version is None else f"{self.package} {version}"

    def unavailable(self) -> str | None:
        """Why the codec cannot be measured here, for the user; None if it can.

        Finds out by coding a small picture, which finds plug-ins that do not go with this Pillow.
        """
        reason = self._missing()
        if reason is not None:
            return reason
        ramp = np.arange(_PROBE_SIDE * _PROBE_SIDE * 3, dtype=np.uint32) * 85 // 256
        picture = ramp.astype(np.uint8).reshape(_PROBE_SIDE, _PROBE_SIDE, 3)
        try:
            shape = self.decode(self.encode(picture, self.measured[-1])).shape
        # Plug-ins are free to raise anything, and the table needs the row's reason, not an end.
        except Exception as error:
            return f"{self.title} does not work here: {type(error).__name__}: {error}"
        return None if shape == picture.shape else f"{self.title} returned a picture of {shape}"

    def method(self, quality: int) -> Method:
        """The codec at one quality.

        Raises:
            ValueError: the codec has no such quality.
            UnavailableError: it cannot be measured here.
        """
        self._check(quality)
        reason = self.unavailable()
        if reason is not None:
            raise UnavailableError(reason)
        return _AtQuality(self, quality)

    def _check(self, quality: int) -> None:
        if quality not in self.qualities:
            least, most = self.qualities[0], self.qualities[-1]
            raise ValueError(f"{self.title} has qualities {least} to {most}, not {quality}")

    def _missing(self) -> str | None:
        if self.module is not None:
            try:
                importlib.import_module(self.module)
            except ModuleNotFoundError:
                return f"needs {self.package}: pip install 'edgecomp[eval]'"
            # A plug-in made for another Pillow fails in its own way, at import or later.
            except Exception as error:
                return f"{self.package} cannot be imported: {type(error).__name__}: {error}"
        elif not features.check(self.feature):
            return f"this Pillow was built without {self.title}"
        return None

    def _options(self, quality: int) -> dict[str, Any]:
        return {"quality": quality}

    def _open(self, data: bytes) -> Image.Image:
        return Image.open(io.BytesIO(data), formats=(self.pillow_format,))


@dataclass(frozen=True)
class _Jpeg2000(PillowCodec):
    """By rate: at one rate for all pictures it is better on average than at one PSNR for all."""

    def _options(self, quality: int) -> dict[str, Any]:
        return {"quality_layers": [_JPEG2000_RATIO_TIMES_QUALITY / quality]}

    def settings(self, quality: int) -> str:
        """The options, for people, with the bits per pixel."""
        ratio = _JPEG2000_RATIO_TIMES_QUALITY / quality
        fixed = ", ".join(f"{name}={value}" for name, value in self.fixed.items())
        return f"{quality / 100:.2f} bits per pixel: quality_layers=[{ratio:.4g}], {fixed}"


@dataclass(frozen=True)
class _Avif(PillowCodec):
    """Opened by one thread at a time, with Pillow's number of decoding threads at 1 meanwhile."""

    _opening: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def _open(self, data: bytes) -> Image.Image:
        from PIL import AvifImagePlugin

        with self._opening:
            before = AvifImagePlugin.DEFAULT_MAX_THREADS
            AvifImagePlugin.DEFAULT_MAX_THREADS = 1
            try:
                return super()._open(data)
            finally:
                AvifImagePlugin.DEFAULT_MAX_THREADS = before


@dataclass(frozen=True)
class _JpegXL(PillowCodec):
    """Importing the plug-in registers JPEG XL with Pillow for the whole process, at the end of the
    formats that `Image.open` tries; it happens when the codec is first asked for."""

    def encode(self, rgb: NDArray[np.uint8], quality: int) -> bytes:
        """As `PillowCodec.encode`."""
        import pillow_jxl  # noqa: F401 (registers the format)

        return super().encode(rgb, quality)

    def library(self) -> str | None:
        """Version of the plug-in, which does not tell libjxl's."""
        if self._missing() is not None:
            return None
        return f"{self.package} {importlib.metadata.version(self.package)}"

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """As `PillowCodec.decode`; the plug-in's decoder itself, as `Image.open` gives it threads.

        Raises:
            OSError: no JPEG XL file of 8-bit RGB samples, or a damaged one.
        """
        import pillow_jxl

        try:
            _, info, samples, *_ = pillow_jxl.Decoder(num_threads=0)(data)
        except (RuntimeError, ValueError) as error:
            raise OSError(f"no sound JPEG XL file: {error}") from error
        if info.mode != "RGB":
            raise OSError(f"a JPEG XL file of mode {info.mode}, not RGB")
        return np.frombuffer(samples, np.uint8).reshape(info.height, info.width, 3).copy()


@dataclass(frozen=True)
class _Heic(PillowCodec):
    """By pillow-heif's own functions: `Image.open` learns nothing new in this process."""

    def encode(self, rgb: NDArray[np.uint8], quality: int) -> bytes:
        """As `PillowCodec.encode`."""
        import pillow_heif

        self._check(quality)
        buffer = io.BytesIO()
        # A copy: the plug-in adds to the parameters that it is given.
        parameters = dict(self.fixed)
        size = (rgb.shape[1], rgb.shape[0])
        data = rgb.tobytes()
        pillow_heif.encode("RGB", size, data, buffer, quality=quality, enc_params=parameters)
        return buffer.getvalue()

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """As `PillowCodec.decode`.

        Raises:
            OSError: no HEIC file, or a damaged one.
        """
        import pillow_heif

        try:
            image = pillow_heif.open_heif(io.BytesIO(data)).to_pillow()
        except (RuntimeError, ValueError, SyntaxError, EOFError) as error:
            raise OSError(f"no sound HEIC file: {error}") from error
        return np.array(image.convert("RGB"))

    def library(self) -> str | None:
        """Versions of libheif and x265."""
        if self._missing() is not None:
            return None
        import pillow_heif

        info = pillow_heif.libheif_info()
        return f"libheif {info['libheif']}, {info['HEIF'] or 'no HEVC encoder'}"


class _AtQuality:
    """A `Method`: one codec at one quality."""

    def __init__(self, codec: PillowCodec, quality: int) -> None:
        self.name = codec.name
        self.quality = str(quality)
        self.settings = codec.settings(quality)
        self._codec = codec
        self._number = quality

    def encode(self, rgb: NDArray[np.uint8], /) -> bytes:
        return self._codec.encode(rgb, self._number)

    def decode(self, data: bytes, /) -> NDArray[np.uint8]:
        return self._codec.decode(data)


_CODECS: Final[tuple[PillowCodec, ...]] = (
    PillowCodec(
        name="jpeg",
        title="JPEG",
        mime="image/jpeg",
        qualities=range(1, 101),
        measured=(25, 40, 60, 75, 90, 95),
        fixed={"optimize": True},
        pillow_format="JPEG",
        package="libjpeg-turbo",
        feature="jpg",
        version_feature="libjpeg_turbo",
    ),
    _Jpeg2000(
        name="jpeg2000",
        title="JPEG 2000",
        mime="image/jp2",
        qualities=range(5, 1201),
        measured=(40, 60, 100, 150, 220),
        fixed={"quality_mode": "rates", "irreversible": True, "mct": 1},
        pillow_format="JPEG2000",
        package="OpenJPEG",
        feature="jpg_2000",
    ),
    PillowCodec(
        name="webp",
        title="WebP",
        mime="image/webp",
        qualities=range(101),
        measured=(20, 40, 60, 75, 90, 95),
        fixed={"method": 6},
        pillow_format="WEBP",
        package="libwebp",
        feature="webp",
    ),
    _Avif(
        name="avif",
        title="AVIF",
        mime="image/avif",
        qualities=range(101),
        measured=(30, 45, 60, 75, 85),
        fixed={"speed": 6, "max_threads": 1},
        pillow_format="AVIF",
        package="libavif",
        feature="avif",
    ),
    _JpegXL(
        name="jpeg-xl",
        title="JPEG XL",
        mime="image/jxl",
        qualities=range(1, 100),  # 100 is another, lossless way of coding
        measured=(25, 50, 75, 90, 95),
        fixed={"effort": 7, "num_threads": 0},
        pillow_format="JXL",
        module="pillow_jxl",
        package="pillow-jxl-plugin",
    ),
    _Heic(
        name="heic",
        title="HEIC",
        mime="image/heic",
        qualities=range(101),
        measured=(25, 35, 45, 55, 65),
        fixed={"x265:pools": "none", "x265:frame-threads": "1"},
        pillow_format="HEIF",
        module="pillow_heif",
        package="pillow-heif",
    ),
)


def families() -> tuple[PillowCodec, ...]:
    """All codecs, in the order of `CODEC_NAMES`."""
    return _CODECS


def family(name: str) -> PillowCodec:
    """The codec of that name.

    Raises:
        ValueError: not one of `CODEC_NAMES`.
    """
    for codec in _CODECS:
        if codec.name == name:
            return codec
    raise ValueError(f"no codec {name!r}; there are {', '.join(CODEC_NAMES)}")


def unavailable(name: str) -> str | None:
    """`PillowCodec.unavailable` of the codec of that name.

    Raises:
        ValueError: not one of `CODEC_NAMES`.
    """
    return family(name).unavailable()
