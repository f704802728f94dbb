"""What holds for the package as a whole."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from common import ROOT

import edgecomp
from edgecomp import errors

PACKAGE = ROOT / "edgecomp"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("tensorflow", "keras", "onnx", "torch", "jax", "tf2onnx", "matplotlib", "export",
         "dask", "distributed", "tornado")  # fmt: skip


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return done.stdout


def test_importing_loads_nothing_heavy() -> None:
    code = (
        f"import sys, edgecomp; print([m for m in {HEAVY} + ('onnxruntime',) if m in sys.modules])"
    )
    assert _python(code).strip() == "[]"


def test_using_the_default_backend_loads_nothing_heavy() -> None:
    code = (
        "import sys, edgecomp, PIL.Image as I;"
        "edgecomp.decode(edgecomp.encode(I.new('RGB', (16, 16))));"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert _python(code).strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in edgecomp.__all__:
        assert getattr(edgecomp, name) is not None
    assert set(dir(edgecomp)) == set(edgecomp.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgecomp.nothing


def test_the_version_is_stated_once() -> None:
    from importlib.metadata import version

    assert version("edgecomp") == edgecomp.__version__


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_keep_to_their_place(path: object) -> None:
    assert hasattr(path, "read_text")
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    relative = path.relative_to(PACKAGE).as_posix()  # type: ignore[attr-defined]
    imports = _imports(tree)
    roots = {name.split(".")[0] for name in imports}
    # The paper's method, on bytes made in the same process.
    allowed = {"pickle"} if relative == "evaluation/pickle_lzma.py" else set()
    assert not (roots - allowed) & {"pickle", "marshal", "shelve", "dill", "joblib", "export"}
    if relative != "backends/tensorflow.py":
        assert not roots & {"tensorflow", "keras", "torch", "onnx", "jax"}
    if relative not in ("cluster.py", "fleet_task.py"):
        assert not roots & {"dask", "distributed", "tornado", "toolz"}
    if relative != "native.py":
        assert "edgecomp._native" not in imports
    calls = {
        n.func.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert not calls & {"eval", "exec", "__import__"}
    assert len(source.splitlines()) <= 450


def test_every_error_has_an_exit_code_with_a_meaning() -> None:
    classes = [
        c
        for c in vars(errors).values()
        if isinstance(c, type) and issubclass(c, errors.EdgecompError)
    ]
    assert len(classes) > 10
    for cls in classes:
        assert cls.exit_code in errors.ExitCode
        assert cls.__name__ in (errors.__doc__ or ""), "the tree at the top of the module"
    assert all(code.meaning for code in errors.ExitCode)


def test_messages_name_the_path_once() -> None:
    assert str(errors.SourceError("cannot be read", path="a.png")) == "a.png: cannot be read"
    assert str(errors.SourceError("a.png cannot be read", path="a.png")) == "a.png cannot be read"
    assert str(errors.SourceError("no such file", path="f")) == "f: no such file"
