"""What pyproject.toml cannot say: the C library, and one wheel for every Python from 3.11 on."""

from __future__ import annotations

import sys
import sysconfig

from setuptools import setup
from setuptools.command.build_ext import build_ext

# cffi builds for the limited API, except on free-threaded Pythons, which have none.
LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

# Said here because pip would only say that it finds no onnxruntime.
if sys.maxsize < 2**32:
    sys.exit(
        "edgecomp needs a 64-bit system with a 64-bit Python: there is no onnxruntime for others "
        "(on a Raspberry Pi 3, 4, 5 or Zero 2 install the 64-bit Raspberry Pi OS)."
    )


# Microsoft's compiler optimises of its own accord, and has another default language than C11.
FLAGS = {"msvc": ["/std:c11"]}
OTHERS = ["-O3"]


class BuildExt(build_ext):
    """Optimises as the code was measured, with the flags that the compiler knows."""

    def build_extensions(self) -> None:
        for extension in self.extensions:
            extension.extra_compile_args += FLAGS.get(self.compiler.compiler_type, OTHERS)
        super().build_extensions()


setup(
    cffi_modules=["native/build_native.py:ffibuilder"],
    cmdclass={"build_ext": BuildExt},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
