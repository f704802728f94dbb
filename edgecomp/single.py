"""One picture: file or stream to codestream, and back."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edgecomp.codec import Codec, CodecCache
from edgecomp.codestream import Origin, parse
from edgecomp.constants import (
    CODESTREAM_SUFFIX,
    DEFAULT_MAX_MEMBERS,
    DEFAULT_MAX_PIXELS,
    DEFAULT_QUALITY,
    OUTPUT_FORMATS,
)
from edgecomp.errors import (
    CorruptDataError,
    EdgecompError,
    FormatError,
    OutputError,
    SourceError,
    UsageError,
)
from edgecomp.machine import usable_cpus
from edgecomp.names import (
    MAX_SUFFIX_BYTES,
    Note,
    name_check,
    partial_name,
    printable,
    split_suffix,
)
from edgecomp.output import OutputFile, cannot_write, check_output, reason_of
from edgecomp.picture_writer import write_image
from edgecomp.pictures import load_picture, open_picture
from edgecomp.pipeline import Progress, Silent
from edgecomp.restore import Tolerance, restore
from edgecomp.source_file import State, state_of
from edgecomp.summary import CompressSummary, DecompressSummary

if TYPE_CHECKING:
    from PIL.Image import Image

StrPath = str | os.PathLike[str]
_STANDARD_INPUT = "standard input"
_STANDARD_OUTPUT = "standard output"


def compress_picture(
    source: StrPath | bytes | BinaryIO,
    output: StrPath | BinaryIO | None = None,
    *,
    quality: str = DEFAULT_QUALITY,
    backend: str = "onnx",
    coder: str | None = None,
    model: StrPath | None = None,
    precision: str = "auto",
    threads: int | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    update: bool = False,
    resume: bool = False,
    verify: bool = False,
    force: bool = False,
    dry_run: bool = False,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    max_members: int | None = DEFAULT_MAX_MEMBERS,
    progress: Progress | None = None,
) -> CompressSummary:
    """Compress one picture into a codestream file.

    Args:
        source: a picture file, its bytes, or a binary stream.
        output: the ``.edge`` file or a binary stream; None for ``picture.edge`` beside
            ``picture.png``, which needs a source with a name.

    The other arguments are those of `compress_folder`; ``include``, ``exclude``, ``update`` and
    ``resume`` are for archives only.

    Raises:
        UnsupportedPictureError: the picture cannot be decoded, or not be represented.
        SourceError, OutputExistsError, OutputError, UsageError, ModelError: see
            `compress_folder`.
    """
    started = time.monotonic()
    if include or exclude or update or resume:
        raise UsageError(
            "include, exclude, update and resume are for archives, not for one picture"
        )
    if isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
        raise UsageError("a folder, not a picture", path=printable(os.fspath(source)))
    shown, target = _target(source, output, CODESTREAM_SUFFIX, force)
    name, file, mtime_ns = _open(source)
    hears = progress or Silent()
    with file, ExitStack() as stack:
        before, size = _state(file), _size(file, name)
        hears.start(1, size)
        stack.callback(hears.finish)
        image = open_picture(file, name=name, max_pixels=max_pixels)
        picture = load_picture(image, name=name)
        if _state(file) != before:
            raise SourceError("changed while it was read", path=name)
        codestream = b""
        if not dry_run:
            codec = Codec.load(
                quality,
                backend=backend,
                model=None if model is None else os.fspath(model),
                precision=precision,
                coder=coder,
                threads=threads or usable_cpus(),
            )
            origin = None if mtime_ns is None else _origin(name, mtime_ns)
            codestream = codec.encode(picture, origin=origin)
            _write(target, codestream, force=force, check=_verifier(codec) if verify else None)
        hears.advance(name, size)
    pixels = picture.width * picture.height
    return CompressSummary(
        archive=shown,
        images=1,
        files=1,
        bytes_in=size,
        bytes_out=len(codestream),
        pixels=pixels,
        bpp=8 * len(codestream) / pixels,
        seconds=time.monotonic() - started,
    )


def decompress_picture(
    source: StrPath | bytes | BinaryIO,
    output: StrPath | BinaryIO | None = None,
    *,
    backend: str = "onnx",
    model: StrPath | None = None,
    precision: str = "auto",
    threads: int | None = None,
    format: str | None = None,
    salvage: bool = False,
    force: bool = False,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> DecompressSummary:
    """Restore one picture from a codestream file.

    Args:
        source: an ``.edge`` file, its bytes, or a binary stream.
        output: the picture file or a binary stream; None for ``x.png`` beside ``x.edge``.
        backend: "onnx" or "tensorflow".
        model: folder of an exported model, instead of the ones that ship.
        precision: "auto", "int8" or "fp32".
        threads: that the network may use; None for the processors that may be used.
        format: a key of ``constants.OUTPUT_FORMATS``; None for what the output's suffix says,
            or PNG.
        salvage: restore what is whole of a damaged picture, as ``x.partial.png``.
        force: replace an existing output.
        max_pixels: refuse larger pictures; None for no limit.
        progress: hears how it goes.

    Raises:
        NotEdgecompError, CorruptDataError, UnsupportedVersionError: the source is no codestream,
            is damaged, or was made by a newer edgecomp.
        LimitError: the picture has more than ``max_pixels`` pixels.
        ModelError, BackendUnavailableError: the model or the backend is not there.
        SourceError, OutputExistsError, OutputError, UsageError: as for `compress_picture`.
    """
    started = time.monotonic()
    workers = threads or usable_cpus()
    chosen = format or _format_of(output)
    if chosen not in OUTPUT_FORMATS:
        raise UsageError(f"unknown picture format {chosen!r}; known: {', '.join(OUTPUT_FORMATS)}")
    shown, target = _target(source, output, OUTPUT_FORMATS[chosen], force or salvage)
    name, file, _ = _open(source)
    data = _read(file, name)
    hears = progress or Silent()
    hears.start(1, len(data))
    try:
        try:
            stream = parse(data, max_pixels=max_pixels)
            codecs = CodecCache(
                backend=backend,
                model=None if model is None else os.fspath(model),
                precision=precision,
                threads=workers,
            )
            # Standard output has no name that could tell that something is missing.
            tolerate: Tolerance = "tiles" if salvage and isinstance(target, Path) else "metadata"
            restored = restore(codecs.for_stream(stream), stream, tolerate=tolerate)
        except EdgecompError as error:
            error.path = error.path or name
            raise
        if isinstance(target, Path) and salvage:
            if restored.is_partial:
                target = target.with_name(partial_name(target.name))
                shown = printable(str(target))
            check_output(target, replace=force)
        mtime_ns = stream.origin.mtime_ns if stream.origin else None
        bytes_out = _write_image(
            target,
            restored.image,
            chosen,
            shown=shown,
            force=force,
            mtime_ns=mtime_ns,
            threads=workers,
        )
        hears.advance(name, len(data))
    finally:
        hears.finish()
    return DecompressSummary(
        archive=name,
        output=shown,
        images=1,
        files=1,
        bytes_in=len(data),
        bytes_out=bytes_out,
        pixels=stream.width * stream.height,
        seconds=time.monotonic() - started,
        damaged=() if restored.damage is None else (Note(name, restored.damage),),
    )


def _origin(name: str, mtime_ns: int) -> Origin:
    base = os.path.basename(name)
    suffix = split_suffix(base)[1]
    if len(suffix.encode()) > MAX_SUFFIX_BYTES:
        suffix = ""
    return Origin(suffix, mtime_ns, name_check(base))


def _format_of(output: StrPath | BinaryIO | None) -> str:
    if isinstance(output, (str, os.PathLike)):
        suffix = split_suffix(os.fspath(output))[1].lower()
        for format, its_suffix in OUTPUT_FORMATS.items():
            if suffix in (its_suffix, f".{format}"):
                return format
    return "png"


def _open(source: StrPath | bytes | BinaryIO) -> tuple[str, BinaryIO, int | None]:
    """Name, file and modification time (ns; None for a stream) of the input; the file can seek."""
    if isinstance(source, bytes):
        return _STANDARD_INPUT, io.BytesIO(source), None
    name = _STANDARD_INPUT
    try:
        if not isinstance(source, (str, os.PathLike)):
            return name, io.BytesIO(source.read()), None
        name = printable(os.fspath(source))
        file = open(source, "rb")
        try:
            mtime_ns = os.fstat(file.fileno()).st_mtime_ns
            if file.seekable():
                return name, file, mtime_ns
            with file:  # a pipe
                return name, io.BytesIO(file.read()), mtime_ns
        except BaseException:
            file.close()
            raise
    except FileNotFoundError:
        raise SourceError("no such file", path=name) from None
    except OSError as error:
        raise SourceError(f"cannot be read: {reason_of(error)}", path=name) from error


def _size(file: BinaryIO, name: str) -> int:
    """Of a file in bytes; it is at its start then."""
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
    except OSError as error:
        raise SourceError(f"cannot be read: {reason_of(error)}", path=name) from error
    return size


def _read(file: BinaryIO, name: str) -> bytes:
    try:
        with file:
            return file.read()
    except OSError as error:
        raise SourceError(f"cannot be read: {reason_of(error)}", path=name) from error


def _state(file: BinaryIO) -> State | None:
    """What tells whether a source on disk was changed; None for one in memory."""
    return None if isinstance(file, io.BytesIO) else state_of(os.fstat(file.fileno()))


def _verifier(codec: Codec) -> Callable[[bytes], None]:
    """Reads a codestream back to its symbols; raises CorruptDataError if they are others."""

    def check(data: bytes) -> None:
        try:
            stream = parse(data, max_pixels=None)
            stream.check_sections()
            codec.check_symbols(stream)
        except FormatError as error:
            what = f"verifying failed, nothing was written: {error.message}"
            raise CorruptDataError(what) from error

    return check


def _target(
    source: StrPath | bytes | BinaryIO,
    output: StrPath | BinaryIO | None,
    suffix: str,
    force: bool,
) -> tuple[str, Path | BinaryIO]:
    """The output, and what to call it."""
    if output is None:
        if not isinstance(source, (str, os.PathLike)):
            raise UsageError("the source has no name: say what the output is to be called")
        output = Path(source).with_suffix(suffix)
    if isinstance(output, (str, os.PathLike)):
        target = Path(output)
        check_output(target, replace=force)
        return printable(str(target)), target
    return _STANDARD_OUTPUT, output


def _write(
    target: Path | BinaryIO,
    data: bytes | memoryview,
    *,
    force: bool,
    check: Callable[[bytes], None] | None = None,
) -> None:
    """Write the output, whole or not at all where it has a name.

    Args:
        target: where to.
        data: what.
        force: replace what is there.
        check: raises if what was written is not right, and the output gets no name then. (What
            standard output was given cannot be read back.)
    """
    if isinstance(target, Path):
        with OutputFile(target, force=force) as out:
            out.file.write(data)
            if check is not None:
                with out.reopen() as written:
                    check(written.read())
        return
    if check is not None:
        check(bytes(data))
    try:
        target.write(data)
        target.flush()
    except BrokenPipeError:
        raise  # whoever reads has had enough: no error of the output's
    except OSError as error:
        raise cannot_write(_STANDARD_OUTPUT, error) from error


def _write_image(
    target: Path | BinaryIO,
    image: Image,
    format: str,
    *,
    shown: str,
    force: bool,
    mtime_ns: int | None,
    threads: int,
) -> int:
    """Write the output as `_write` does; its bytes."""

    def encode(file: BinaryIO) -> None:
        try:
            write_image(image, file, format=format, threads=threads)
        except (EdgecompError, MemoryError):
            raise  # a target that cannot be written says so itself
        except Exception as error:
            raise OutputError(f"cannot be written as {format}: {error}", path=shown) from error

    if isinstance(target, Path):
        with OutputFile(target, force=force) as out:
            encode(out.file)
            if mtime_ns is not None:
                out.set_mtime(mtime_ns)
            return out.size()
    encoded = io.BytesIO()
    encode(encoded)
    data = encoded.getbuffer()
    _write(target, data, force=force)
    return len(data)
