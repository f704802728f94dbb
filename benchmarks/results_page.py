"""Makes docs/results.md and its figures of two reports of `edgecomp evaluate`.

python benchmarks/results_page.py KODAK_REPORT CLIC_REPORT
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
FIGURES = ("rate-distortion", "bubbles", "stages")
SECTIONS = (
    ("kodak", "Kodak", "The 24 pictures of the Kodak suite, 768x512."),
    (
        "clic",
        "A subset of CLIC 2025",
        "18 pictures of the validation and test sets of CLIC 2025, 2.0 to 3.4 megapixels. It is"
        " neither the whole of them nor what the paper used (the professional validation pictures"
        " of CLIC 2018), so the paper's Tables 2 and 4 are not put beside these.",
    ),
)


def main() -> None:
    """Write the page and copy the figures that it shows."""
    parts = [(HERE / "results_head.md").read_text()]
    for report, (name, title, words) in zip(sys.argv[1:3], SECTIONS, strict=True):
        parts.append(f"## {title}\n\n{words}\n")
        for figure in FIGURES:
            image = f"{name}-{figure}.png"
            shutil.copyfile(Path(report, f"{figure}.png"), DOCS / "images" / image)
            parts.append(f"![{title}: {figure}](images/{image})\n")
        parts.append(Path(report, "tables.md").read_text())
    (DOCS / "results.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
