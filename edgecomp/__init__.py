"""Learned image compression for machines with no GPU.

A folder of photographs becomes one archive and comes back::

    import edgecomp
    edgecomp.compress_folder("photos", "photos.ecz", quality="B")
    edgecomp.decompress_folder("photos.ecz", "restored")

One picture in memory::

    data = edgecomp.encode(PIL.Image.open("a.png"))
    image = edgecomp.decode(data)

The names below are loaded when first used, so that importing the package is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgecomp._version import VERSION as __version__

if TYPE_CHECKING:
    from edgecomp.api import decode, encode
    from edgecomp.compress import CompressSummary, compress_folder
    from edgecomp.decompress import DecompressSummary, decompress_folder, open_archive
    from edgecomp.errors import EdgecompError
    from edgecomp.repair import RepairSummary, repair

__all__ = [
    "CompressSummary",
    "DecompressSummary",
    "EdgecompError",
    "RepairSummary",
    "__version__",
    "compress_folder",
    "decode",
    "decompress_folder",
    "encode",
    "open_archive",
    "repair",
]

_HOME = {
    "CompressSummary": "edgecomp.compress",
    "DecompressSummary": "edgecomp.decompress",
    "EdgecompError": "edgecomp.errors",
    "RepairSummary": "edgecomp.reports",
    "compress_folder": "edgecomp.compress",
    "decode": "edgecomp.api",
    "decompress_folder": "edgecomp.decompress",
    "encode": "edgecomp.api",
    "open_archive": "edgecomp.decompress",
    "repair": "edgecomp.repair",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
