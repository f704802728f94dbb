"""Memory that is refused: the C library asks for none, and Python's part at every request.

As SQLite's tests do it, the first request is refused, then the second, and so on until a run meets
none that is. `test_no_memory` has processes that really run out of it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import lzma
import pkgutil
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from common import ROOT
from compilers import COMPILERS, SOURCES
from faults import NEEDS_PROC, Calls, World, open_descriptors, own_threads, small_pieces
from PIL import Image
from processes import tree

import edgecomp
from edgecomp import native
from edgecomp._native import ffi
from edgecomp.codec import Codec
from edgecomp.codestream import parse
from edgecomp.errors import ExitCode
from edgecomp.pictures import picture_from_image

# The C library.

needs_compiler = pytest.mark.skipif(
    not COMPILERS or shutil.which("nm") is None, reason="no C compiler, or no nm"
)
# What compilers call of their own accord, and what tells them about the processor.
RUNTIME = {"memcmp", "memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_"}
RUNTIME |= {"__cpu_model", "__cpu_features2", "__cpu_indicator_init"}
# Arrays of a length that is known at run time, and alloca, take memory from the stack unseen.
NO_STACK = ["-Werror=vla", "-Werror=alloca"]
FLAGS = ["-std=gnu11", "-O0", "-fno-pic", "-fno-pie"]


def _compiled(compiler: str, source: Path, folder: Path) -> Path:
    made = folder / f"{source.stem}.o"
    include = f"-I{ROOT / 'native'}"
    subprocess.run([compiler, *FLAGS, *NO_STACK, include, "-c", source, "-o", made], check=True)
    return made


def _symbols(objects: list[Path]) -> Iterator[tuple[str, str]]:
    """Kinds (of nm) and names of the symbols of object files."""
    listed = subprocess.run(["nm", *objects], check=True, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        words = line.split()
        if len(words) >= 2:
            yield words[-2], words[-1]


def _foreign(objects: list[Path]) -> set[str]:
    """Names that these need and do not have."""
    kinds = list(_symbols(objects))
    return {name for kind, name in kinds if kind in "Uwv"} - {
        name for kind, name in kinds if kind not in "Uwv"
    }


def _writable(objects: list[Path]) -> set[str]:
    """Names of variables."""
    return {name for kind, name in _symbols(objects) if kind in "BbCDdGgSs"}


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_library_allocates_nothing(compiler: str, tmp_path: Path) -> None:
    """It calls nothing at all, neither malloc nor stdio, and keeps no state."""
    objects = [_compiled(compiler, source, tmp_path) for source in SOURCES]
    assert _foreign(objects) <= RUNTIME
    assert _writable(objects) == set()


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
def test_what_allocates_would_be_found(compiler: str, tmp_path: Path) -> None:
    """The control of the test above."""
    source = tmp_path / "control.c"
    source.write_text(
        "#include <stdlib.h>\n#include <stdio.h>\nstatic int calls;\n"
        'void *f(size_t n) { printf("%d", ++calls); return malloc(n); }\n'
    )
    control = [_compiled(compiler, source, tmp_path)]
    assert _foreign(control) == {"malloc", "printf"}
    assert _writable(control) == {"calls"}
    for body in ("char a[n]; g(a);", "g(__builtin_alloca(n));"):
        source.write_text(f"void g(char *); void f(int n); void f(int n) {{ {body} }}\n")
        with pytest.raises(subprocess.CalledProcessError):
            _compiled(compiler, source, tmp_path)


# Python.

# What asks for memory that grows with the data, by module.
REQUESTS: dict[ModuleType | Any, frozenset[str]] = {
    np: frozenset(
        "array asarray ascontiguousarray concatenate empty empty_like frombuffer full pad zeros"
        " zeros_like".split()
    ),
    ffi: frozenset(["new"]),
    io: frozenset(["BufferedReader", "BufferedWriter", "BytesIO"]),
    lzma: frozenset(["LZMACompressor", "LZMADecompressor", "compress", "decompress"]),
    zlib: frozenset(["compressobj"]),
    Image: frozenset(["fromarray", "new"]),
}


class Scarce:
    """A context manager: within it, the package is refused one request for memory.

    Args:
        at: the number of the request, from 1.
        part: of the package, in which requests are counted; None for all of it.

    Attributes:
        refused: what was asked for, or None.
    """

    def __init__(self, at: int, part: str | None = None) -> None:
        self._at = at
        self._part = part
        self._count = 0
        self._patches = pytest.MonkeyPatch()
        self.refused: str | None = None

    def __enter__(self) -> Scarce:
        for module in _modules():
            if self._part not in (None, _part_of(module)):
                continue
            for name, value in list(vars(module).items()):
                for library, requests in REQUESTS.items():
                    if value is library:
                        self._patches.setattr(module, name, _Library(library, requests, self))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.undo()

    def ask(self, what: str) -> None:
        """Count a request; it may be the one that is refused."""
        self._count += 1
        if self._count == self._at:
            self.refused = what
            raise MemoryError


class _Library:
    """A library as the package sees it."""

    def __init__(self, library: Any, requests: frozenset[str], scarce: Scarce) -> None:
        self._library = library
        self._requests = requests
        self._scarce = scarce

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._library, name)
        return _Request(found, name, self._scarce) if name in self._requests else found


class _Request:
    """A function or a class that asks for memory when it is called."""

    def __init__(self, found: Any, name: str, scarce: Scarce) -> None:
        self._found = found
        self._name = name
        self._scarce = scarce

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self._scarce.ask(self._name)
        return self._found(*arguments, **options)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._found)


def _part_of(module: ModuleType) -> str:
    """Where requests are refused: each has tests of its own."""
    name = module.__name__.rpartition(".")[2]
    return {"output": "output", "pictures": "sources", "large_picture": "sources"}.get(name, "rest")


def _modules() -> list[ModuleType]:
    """Those that compress and decompress."""
    skipped = ("cli", "evaluation", "_native", "__main__", "tensorflow", "metrics", "pillow")
    names = [found.name for found in pkgutil.walk_packages(edgecomp.__path__, "edgecomp.")]
    return [
        importlib.import_module(name) for name in names if not set(name.split(".")) & set(skipped)
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> World:
    return World(tmp_path_factory.mktemp("world"), tiny, small_pieces)


def test_requests_are_counted() -> None:
    """A library that is imported otherwise would escape."""
    used = {
        library.__name__ if isinstance(library, ModuleType) else "ffi"
        for module in _modules()
        for value in vars(module).values()
        for library in REQUESTS
        if value is library
    }
    assert used == {"numpy", "ffi", "io", "lzma", "zlib", "PIL.Image"}
    with Scarce(1) as scarce, pytest.raises(MemoryError):
        native.pack_bound((1, 1, 1), 4)
    assert scarce.refused == "new"


@pytest.mark.parametrize("model", ["tiny", "tiny_map", "A"])
@pytest.mark.parametrize("what", ["encode", "decode"])
def test_one_picture_in_memory(
    what: str, model: str, world: World, request: pytest.FixtureRequest
) -> None:
    """With both symbol coders, and with an importance map; a refusal leaves the codec as it was."""
    shipped = model == "A"
    codec = Codec.load("A") if shipped else Codec.load(model=request.getfixturevalue(model))
    picture = picture_from_image(Image.open(world.picture))
    coded = codec.encode(picture)

    def code() -> bytes:
        if what == "encode":
            return codec.encode(picture)
        return codec.decode(parse(coded)).rgb.tobytes()

    expected = code()
    for n in itertools.count(1):
        with Scarce(n) as scarce, contextlib.suppress(MemoryError):
            found = code()
        if scarce.refused is None:
            break
        assert code() == expected
    assert n > 5
    assert found == expected


_REFUSALS = [
    *((job, "rest") for job in "compress-verify compress-update decompress picture".split()),
    ("picture-back", "rest"),
    *((job, "output") for job in ("compress", "decompress", "picture")),
    *((job, "sources") for job in ("compress", "picture")),
]


@NEEDS_PROC
@pytest.mark.parametrize(("name", "part"), _REFUSALS)
def test_every_allocation_that_fails(
    world: World, name: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = world.jobs[name]
    before = open_descriptors()
    for n in itertools.count(1):
        out = job.begin(world.out())
        with Calls(out) as calls, Scarce(n, part) as scarce:
            code = world.main(name, out)
        said = capsys.readouterr()
        if scarce.refused is None:
            break
        assert not own_threads()
        assert (code, said.out) == (ExitCode.FATAL, ""), (n, scarce.refused)
        assert said.err.startswith("edgecomp: error: not enough memory"), (n, scarce.refused)
        assert said.err.count("\n") == 1
        job.check(out, calls.named)
    # All these refusals later, the same process does the job right.
    assert n > 1
    assert code == ExitCode.DONE
    assert tree(out) == job.new
    assert open_descriptors() == before
    world.check_sources()
