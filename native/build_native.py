"""Builds the extension module ``edgecomp._native`` from the C library beside this file.

setup.py names this file in ``cffi_modules``. The declarations are taken from ``edgecomp_native.h``,
so the binding cannot disagree with the header; the compiler checks them against it once more.
"""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent if "__file__" in globals() else Path("native")
HEADER = "edgecomp_native.h"
# Relative to the project's root: setuptools refuses absolute paths, and an sdist must not carry
# them.
PACKING = ("pack", "dense", "sorted_pack", "sorted_unpack", "map")
CONTEXT = ("context_code", "context_model", "context_predict")
KERNELS = ("context_kernels", "context_avx2", "context_avx512", "context_neon")
SOURCES = [f"native/{name}.c" for name in (*PACKING, *CONTEXT, *KERNELS, "processor")]
PACKING_HEADERS = ("pack_internal", "sorted_model", "highest_bit")
CONTEXT_HEADERS = (
    "context_internal", "context_predict", "context_choice", "range_coder", "x86_features"
)  # fmt: skip
INTERNAL = (*PACKING_HEADERS, *CONTEXT_HEADERS)
DEPENDS = [f"native/{name}" for name in (HEADER, *(f"{name}.h" for name in INTERNAL))]


def declarations(header: str) -> str:
    """What cffi's parser understands of a header: no comments, conditionals or includes."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    text = re.sub(r"#ifdef __cplusplus\n.*?#endif\n", "", text, flags=re.DOTALL)
    lines = [
        line
        for line in text.splitlines()
        if line.strip() and (not line.startswith("#") or re.fullmatch(r"#define \w+ \d+\s*", line))
    ]
    return "\n".join(lines) + "\n"


ffibuilder = FFI()
ffibuilder.cdef(declarations((HERE / HEADER).read_text(encoding="utf-8")))
ffibuilder.set_source(
    "edgecomp._native",
    f'#include "{HEADER}"\n',
    sources=SOURCES,
    depends=DEPENDS,
    include_dirs=["native"],
)
