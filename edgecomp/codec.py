"""Picture to codestream and back: padding, the networks, tiles, the symbol coder, metadata."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecomp import constants as k
from edgecomp.analysis import analyse, part_of
from edgecomp.backends import Backend, Latent, load_backend
from edgecomp.codestream import Codestream, Origin, Section, Tile
from edgecomp.entropy import (
    ContextCoder,
    LzmaCoder,
    SymbolCoder,
    choose_tile,
    coder_name,
    encode_tile,
)
from edgecomp.errors import ModelNotFoundError
from edgecomp.model_coders import load_coder
from edgecomp.models import Model, find_model, load_model, shipped_model
from edgecomp.pictures import Picture, PixelSource
from edgecomp.pipeline import side_by_side
from edgecomp.symbol_hash import hash_of_tiles, symbol_hash
from edgecomp.synthesis import Synthesiser
from edgecomp.tile_reader import TileReader, check_model
from edgecomp.tiling import Rect, tile_rects, tile_size

if TYPE_CHECKING:
    from collections.abc import Sequence


class Codec:
    """One model with a backend and a symbol coder. Safe to use from several threads at once.

    Args:
        model: whose networks.
        backend: that runs them; None for a codec that only handles symbols.
        coder: for encoding; decoding takes the one that the codestream names, with the parameters
            of the model, loaded when first needed.
        threads: that one call may use where it does not say itself.
    """

    def __init__(
        self, model: Model, backend: Backend | None, coder: SymbolCoder, *, threads: int = 1
    ) -> None:
        self.threads = threads
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
        return cls(chosen, runs, symbol_coder, threads=threads)

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
        picture: PixelSource,
        *,
        origin: Origin | None = None,
        gain: int = 0,
        tile: int | None = None,
        threads: int | None = None,
    ) -> bytes:
        """Code a picture.

        Args:
            picture: what to code; of a large one only some tiles are looked at at a time.
            origin: name check and modification time of its source, if it has one.
            gain: gain index, below the model's number of gains.
            tile: side of the tiles in pixels, a multiple of the stride; None for one tile, or for
                several where the picture is large (``tiling.tile_size``).
            threads: to use; None for the codec's own number.

        Returns:
            The codestream's bytes, the same for any number of threads.

        Raises:
            ValueError: the gain or the tile size does not fit the model.
        """
        self._check_gain(gain)
        size = self._tile_size(picture, tile)
        threads = threads or self.threads

        def code(rect: Rect) -> tuple[bytes, Latent]:
            latent = analyse(self.backend, self.model, picture, rect, gain, threads=1)
            return self._encode_tile(latent)

        if self.model.halo is None or self._tile_size(picture, None) is None:
            # A network that has to see a picture whole; or a small picture, whatever its tiles.
            return self.encode_latent(
                self.analyse(picture, gain=gain, threads=threads), picture, origin, gain, tile
            )
        with closing(side_by_side(code, self._rects(picture, size), threads=threads)) as results:
            tiles = [Tile.of(payload, symbol_hash(coded)) for payload, coded in results]
        return self._pack(tiles, picture, origin, gain, size)

    def analyse(self, picture: PixelSource, *, gain: int = 0, threads: int | None = None) -> Latent:
        """A picture's latent as the network rounds it: the first step of `encode`."""
        rect = Rect(0, 0, picture.width, picture.height).positions(self.model.stride)
        threads = threads or self.threads
        return analyse(self.backend, self.model, picture, rect, gain, threads=threads)

    def encode_latent(
        self,
        latent: Latent,
        picture: PixelSource,
        origin: Origin | None = None,
        gain: int = 0,
        tile: int | None = None,
    ) -> bytes:
        """The codestream of a picture whose latent is known: the rest of `encode`."""
        size = self._tile_size(picture, tile)
        tiles = []
        for rect in self._rects(picture, size):
            payload, coded = self._encode_tile(part_of(latent, rect))
            tiles.append(Tile.of(payload, symbol_hash(coded)))
        return self._pack(tiles, picture, origin, gain, size)

    def decode_symbols(self, stream: Codestream) -> Latent:
        """The symbols of a codestream, compared with the hashes in its header. Integers only.

        Raises:
            CorruptDataError: a tile is damaged, or the symbols are not those that were coded.
            ModelNotFoundError: the codestream was made with another model, or with a coder that
                this model has no parameters for.
            ModelDamagedError: the coder's parameters are damaged.
            UnsupportedVersionError: coded with a coder that this edgecomp does not know.
        """
        return self._reader(stream).whole()

    def check_symbols(self, stream: Codestream) -> None:
        """Decode the symbols of a codestream tile by tile, compare them and let them go.

        Raises:
            CorruptDataError, ModelError, UnsupportedVersionError: see `decode_symbols`.
        """
        self._reader(stream).check()

    def synthesiser(self, stream: Codestream, *, salvage: bool = False) -> Synthesiser:
        """What decodes regions of a codestream's picture.

        Args:
            stream: what to decode.
            salvage: whether damaged tiles become grey instead of errors.

        Raises:
            CorruptDataError, ModelError, UnsupportedVersionError: see `decode_symbols`.
        """
        return Synthesiser(
            self.backend,
            self.model,
            self._reader(stream),
            (stream.width, stream.height),
            stream.gain,
            salvage=salvage,
        )

    def decode(self, stream: Codestream) -> Picture:
        """The picture of a codestream.

        Raises:
            CorruptDataError, ModelError, UnsupportedVersionError: see `decode_symbols`.
        """
        alpha, icc, exif, xmp = (
            stream.section(kind)
            for kind in (k.SECTION_ALPHA, k.SECTION_ICC, k.SECTION_EXIF, k.SECTION_XMP)
        )
        stream.check_tiles()
        rgb = np.empty((stream.height, stream.width, 3), np.uint8)
        whole = Rect(0, 0, stream.width, stream.height)
        for region in self.synthesiser(stream).regions(whole, threads=self.threads):
            rgb[region.place.rows, region.place.columns] = region.rgb
        return Picture(
            rgb=rgb,
            alpha=None
            if alpha is None
            else np.frombuffer(alpha, np.uint8).reshape(stream.height, stream.width),
            grey=stream.grey,
            exif=exif,
            icc=icc,
            xmp=xmp,
        )

    def _encode_tile(self, part: Latent) -> tuple[bytes, Latent]:
        """A tile's payload, and the latent that it decodes to: with other symbols than the
        network's where the model wants them chosen, and backend and coder can."""
        model, coder = self.model, self._coder
        form = {"levels": model.levels, "zero": model.zero}
        threshold, fractions = model.choice_threshold, part.fractions
        if threshold is None or fractions is None or not isinstance(coder, ContextCoder):
            return encode_tile(coder, part.symbols, counts=part.counts, **form), part
        payload, chosen = choose_tile(
            coder,
            part.symbols,
            fractions=fractions,
            threshold=threshold,
            counts=part.counts,
            **form,
        )
        return payload, Latent(chosen, part.counts)

    def _pack(
        self,
        tiles: Sequence[Tile],
        picture: PixelSource,
        origin: Origin | None,
        gain: int,
        size: tuple[int, int] | None,
    ) -> bytes:
        """The codestream of tiles with hashes; that of the only tile is the picture's own."""
        hashes = [tile.symbol_hash or b"" for tile in tiles]
        return Codestream(
            model_id=self.model.model_id,
            width=picture.width,
            height=picture.height,
            coder_id=self._coder.coder_id,
            gain=gain,
            symbol_hash=hashes[0] if size is None else hash_of_tiles(hashes),
            tiles=(replace(tiles[0], symbol_hash=None),) if size is None else tuple(tiles),
            grey=picture.grey,
            origin=origin,
            tile_width=None if size is None else size[0],
            tile_height=None if size is None else size[1],
            sections=_sections_of(picture),
        ).pack()

    def _check_gain(self, gain: int) -> None:
        if not 0 <= gain < self.model.gains:
            raise ValueError(f"gain index {gain}; model {self.model.name} has {self.model.gains}")

    def _tile_size(self, picture: PixelSource, tile: int | None) -> tuple[int, int] | None:
        """Width and height of the tiles in pixels; None for one tile."""
        if tile is None:
            return tile_size(picture.width, picture.height, self.model.stride)
        if tile < 1 or tile % self.model.stride:
            raise ValueError(f"tile size {tile} is not a multiple of {self.model.stride}")
        return tile, tile

    def _rects(self, picture: PixelSource, size: tuple[int, int] | None) -> tuple[Rect, ...]:
        width, height = (None, None) if size is None else size
        return tile_rects(picture.width, picture.height, width, height, self.model.stride)

    def _reader(self, stream: Codestream) -> TileReader:
        check_model(stream, self.model)
        return TileReader(stream, self.model, self._coder_of(stream.coder_id))

    def _coder_of(self, coder_id: int) -> SymbolCoder:
        with self._lock:
            coder = self._coders.get(coder_id)
            if coder is None:
                coder = load_coder(self.model, coder_name(coder_id))
                self._coders[coder_id] = coder
            return coder


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
        return Codec(model, runs, LzmaCoder(), threads=self._threads)


def _sections_of(picture: PixelSource) -> tuple[Section, ...]:
    alpha = None if picture.alpha is None else picture.alpha.tobytes()
    contents = (
        (k.SECTION_ALPHA, alpha),
        (k.SECTION_ICC, picture.icc),
        (k.SECTION_EXIF, picture.exif),
        (k.SECTION_XMP, picture.xmp),
    )
    return tuple(Section.of(kind, data) for kind, data in contents if data)
