"""``--verify``: what gets its name restores to the right pixels, whatever happened on the way.

Bits are flipped in what is written, between edgecomp and the disk. An archive that is named
nevertheless, because the bit is of no consequence, gives back all that an unbroken one does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from common import counted
from faults import NEEDS_PROC, Call, Calls, World, own_threads, small_pieces
from processes import files, tree

from edgecomp.compress import compress_folder, compress_picture
from edgecomp.decompress import decompress_folder, decompress_picture
from edgecomp.errors import CorruptDataError, EdgecompError, ExitCode
from edgecomp.inspect import verify

pytestmark = NEEDS_PROC

Flip = Callable[[Call], object]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> World:
    return World(tmp_path_factory.mktemp("world"), tiny, small_pieces)


def _flips(bit: int) -> Flip:
    """Flips one bit of all that is written, counted in the order of writing."""
    place = 0

    def act(call: Call) -> object:
        nonlocal place
        if call.name != "write":
            return call.go()
        descriptor, data = call.arguments
        start, place = place, place + 8 * len(data)
        if start <= bit < place:
            data = bytearray(data)
            data[(bit - start) // 8] ^= 1 << (bit - start) % 8
        return call.go(descriptor, data)

    return act


def _written(world: World, job: str) -> int:
    """How many bits a job writes, those that are written twice counted twice."""
    bits = 0

    def act(call: Call) -> object:
        nonlocal bits
        if call.name == "write":
            bits += 8 * len(call.arguments[1])
        return call.go()

    out = world.jobs[job].begin(world.out())
    with Calls(out, act):
        world.jobs[job].run(out)
    return bits


def _problem(
    world: World, job: Callable[[], object], out: Path, flip: Flip
) -> EdgecompError | None:
    """What a job raises whose output is changed on its way."""
    with world.within(), Calls(out, flip):
        try:
            job()
        except EdgecompError as error:
            return error
    return None


@pytest.mark.parametrize("old", [False, True], ids=["new", "update"])
@counted(25, 500)
def test_bits_flipped_on_their_way_to_the_disk(world: World, old: bool, count: int) -> None:
    job = world.jobs["compress-update" if old else "compress"]
    whole = world.new_out()
    decompress_folder(world.archive, whole / "back", model=world.model)
    rng = np.random.default_rng(old)
    bits = _written(world, job.name)
    found = 0
    for part in range(count):
        # Drawn from equal parts, so that headers, codestreams and the directory have their share.
        bit = int((part + rng.random()) / count * bits)
        out = job.begin(world.out())

        def compress(out: Path = out) -> object:
            return compress_folder(
                world.sources, out / "o.ecz", model=world.model, threads=1, verify=True, update=old
            )

        problem = _problem(world, compress, out, _flips(bit))
        if problem is None:
            back = out / "back"
            summary = decompress_folder(out / "o.ecz", back, model=world.model)
            assert (summary.exit_code, summary.damaged) == (ExitCode.DONE, ()), bit
            assert tree(back) == tree(whole / "back"), bit
            assert verify(out / "o.ecz", model=world.model).exit_code == ExitCode.DONE
        else:
            assert isinstance(problem, CorruptDataError), (bit, problem)
            assert "verifying failed, nothing was written" in str(problem)
            assert files(out) == (job.old, {})
            found += 1
    assert found > 0.8 * count
    assert not own_threads()
    world.check_sources()


@counted(25, 500)
def test_one_picture(world: World, count: int) -> None:
    whole = world.new_out()
    decompress_picture(world.codestream, whole / "o.png", model=world.model)
    rng = np.random.default_rng(2)
    bits = 8 * world.codestream.stat().st_size
    for part in range(count):
        bit = int((part + rng.random()) / count * bits)
        out = world.new_out()

        def compress(out: Path = out) -> object:
            return compress_picture(
                world.picture, out / "o.edge", model=world.model, threads=1, verify=True
            )

        problem = _problem(world, compress, out, _flips(bit))
        if problem is None:
            decompress_picture(out / "o.edge", out / "o.png", model=world.model)
            assert (out / "o.png").read_bytes() == (whole / "o.png").read_bytes(), bit
        else:
            assert isinstance(problem, CorruptDataError), (bit, problem)
            assert files(out) == ({}, {})
    world.check_sources()


def test_without_verifying_the_same_bits_would_be_named(world: World) -> None:
    """The control: it is verifying that finds them."""
    job = world.jobs["compress"]
    out = world.new_out()
    assert (
        _problem(world, lambda: job.run(out), out, _flips(_written(world, "compress") // 2)) is None
    )
    report = verify(out / "o.ecz", model=world.model)
    assert report.exit_code == ExitCode.DAMAGED
    assert files(out)[0].keys() == {"o.ecz"}


@pytest.mark.parametrize(
    "from_end",
    [
        18,
        1,
    ],
)
def test_damage_to_the_archive_itself(world: World, from_end: int) -> None:
    """The last bytes are the archive's comment, which belongs to no member; the very last one is
    the number of the version."""
    job = world.jobs["compress-verify"]
    out = world.new_out()
    bit = _written(world, job.name) - 8 * from_end
    problem = _problem(world, lambda: job.run(out), out, _flips(bit))
    assert isinstance(problem, CorruptDataError)
    assert "verifying failed, nothing was written" in str(problem)
    assert str(out / "o.ecz") in str(problem)
