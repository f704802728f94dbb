"""The report's folder: the page, the figures, the tables as Markdown, CSV and JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from edgecomp.errors import OutputError, OutputExistsError
from edgecomp.evaluation.figures import bubbles, png, rate_distortion, stages, svg
from edgecomp.evaluation.markdown import markdown
from edgecomp.evaluation.methods import UnavailableError
from edgecomp.evaluation.own import OwnMethod
from edgecomp.evaluation.page import write_page
from edgecomp.evaluation.page_pictures import (
    MOST_LOSSLESS_PIXELS,
    PagePicture,
    chosen,
    picture_of,
)
from edgecomp.evaluation.pillow_codecs import family
from edgecomp.evaluation.record import document, pictures_csv, rows_csv
from edgecomp.evaluation.results import Evaluation
from edgecomp.evaluation.sources import Source
from edgecomp.evaluation.tables import tables
from edgecomp.names import printable
from edgecomp.output import reason_of
from edgecomp.output_folder import OutputFolder
from edgecomp.pipeline import Progress, in_order

PAGE: Final = "index.html"
RESULTS: Final = "results.json"
# Told apart from anybody else's folder by this file's first key.
_MADE_BY: Final = "edgecomp evaluate"
_MARK: Final = f'{{\n "made_by": "{_MADE_BY}"'.encode()
_PNG_DPI: Final = 160
# The peers whose files browsers show.
_PEERS: Final = ("jpeg", "webp", "avif")
_FIGURES: Final = {
    "rate-distortion": ("Rate and distortion", rate_distortion),
    "bubbles": ("Compression rate, MS-SSIM and time", bubbles),
    "stages": ("Where edgecomp's time goes", stages),
}


class Report:
    """A folder that a report is written to.

    Args:
        folder: made if it is not there; an earlier report in it is replaced, file by file.
        force: write even if there are other things in it.

    Raises:
        OutputExistsError: there are other things in it.
        OutputError: it is no folder, or cannot be read.
    """

    def __init__(self, folder: Path, *, force: bool = False) -> None:
        self._folder = folder
        shown = printable(str(folder))
        try:
            if folder.is_dir() and any(folder.iterdir()) and not force and not _is_report(folder):
                raise OutputExistsError(
                    f"{shown} has other things in it than a report (force overwrites those that"
                    " have the names of its files)",
                    path=shown,
                )
            if folder.exists() and not folder.is_dir():
                raise OutputError(f"{shown} is not a folder", path=shown)
        except OSError as error:
            raise OutputError(f"{shown}: {reason_of(error)}", path=shown) from error

    def write(
        self,
        evaluation: Evaluation,
        sources: Sequence[Source],
        methods: Sequence[OwnMethod],
        *,
        cores: int,
        progress: Progress,
        warn: Callable[[str], None],
    ) -> None:
        """Write everything; each file appears whole or not at all.

        Args:
            evaluation: what was found.
            sources: its pictures.
            methods: edgecomp's, whose pictures the page shows.
            cores: pictures of the page that are made side by side.
            progress: advanced by each picture of the page.
            warn: told what cannot be drawn.

        Raises:
            OutputError: a file cannot be written.
        """
        output = OutputFolder(self._folder, force=True)
        figures: dict[str, str] = {}
        for name, (title, draw) in _FIGURES.items():
            try:
                figure = draw(evaluation)
                figures[title] = svg(figure)
                self._put(output, f"{name}.svg", figures[title].encode())
                self._put(output, f"{name}.png", png(figure, _PNG_DPI))
            except UnavailableError as error:
                warn(f"no figures: {error}")
                break
        self._put(output, "rows.csv", rows_csv(evaluation).encode())
        self._put(output, "pictures.csv", pictures_csv(evaluation).encode("utf-8", "replace"))
        made = tables(evaluation)
        self._put(output, "tables.md", markdown(evaluation, made).encode("utf-8", "replace"))
        record = {"made_by": _MADE_BY, **document(evaluation)}
        self._put(output, RESULTS, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
        picked = [sources[index] for index in chosen(len(sources))] if methods else []
        progress.start(len(picked), 0)
        with (
            output.file(PAGE) as page,
            closing(_pictures(picked, methods, cores, progress)) as pictures,
        ):
            text = io.TextIOWrapper(page.file, "utf-8", newline="\n", write_through=True)
            write_page(text, evaluation, made, figures, pictures)
            text.flush()
            text.detach()
        progress.finish()
        output.sync()

    @staticmethod
    def _put(folder: OutputFolder, name: str, data: bytes) -> None:
        with folder.file(name) as output:
            output.file.write(data)


def _is_report(folder: Path) -> bool:
    try:
        with (folder / RESULTS).open("rb") as file:
            return file.read(len(_MARK)) == _MARK
    except OSError:
        return False


def _pictures(
    sources: Sequence[Source], methods: Sequence[OwnMethod], cores: int, progress: Progress
) -> Generator[PagePicture, None, None]:
    """What the page shows, picture by picture."""
    pixels = sum(source.width * source.height for source in sources)
    lossless = pixels <= MOST_LOSSLESS_PIXELS
    peers = [family(name) for name in _PEERS]

    def make(source: Source) -> PagePicture:
        return picture_of(source.name, source.load(), methods, peers, lossless=lossless)

    with closing(in_order(make, sources, threads=cores)) as made:
        for picture in made:
            yield picture
            progress.advance(picture.name, 0)
