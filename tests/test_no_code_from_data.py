"""No module of the package can be made to run, fetch or unpickle something by what it reads.

The text of the modules is searched; each rule has its control, what it must find. Then a whole run
over files that would like to be run is watched by Python's audit hooks.
"""

from __future__ import annotations

import ast
import json
import lzma
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import ROOT, counted
from PIL import Image

from edgecomp.evaluation.pickle_lzma import PickledSymbols

PACKAGE = ROOT / "edgecomp"
MODULES = sorted(PACKAGE.rglob("*.py"))
BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "breakpoint"})


@dataclass(frozen=True)
class Rule:
    """What must not occur.

    Attributes:
        forbidden: dotted names, those below them included; patterns.
        found_in: snippets that break the rule.
        allowed: modules, as patterns, that may do so, and do.
        keywords: of calls, and attributes of whatever object, that are forbidden too.
    """

    forbidden: tuple[str, ...]
    found_in: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


RULES = {
    "pickles": Rule(
        (
            "pickle", "_pickle", "cPickle", "pickletools", "dill", "cloudpickle", "marshal",
            "shelve", "joblib", "dbm", "copyreg", "pandas.read_pickle", "torch.load",
        ),
        (
            "import pickle", "from pickle import loads", "import os, _pickle as p",
            "def f():\n import marshal", "import importlib\nimportlib.import_module('shelve')",
            "__import__('dill')", "import joblib.numpy_pickle",
        ),
        allowed=("evaluation/pickle_lzma.py",),
    ),
    "text that is run": Rule(
        ("builtins", "code", "codeop", "runpy", "imp", "importlib.util", "types.FunctionType",
         "types.CodeType", *BUILTINS),
        (
            "eval('1')", "exec(text)", "compile(t, 'f', 'exec')", "__import__(name)", "run = eval",
            "import builtins\nbuiltins.exec(t)", "from runpy import run_path", "breakpoint()",
            "from importlib import util",
        ),
    ),
    "imports by name": Rule(
        ("importlib.import_module", "pkgutil.resolve_name"),
        (
            "import importlib\nimportlib.import_module(n)",
            "from importlib import import_module as load\nload(n)",
            "import pkgutil\npkgutil.resolve_name(n)",
        ),
        # Of names that stand in the module itself, or in the one that calls it.
        allowed=("__init__.py", "cli/parser.py", "cluster.py", "evaluation/pillow_codecs.py"),
    ),
    "arrays of any kind": Rule(
        ("numpy.load", "numpy.lib.format", "numpy.lib.npyio", "numpy.DataSource"),
        (
            "import numpy as np\nnp.load(f)", "from numpy import load", "import numpy\nnumpy.load",
            "x.read(f, allow_pickle=True)", "import numpy.lib.format",
        ),
        keywords=("allow_pickle",),
    ),
    "languages for data that make objects": Rule(
        ("yaml", "ruamel", "jsonpickle", "xml", "lxml", "plistlib"),
        ("import yaml", "from ruamel.yaml import YAML", "import xml.etree.ElementTree as E"),
    ),
    "programs through a shell": Rule(
        ("os.system", "os.popen", "os.exec*", "os.spawn*", "os.posix_spawn*", "os.startfile",
         "os.fork*", "pty", "webbrowser", "multiprocessing", "concurrent.futures.Process*",
         "asyncio.create_subprocess_*", "subprocess.getoutput", "subprocess.getstatusoutput"),
        (
            "import os\nos.system('x')", "from os import popen", "import os as o\no.execvp('x', a)",
            "import os\ngetattr(os, 'system')('x')", "import os\nf = os.spawnl", "import pty",
            "from concurrent.futures import ProcessPoolExecutor", "run(a, shell=True)",
            "from subprocess import getoutput", "import multiprocessing.pool",
        ),
        keywords=("shell",),
    ),
    "programs": Rule(
        ("subprocess",),
        ("import subprocess", "from subprocess import run", "import subprocess as s"),
        allowed=("evaluation/*.py",),
    ),
    "names of files that are not made yet": Rule(
        ("tempfile.mktemp", "os.tempnam", "os.tmpnam"),
        ("import tempfile\ntempfile.mktemp()", "from tempfile import mktemp"),
    ),
    "the network": Rule(
        ("urllib", "urllib3", "http", "socket", "socketserver", "ssl", "requests", "httpx",
         "aiohttp", "ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "xmlrpc", "asyncio",
         "websocket", "websockets", "huggingface_hub", "pooch", "boto3", "fsspec", "wsgiref"),
        (
            "import urllib.request", "from http import client", "import socket", "import requests",
            "from urllib.request import urlopen as u", "import asyncio", "import ssl",
        ),
        # Its calls of Dask run on Dask's own loop, when the user has named a cluster.
        allowed=("cluster.py",),
    ),
    "code of other languages": Rule(
        ("ctypes", "_ctypes", "cffi", "tensorflow.load_library", "tensorflow.load_op_library",
         "onnxruntime_extensions"),
        (
            "import ctypes", "from ctypes import CDLL", "import numpy.ctypeslib", "import cffi",
            "options.register_custom_ops_library(p)", "ffi.dlopen(p)", "tf.py_function(f, x, t)",
            "tf.load_op_library(p)", "array.load_library(p)",
        ),
        keywords=(
            "register_custom_ops_library", "dlopen", "LoadLibrary", "load_library",
            "load_op_library", "py_function", "numpy_function", "ctypeslib",
        ),
        # Functions of Windows, by names that stand in the module itself.
        allowed=("windows.py",),
    ),
    "tensorflow": Rule(
        ("tensorflow", "keras", "tf2onnx", "jax", "torch", "onnx"),
        ("import tensorflow as tf", "from keras.models import load_model", "import onnx"),
        allowed=("backends/tensorflow.py",),
    ),
}  # fmt: skip


def references(tree: ast.Module) -> Iterator[str]:
    """Every dotted name that a module speaks of, with what it calls them resolved: imports,
    attributes, functions that are built in; also where a text names them."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                top = alias.name.split(".")[0]
                known[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = _dotted(node, known)
            if name is not None:
                yield name
        elif isinstance(node, ast.Name) and (node.id in BUILTINS or node.id in known):
            yield known.get(node.id, node.id)
        elif isinstance(node, ast.Call):
            yield from _named_by_text(node, known)


def _dotted(node: ast.expr, known: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, known)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _named_by_text(call: ast.Call, known: dict[str, str]) -> Iterator[str]:
    """Of ``getattr(os, "system")`` and ``import_module("pickle")``."""
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    function = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    function = known.get(function, function).split(".")[-1]
    if function in ("import_module", "__import__") and texts:
        yield texts[0]
    if function == "getattr" and texts and (of := _dotted(call.args[0], known)) is not None:
        yield f"{of}.{texts[0]}"


@cache
def spoken_of(source: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names of `references`; words that are keywords of calls, attributes of anything, or parts
    of what is imported."""
    tree = ast.parse(source)
    words = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg is not None:
            words.add(node.arg)
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            words |= {part for alias in node.names for part in alias.name.split(".")}
    return frozenset(references(tree)), frozenset(words)


def offences(source: str, rule: Rule) -> list[str]:
    """What in a module's text breaks a rule."""
    names, words = spoken_of(source)
    found = [name for name in names if _is_below(name, rule.forbidden)]
    return sorted(found) + sorted(words.intersection(rule.keywords))


@cache
def _is_below(name: str, forbidden: tuple[str, ...]) -> bool:
    parts = name.split(".")
    tops = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(fnmatchcase(top, pattern) for top in tops for pattern in forbidden)


@pytest.mark.parametrize("name", RULES)
def test_no_module_breaks_the_rule(name: str) -> None:
    rule = RULES[name]
    found, used = {}, set()
    for path in MODULES:
        module = path.relative_to(PACKAGE).as_posix()
        broken = offences(path.read_text(encoding="utf-8"), rule)
        allowance = next((a for a in rule.allowed if fnmatchcase(module, a)), None)
        if broken and allowance is not None:
            used.add(allowance)
        elif broken:
            found[module] = broken
    assert found == {}
    assert used == set(rule.allowed), "what nobody needs is not allowed"
    assert len(MODULES) > 80


@pytest.mark.parametrize(
    ("name", "snippet"),
    [(name, snippet) for name, rule in RULES.items() for snippet in rule.found_in],
)
def test_the_rule_finds(name: str, snippet: str) -> None:
    assert offences(snippet, RULES[name])


@pytest.mark.parametrize(
    "snippet",
    [
        "import re\nre.compile('x')", "model.eval()", "def load(f): pass\nload(f)", "image.load()",
        "import json\njson.load(f)", "import os\nos.path.exists('system')", "import onnxruntime",
        "from tempfile import TemporaryDirectory", "import lzma, zlib, struct", "a.ctypes.data",
        "from concurrent.futures import ThreadPoolExecutor", "np.frombuffer(d)", "'import pickle'",
        "from edgecomp import native", "getattr(image, 'n_frames', 1)", "stat.S_ISSOCK(m)",
    ],
)  # fmt: skip
def test_the_rules_leave_alone(snippet: str) -> None:
    assert {name: found for name, rule in RULES.items() if (found := offences(snippet, rule))} == {}


# The paper's method, which pickles.


def test_pickles_are_read_in_one_place_behind_the_check() -> None:
    tree = ast.parse((PACKAGE / "evaluation" / "pickle_lzma.py").read_text(encoding="utf-8"))
    used = {name for name in references(tree) if name.startswith("pickle.")}
    assert used == {"pickle.dumps", "pickle.loads", "pickle.DEFAULT_PROTOCOL"}
    reading = [
        function
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        and any(isinstance(n, ast.Attribute) and n.attr == "loads" for n in ast.walk(function))
    ]
    assert [function.name for function in reading] == ["_restore"]
    refusals = [node for node in reading[0].body if isinstance(node, ast.If)]
    assert isinstance(refusals[0].body[0], ast.Raise)
    assert refusals[0].lineno < reading[0].body[-2].lineno, "the check comes before"


@counted(300, 20_000)
def test_nothing_but_its_own_pickles_is_read(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pickle.loads` is watched: it does not even see other bytes."""
    seen: list[bytes] = []
    real = pickle.loads

    def watched(data: bytes) -> Any:
        seen.append(data)
        return real(data)

    monkeypatch.setattr(pickle, "loads", watched)  # the module's own: it imports it whole
    rng = random.Random(25)
    symbols = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    own, other = PickledSymbols(preset=0), PickledSymbols(preset=0)
    data = own.pack(symbols)
    foreign = [lzma.compress(pickle.dumps(symbols), preset=1), other.pack(symbols + 1), b""]
    for number in range(count):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        candidates = [bytes(changed), data[: rng.randrange(len(data))], *foreign[: number < 1]]
        for candidate in candidates + (foreign if number == 0 else []):
            with pytest.raises(ValueError, match="not pickled here"):
                own.restore_symbols(candidate)
    assert seen == []
    assert np.array_equal(own.restore_symbols(data), symbols)
    assert len(seen) == 1


# A whole run, watched.

EVENTS = (
    "pickle.find_class", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn",
    "os.fork", "socket.", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "ctypes.",
    "cpython.run_", "os.startfile", "pty.",
)  # fmt: skip


class Trap:
    """Its pickle, when read, makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.file,)


def heard(code: str) -> set[str]:
    """The events of a process that runs some code. (numpy looks at the process itself by ctypes,
    the library None.)"""
    watch = f"""
import json, sys
heard = []
def hear(event, arguments):
    if event.startswith({EVENTS!r}) and arguments != (None,):
        heard.append(event)
sys.addaudithook(hear)
{code}
print(json.dumps(heard))
"""
    done = subprocess.run(
        [sys.executable, "-c", watch], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_run_over_hostile_files_starts_and_asks_nothing(
    tmp_path: Path, tiny: Path, photo: Image.Image
) -> None:
    (tmp_path / "in").mkdir()
    trap = pickle.dumps(Trap(tmp_path / "it ran"))
    photo.save(tmp_path / "in" / "good.png")
    for name in ("a.png", "a.npy", "a.pkl", "a.jpg", "a.edge", "a.ecz", "a.tif", "model.json"):
        (tmp_path / "in" / name).write_bytes(trap)
    (tmp_path / "in" / "conftest.py").write_text("raise SystemExit('it ran')")
    with lzma.open(tmp_path / "in" / "b.webp", "wb") as file:
        file.write(trap)
    np.savez(tmp_path / "in" / "arrays.npz", trap=np.array([Trap(tmp_path / "it ran")]))
    archive, model = tmp_path / "o.ecz", ["--model", str(tiny), "--json"]
    commands = [
        ["compress", str(tmp_path / "in"), "-o", str(archive), *model],
        ["list", str(archive), *model],
        ["info", str(archive), *model],
        ["verify", str(archive), *model],
        ["decompress", str(archive), "-o", str(tmp_path / "back"), *model],
    ]
    code = f"""
import os
os.chdir({str(tmp_path / "in")!r})
from edgecomp.cli import main
assert [main(words) for words in {commands!r}] == [0, 0, 0, 0, 0]
"""
    assert heard(code) == set()
    assert len(list((tmp_path / "back").iterdir())) == 12
    assert not (tmp_path / "it ran").exists()


def test_the_watch_hears(tmp_path: Path) -> None:
    """The control."""
    (tmp_path / "trap").write_bytes(pickle.dumps(Trap(tmp_path / "it ran")))
    code = f"""
import os, pickle, socket, subprocess, ctypes
pickle.load(open({str(tmp_path / "trap")!r}, "rb"))
subprocess.run(["true"])
os.system("true")
socket.socket().close()
try:
    ctypes.CDLL("no such library")
except OSError:
    pass
"""
    names = {"pickle.find_class", "subprocess.Popen", "os.system", "socket.__new__"}
    assert heard(code) >= names | {"ctypes.dlopen"}
    assert (tmp_path / "it ran").exists()
