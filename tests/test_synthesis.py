"""Parts of pictures through the networks: what comes out is what the whole gives, and damage stays
where it is. With the model A that ships, whose graphs are of integers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp import analysis, synthesis, tiling
from edgecomp.codec import Codec
from edgecomp.codestream import Codestream, Tile, parse
from edgecomp.errors import CorruptDataError
from edgecomp.pictures import Picture
from edgecomp.symbol_hash import symbol_hash
from edgecomp.synthesis import Synthesiser
from edgecomp.tiling import Rect

CODEC = Codec.load("A")
STRIDE = CODEC.model.stride


def scene(width: int, height: int) -> Picture:
    """Edges, slopes and noise."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(width + height)
    planes = (
        (x * 2 + y) % 256,
        128 + 90 * np.sin(x / 17) * np.cos(y / 23),
        np.where((x - 90) ** 2 + (y - 70) ** 2 < 3000, 220, 40) + rng.integers(0, 30, x.shape),
    )
    return Picture(np.dstack(planes).clip(0, 255).astype(np.uint8))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts so small that a small picture has many."""
    monkeypatch.setattr(tiling, "_PART_POSITIONS", 400)
    monkeypatch.setattr(tiling, "_HALOS_PER_SIDE", 1)


def whole_latent(picture: Picture) -> Any:
    bottom, right = -picture.height % STRIDE, -picture.width % STRIDE
    padded = np.pad(picture.rgb, ((0, bottom), (0, right), (0, 0)), mode="edge")
    return CODEC.backend.analyse(padded, 0)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [(333, 251), (40, 1200), (1201, 17), (256, 256)])
def test_symbols_and_pixels_do_not_depend_on_the_parts(size: tuple[int, int], threads: int) -> None:
    picture = scene(*size)
    grid = Rect(0, 0, *size).positions(STRIDE)
    assert len(tiling.parts(grid, 4)) > 1
    found = analysis.analyse(CODEC.backend, CODEC.model, picture, grid, 0, threads=threads)
    whole = whole_latent(picture)
    assert np.array_equal(found.symbols, whole.symbols)
    assert np.array_equal(found.fractions, whole.fractions)
    stream = parse(CODEC.encode_latent(found, picture, tile=64))
    pixels = CODEC.backend.synthesise(CODEC.decode_symbols(stream).symbols, 0)
    rgb = np.zeros_like(picture.rgb)
    everything = Rect(0, 0, *size)
    for region in CODEC.synthesiser(stream).regions(everything, threads=threads):
        rgb[region.place.rows, region.place.columns] = region.rgb
    assert np.array_equal(rgb, pixels[: picture.height, : picture.width])


@pytest.mark.usefixtures("small_parts")
def test_a_rectangle_of_a_picture_is_analysed_as_in_the_whole() -> None:
    picture = scene(301, 205)
    whole = whole_latent(picture)
    rect = Rect(3, 5, 30, 26)
    part = analysis.analyse(CODEC.backend, CODEC.model, picture, rect, 0, threads=1)
    assert np.array_equal(part.symbols, whole.symbols[:, rect.rows, rect.columns])


def test_a_model_that_does_not_say_how_far_it_sees_is_given_all() -> None:
    picture = scene(301, 205)
    model = dataclasses.replace(CODEC.model, halo=None)
    rect = Rect(3, 5, 30, 26)
    part = analysis.analyse(CODEC.backend, model, picture, rect, 0, threads=1)
    assert np.array_equal(part.symbols, whole_latent(picture).symbols[:, rect.rows, rect.columns])
    codec = Codec(model, CODEC.backend, CODEC._coder)
    stream = parse(codec.encode(picture, tile=64))
    assert np.array_equal(codec.decode(stream).rgb, CODEC.decode(stream).rgb)


def test_the_halo_is_not_wider_than_it_must_be() -> None:
    """One position less, and symbols at the edges of parts are others."""
    picture = scene(400, 300)
    whole = whole_latent(picture).symbols
    grid = Rect(0, 0, 400, 300).positions(STRIDE)
    assert CODEC.model.halo is not None
    # Many small parts: what lies furthest away changes few symbols.
    rects = [Rect(x, y, x + 8, y + 8) for x in range(7, 35, 4) for y in range(7, 23, 4)]
    for halo, alike in (
        (CODEC.model.halo["encoder"], True),
        (CODEC.model.halo["encoder"] - 1, False),
    ):
        same = []
        for rect in rects:
            seen = rect.grown(halo).within(grid)
            part = CODEC.backend.analyse(picture.region(seen.scaled(STRIDE)), 0).symbols
            inside = rect.seen_from(seen)
            found = part[:, inside.rows, inside.columns]
            same.append(np.array_equal(found, whole[:, rect.rows, rect.columns]))
        assert all(same) == alike


TILED = parse(CODEC.encode(scene(333, 251), tile=96))
DECODED = CODEC.decode(TILED).rgb


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_boxes_are_cut_out_of_the_whole(data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, 332)), data.draw(st.integers(0, 250))
    right, bottom = data.draw(st.integers(left + 1, 333)), data.draw(st.integers(top + 1, 251))
    box = Rect(left, top, right, bottom)
    rgb = np.zeros((box.height, box.width, 3), np.uint8)
    for region in CODEC.synthesiser(TILED).regions(box, threads=1):
        place = region.place.seen_from(box)
        rgb[place.rows, place.columns] = region.rgb
    assert np.array_equal(rgb, DECODED[box.rows, box.columns])


def damaged(stream: Codestream, *indices: int) -> Codestream:
    """With a changed bit in the payload of these tiles."""
    tiles = list(stream.tiles)
    for index in indices:
        payload = bytearray(tiles[index].payload)
        payload[len(payload) // 2] ^= 4
        tiles[index] = dataclasses.replace(tiles[index], payload=bytes(payload))
    return dataclasses.replace(stream, tiles=tuple(tiles))


def salvaged(stream: Codestream) -> tuple[np.ndarray, Synthesiser]:
    synthesiser = CODEC.synthesiser(stream, salvage=True)
    rgb = np.zeros((stream.height, stream.width, 3), np.uint8)
    for region in synthesiser.regions(Rect(0, 0, stream.width, stream.height), threads=2):
        rgb[region.place.rows, region.place.columns] = region.rgb
    return rgb, synthesiser


def test_a_box_needs_only_its_own_tiles() -> None:
    torn = damaged(TILED, 0)
    box = Rect(200, 150, 300, 240)
    (region,) = CODEC.synthesiser(torn).regions(box, threads=1)
    assert np.array_equal(region.rgb, DECODED[box.rows, box.columns])
    with pytest.raises(CorruptDataError, match="tile 0 of 12: damaged"):
        list(CODEC.synthesiser(torn).regions(Rect(90, 90, 120, 120), threads=2))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("lost", [(0,), (5,), (11,), (1, 2, 6)])
def test_a_damaged_tile_loses_itself_only(lost: tuple[int, ...]) -> None:
    rgb, synthesiser = salvaged(damaged(TILED, *lost))
    assert synthesiser.lost == set(lost)
    grey = np.zeros(rgb.shape[:2], bool)
    for index in lost:
        row, column = divmod(index, 4)
        grey[96 * row : 96 * row + 96, 96 * column : 96 * column + 96] = True
    assert (rgb[grey] == 128).all()
    difference = np.abs(rgb.astype(int) - DECODED)[~grey]
    assert np.mean(difference) < 1.0
    # Beyond what the network sees of the lost tile, nothing has changed at all.
    assert CODEC.model.halo is not None
    reach = STRIDE * CODEC.model.halo["decoder"]
    far = np.ones(rgb.shape[:2], bool)
    for index in lost:
        row, column = divmod(index, 4)
        top, left = max(0, 96 * row - reach), max(0, 96 * column - reach)
        far[top : 96 * row + 96 + reach, left : 96 * column + 96 + reach] = False
    assert np.array_equal(rgb[far], DECODED[far])


def test_symbols_that_are_not_those_coded_are_lost_too() -> None:
    """A payload that decodes, with a right checksum: only the hash of the tile tells."""
    other = parse(CODEC.encode(scene(251, 333), tile=96)).tiles[0].payload
    tiles = list(TILED.tiles)
    tiles[0] = Tile.of(other, tiles[0].symbol_hash)
    forged = dataclasses.replace(TILED, tiles=tuple(tiles))
    with pytest.raises(CorruptDataError, match="tile 0 of 12: the symbols are not those"):
        CODEC.decode(forged)
    rgb, synthesiser = salvaged(forged)
    assert synthesiser.lost == {0}
    assert (rgb[:96, :96] == 128).all()


def test_tiles_without_hashes_are_read_and_checked_as_one() -> None:
    symbols = CODEC.decode_symbols(TILED)
    old = dataclasses.replace(
        TILED,
        symbol_hash=symbol_hash(symbols),
        tiles=tuple(Tile.of(tile.payload) for tile in TILED.tiles),
    )
    assert np.array_equal(CODEC.decode(old).rgb, DECODED)
    CODEC.check_symbols(old)
    wrong = dataclasses.replace(old, symbol_hash=bytes(4))
    for attempt in (CODEC.decode, CODEC.check_symbols, CODEC.decode_symbols):
        with pytest.raises(CorruptDataError, match="not those that were coded"):
            attempt(wrong)
    rgb, synthesiser = salvaged(damaged(old, 5))
    assert synthesiser.lost == {5}
    assert (rgb[96:192, 96:192] == 128).all()


def test_hashes_that_contradict_each_other_are_refused() -> None:
    for attempt in (CODEC.decode, CODEC.check_symbols):
        with pytest.raises(CorruptDataError, match="not those that were coded"):
            attempt(dataclasses.replace(TILED, symbol_hash=bytes(4)))


def test_tiles_are_let_go_when_nobody_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory grows with a picture's width, not with its height."""
    monkeypatch.setattr(tiling, "_PART_POSITIONS", 500)
    monkeypatch.setattr(tiling, "_HALOS_PER_SIDE", 1)
    stream = parse(CODEC.encode(scene(64, 1500), tile=64))
    synthesiser = CODEC.synthesiser(stream)
    most = 0
    for _ in synthesiser.regions(Rect(0, 0, 64, 1500), threads=1):
        done = [f for f in synthesiser._tiles.values() if f.done()]
        most = max(most, len(done))
    assert len(stream.tiles) == 24
    assert most < 12
    assert not synthesiser._tiles


@pytest.mark.usefixtures("small_parts")
def test_tiles_are_decoded_one_ahead() -> None:
    picture = scene(640, 480)
    stream = parse(CODEC.encode(picture, tile=160))
    synthesiser = CODEC.synthesiser(stream)
    pieces = tiling.parts(Rect(0, 0, 640, 480).positions(STRIDE), 4)
    steps, _ = synthesiser._plan(pieces)
    tiles = [step for step in steps if isinstance(step, int)]
    assert sorted(tiles) == list(range(12))
    assert [step for step in steps if isinstance(step, Rect)] == list(pieces)
    assert tiles[:2] == steps[:2], "the second before anything that waits for the first"
    place = {tile: steps.index(tile) for tile in tiles}
    needs = {piece: synthesiser._reader.indices(synthesiser._seen(piece)) for piece in pieces}
    for at, step in enumerate(steps):
        if isinstance(step, Rect):
            assert all(place[tile] < at for tile in needs[step])
            done = max(tiles.index(tile) for tile in needs[step])
            begun = [tile for tile in tiles if place[tile] < at]
            assert len(begun) >= min(done + 2, len(tiles))


def test_a_lost_rectangle_takes_its_nearest_neighbours() -> None:
    symbols = np.arange(25, dtype=np.uint8).reshape(1, 5, 5)
    synthesis._extend(symbols, Rect(0, 0, 2, 3))
    assert symbols[0, :3, :2].tolist() == [[2, 2], [7, 7], [15, 12]]
    everything = np.zeros((1, 2, 2), np.uint8)
    synthesis._extend(everything, Rect(0, 0, 2, 2))
    assert not everything.any()


@pytest.mark.usefixtures("small_parts")
def test_parts_leave_no_seams_in_floats_either() -> None:
    """Sums of floats in another order: a rounding here and there, as many at seams as elsewhere."""
    codec = Codec.load("A", precision="fp32")
    picture = scene(333, 251)
    grid = Rect(0, 0, 333, 251).positions(STRIDE)
    found = analysis.analyse(codec.backend, codec.model, picture, grid, 0, threads=1)
    padded = np.pad(picture.rgb, ((0, 5), (0, 3), (0, 0)), mode="edge")
    whole = codec.backend.analyse(padded, 0)
    assert np.mean(found.symbols != whole.symbols) < 1e-3
    stream = parse(codec.encode_latent(found, picture))
    pixels = codec.backend.synthesise(codec.decode_symbols(stream).symbols, 0)[:251, :333]
    difference = np.abs(codec.decode(stream).rgb.astype(int) - pixels)
    assert difference.max() <= 1
    assert np.mean(difference) < 0.01
