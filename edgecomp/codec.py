"""Picture to codestream and back: padding, the networks, tiles, the symbol coder, metadata."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecomp import constants as k
from edgecomp.backends import Backend, Latent, load_backend
from edgecomp.codestream import Codestream, Origin, Section, Tile, tile_grid
from edgecomp.entropy import (
    ContextCoder,
    LzmaCoder,
    SymbolCoder,
    choose_tile,
    coder_name,
    decode_tile,
    encode_tile,
)
from edgecomp.errors import CorruptDataError, ModelNotFoundError
from edgecomp.model_coders import load_coder
from edgecomp.models import Model, find_model, load_model, shipped_model
from edgecomp.pictures import Picture

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray


def symbol_hash(latent: Latent) -> bytes:
    """4 bytes that tell a picture's symbols from others (docs/format.md, section 3)."""
    digest = hashlib.sha256(np.ascontiguousarray(latent.symbols).data)
    if latent.counts is not None:
        digest.update(np.ascontiguousarray(latent.counts).data)
    return digest.digest()[: k.SYMBOL_HASH_BYTES]


class Codec:
    """One model with a backend and a symbol coder. Safe to use from several threads at once.

    Args:
        model: whose networks.
        backend: that runs them; None for a codec that only handles symbols.
        coder: for encoding; decoding takes the one that the codestream names, with the parameters
            of the model, loaded when first needed.
    """

    def __init__(self, model: Model, backend: Backend | None, coder: SymbolCoder) -> None:
        self.model = model
        self._backend = backend
        self._coder = coder
        self._coders = {coder.coder_id: coder}
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        quality: str = k.DEFAULT_QUALITY,
        *,
        backend: str = "onnx",
        model: Path | str | None = None,
        precision: str = "auto",
        coder: str | None = None,
        threads: int = 1,
    ) -> Codec:
        """A codec for encoding at a quality, or with the model in a folder.

        Args:
            quality: "A", "B" or "C"; not looked at when ``model`` is given.
            backend: "onnx" or "tensorflow".
            model: folder of an exported model.
            precision: "auto", "int8" or "fp32".
            coder: a name of ``entropy.CODER_NAMES``; None for ``context`` where the model has
                parameters for it, else ``lzma``.
            threads: that one call may use.

        Raises:
            ModelError: no such model, it is damaged, or has no parameters for the coder.
            BackendUnavailableError: the backend's package is not installed.
            UsageError: unknown backend, or one that lacks the precision.
            ValueError: unknown coder.
        """
        chosen = shipped_model(quality) if model is None else load_model(model)
        symbol_coder = load_coder(chosen, coder)
        runs = load_backend(backend, chosen, precision=precision, threads=threads)
        return cls(chosen, runs, symbol_coder)

    @property
    def model_id(self) -> bytes:
        """8 bytes that name the model in codestreams."""
        return self.model.model_id

    @property
    def model_name(self) -> str:
        """The model's name for people."""
        return self.model.name

    @property
    def coder_id(self) -> int:
        """The symbol coder's number in codestreams."""
        return self._coder.coder_id

    @property
    def backend(self) -> Backend:
        """What runs the networks.

        Raises:
            ModelNotFoundError: this codec was made for symbols only.
        """
        if self._backend is None:
            raise ModelNotFoundError(f"the networks of model {self.model.name} were not loaded")
        return self._backend

    def encode(
        self,
        picture: Picture,
        *,
        origin: Origin | None = None,
        gain: int = 0,
        tile: int | None = None,
    ) -> bytes:
        """Code a picture.

        Args:
            picture: what to code.
            origin: name check and modification time of its source, if it has one.
            gain: gain index, below the model's number of gains.
            tile: side of the tiles in pixels, a multiple of the stride; None for one tile.

        Returns:
            The codestream's bytes.

        Raises:
            ValueError: the gain or the tile size does not fit the model.
        """
        if not 0 <= gain < self.model.gains:
            raise ValueError(f"gain index {gain}; model {self.model.name} has {self.model.gains}")
        if tile is not None and (tile < 1 or tile % self.model.stride):
            raise ValueError(f"tile size {tile} is not a multiple of {self.model.stride}")
        return self.encode_latent(self.analyse(picture, gain=gain), picture, origin, gain, tile)

    def analyse(self, picture: Picture, *, gain: int = 0) -> Latent:
        """A picture's latent as the network rounds it: the first step of `encode`."""
        return self.backend.analyse(_pad(picture.rgb, self.model.stride), gain)

    def encode_latent(
        self,
        latent: Latent,
        picture: Picture,
        origin: Origin | None = None,
        gain: int = 0,
        tile: int | None = None,
    ) -> bytes:
        """The codestream of a picture whose latent is known: the rest of `encode`."""
        coded = Latent(np.empty_like(latent.symbols), latent.counts)  # what will be decoded
        tiles = []
        for rows, columns in self._tile_slices(picture.width, picture.height, tile, tile):
            payload, chosen = self._encode_tile(_part(latent, rows, columns))
            coded.symbols[:, rows, columns] = chosen
            tiles.append(Tile.of(payload))
        return Codestream(
            model_id=self.model.model_id,
            width=picture.width,
            height=picture.height,
            coder_id=self._coder.coder_id,
            gain=gain,
            symbol_hash=symbol_hash(coded),
            tiles=tuple(tiles),
            grey=picture.grey,
            origin=origin,
            tile_width=tile,
            tile_height=tile,
            sections=_sections_of(picture),
        ).pack()

    def decode_symbols(self, stream: Codestream) -> Latent:
        """The symbols of a codestream, compared with the hash in its header. Integers only.

        Raises:
            CorruptDataError: a tile is damaged, or the symbols are not those that were coded.
            ModelNotFoundError: the codestream was made with another model, or with a coder that
                this model has no parameters for.
            ModelDamagedError: the coder's parameters are damaged.
            UnsupportedVersionError: coded with a coder that this edgecomp does not know.
        """
        model = self.model
        if stream.model_id != model.model_id:
            raise ModelNotFoundError(
                f"made with model {stream.model_id.hex()}, not with {model.name} ({model.id_hex})"
            )
        if stream.gain >= model.gains:
            raise CorruptDataError(f"gain index {stream.gain} of {model.gains}")
        for side in (stream.tile_width, stream.tile_height):
            if side is not None and side % model.stride:
                raise CorruptDataError(f"tile size {side} is not a multiple of {model.stride}")
        stream.check_tiles()
        coder = self._coder_of(stream.coder_id)
        rows, columns = -(-stream.height // model.stride), -(-stream.width // model.stride)
        symbols = np.empty((model.channels, rows, columns), np.uint8)
        counts = np.empty((rows, columns), np.uint8) if model.importance_map else None
        slices = self._tile_slices(
            stream.width, stream.height, stream.tile_width, stream.tile_height
        )
        for tile, (tile_rows, tile_columns) in zip(stream.tiles, slices, strict=True):
            part, part_counts = decode_tile(
                coder,
                tile.payload,
                shape=symbols[:, tile_rows, tile_columns].shape,
                levels=model.levels,
                zero=model.zero,
                importance_map=model.importance_map,
            )
            symbols[:, tile_rows, tile_columns] = part
            if counts is not None and part_counts is not None:
                counts[tile_rows, tile_columns] = part_counts
        latent = Latent(symbols, counts)
        if symbol_hash(latent) != stream.symbol_hash:
            raise CorruptDataError("the symbols are not those that were coded (hash)")
        return latent

    def decode(self, stream: Codestream, *, leave_out: Collection[int] = frozenset()) -> Picture:
        """The picture of a codestream.

        Args:
            stream: what to decode.
            leave_out: kinds of sections that are not to be decoded (`damaged_metadata`).

        Raises:
            CorruptDataError, ModelError, UnsupportedVersionError: see `decode_symbols`.
        """
        alpha, icc, exif, xmp = (
            None if kind in leave_out else stream.section(kind)
            for kind in (k.SECTION_ALPHA, k.SECTION_ICC, k.SECTION_EXIF, k.SECTION_XMP)
        )
        latent = self.decode_symbols(stream)
        padded = self.backend.synthesise(latent.symbols, stream.gain)
        return Picture(
            rgb=np.ascontiguousarray(padded[: stream.height, : stream.width]),
            alpha=None
            if alpha is None
            else np.frombuffer(alpha, np.uint8).reshape(stream.height, stream.width),
            grey=stream.grey,
            exif=exif,
            icc=icc,
            xmp=xmp,
        )

    def _encode_tile(self, part: Latent) -> tuple[bytes, NDArray[np.uint8]]:
        """A tile's payload, and the symbols that it decodes to: other ones than the network's where
        the model wants them chosen, and backend and coder can."""
        model, coder = self.model, self._coder
        form = {"levels": model.levels, "zero": model.zero}
        threshold, fractions = model.choice_threshold, part.fractions
        if threshold is None or fractions is None or not isinstance(coder, ContextCoder):
            return encode_tile(coder, part.symbols, counts=part.counts, **form), part.symbols
        return choose_tile(
            coder,
            part.symbols,
            fractions=fractions,
            threshold=threshold,
            counts=part.counts,
            **form,
        )

    def _coder_of(self, coder_id: int) -> SymbolCoder:
        with self._lock:
            coder = self._coders.get(coder_id)
            if coder is None:
                coder = load_coder(self.model, coder_name(coder_id))
                self._coders[coder_id] = coder
            return coder

    def _tile_slices(
        self, width: int, height: int, tile_width: int | None, tile_height: int | None
    ) -> Iterator[tuple[slice, slice]]:
        """Row and column ranges of the latent positions of each tile, row by row."""
        stride = self.model.stride
        columns, rows = tile_grid(width, height, tile_width, tile_height)
        for row in range(rows):
            for column in range(columns):
                yield (
                    _positions(row, tile_height or height, height, stride),
                    _positions(column, tile_width or width, width, stride),
                )


class CodecCache:
    """Codecs for decoding, one for each model that turns up, loaded when first needed.

    Args:
        backend: name of the backend; None for codecs that decode symbols only.
        model: folder of the only model to use; None for those that ship.
        precision: "auto", "int8" or "fp32".
        threads: that one call may use.
    """

    def __init__(
        self,
        *,
        backend: str | None = "onnx",
        model: Path | str | None = None,
        precision: str = "auto",
        threads: int = 1,
    ) -> None:
        self._backend = backend
        self._model = model
        self._precision = precision
        self._threads = threads
        self._codecs: dict[bytes, Codec] = {}
        self._lock = threading.Lock()

    def for_stream(self, stream: Codestream) -> Codec:
        """The codec for a codestream.

        Raises:
            ModelNotFoundError: its model is not here.
            ModelDamagedError, BackendUnavailableError: it cannot be loaded.
        """
        with self._lock:
            codec = self._codecs.get(stream.model_id)
            if codec is None:
                codec = self._codecs[stream.model_id] = self._load(stream.model_id)
            return codec

    def _load(self, model_id: bytes) -> Codec:
        model = find_model(model_id, model=self._model)
        runs = None
        if self._backend is not None:
            runs = load_backend(
                self._backend, model, precision=self._precision, threads=self._threads
            )
        # Only encoding would use this coder; damaged parameters must not hinder reading files that
        # do without them.
        return Codec(model, runs, LzmaCoder())


def _positions(index: int, tile_side: int, side: int, stride: int) -> slice:
    """Latent positions that tile ``index`` covers along a side; all arguments in pixels."""
    start = index * tile_side
    return slice(start // stride, -(-min(start + tile_side, side) // stride))


def _part(latent: Latent, rows: slice, columns: slice) -> Latent:
    """What a tile holds of a picture's latent."""
    counts, fractions = latent.counts, latent.fractions
    return Latent(
        np.ascontiguousarray(latent.symbols[:, rows, columns]),
        None if counts is None else np.ascontiguousarray(counts[rows, columns]),
        None if fractions is None else np.ascontiguousarray(fractions[:, rows, columns]),
    )


def _pad(rgb: NDArray[np.uint8], stride: int) -> NDArray[np.uint8]:
    """Extend to multiples of the stride by repeating the last row and column."""
    bottom, right = -rgb.shape[0] % stride, -rgb.shape[1] % stride
    if bottom or right:
        return np.pad(rgb, ((0, bottom), (0, right), (0, 0)), mode="edge")
    return rgb


def _sections_of(picture: Picture) -> tuple[Section, ...]:
    alpha = None if picture.alpha is None else picture.alpha.tobytes()
    contents = (
        (k.SECTION_ALPHA, alpha),
        (k.SECTION_ICC, picture.icc),
        (k.SECTION_EXIF, picture.exif),
        (k.SECTION_XMP, picture.xmp),
    )
    return tuple(Section.of(kind, data) for kind, data in contents if data)
