"""The whole evaluation of a folder: find the pictures, measure every row, write the report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from edgecomp._version import VERSION
from edgecomp.codec import Codec
from edgecomp.errors import SourceError
from edgecomp.evaluation import archivers
from edgecomp.evaluation.cache import Cache, FolderCache, NoCache
from edgecomp.evaluation.commands import Command, CommandResult, run_commands
from edgecomp.evaluation.context_model import FloatContextModel, load_context_model
from edgecomp.evaluation.cores import confined, machine
from edgecomp.evaluation.ideal import ideal_rows
from edgecomp.evaluation.measure import Measured, Measurer, label_of
from edgecomp.evaluation.methods import UnavailableError
from edgecomp.evaluation.own import OwnMethod, load_codecs
from edgecomp.evaluation.plan import Plan, Request, plan
from edgecomp.evaluation.report import Report
from edgecomp.evaluation.results import (
    ARCHIVER_NAMES,
    CONTEXT_MODEL,
    NOT_ASKED_FOR,
    OWN_NAMES,
    ROW_NAMES,
    CommandTimes,
    Evaluation,
    Row,
)
from edgecomp.evaluation.rows import (
    archiver_row,
    method_row,
    notes_on,
    own_row,
    picture_results,
)
from edgecomp.evaluation.sources import Source, copy_to, find_sources, is_kodak
from edgecomp.evaluation.stages import measure_stages
from edgecomp.pipeline import Progress, Silent


def evaluate(
    request: Request,
    *,
    report: Path | None = None,
    force: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Measure edgecomp and its peers on a folder of pictures.

    Args:
        request: the folder, the rows, how edgecomp runs.
        report: folder for the page, the figures and the tables; None for no files.
        force: write into a folder that has other things in it.
        cache: folder that keeps measurements for the next run.
        progress: hears how it goes.
        warn: told what a report has to do without.

    Raises:
        SourceError: no such folder, or no picture in it can be evaluated.
        OutputExistsError: the report's folder has other things in it, and ``force`` is not given.
        OutputError: report or cache cannot be written.
        ModelError, BackendUnavailableError, UsageError: of the models, see `own.load_codecs`.
        EdgecompError: a context model cannot be read.
    """
    progress = progress or Silent()
    files = None if report is None else Report(report, force=force)
    kept: Cache = NoCache() if cache is None else FolderCache(cache)
    models = [load_context_model(path) for path in request.context_models]
    with (
        _scratch_folder() as scratch,
        confined(request.threads) as cores,
    ):
        job = _Job(request, kept, progress, scratch, cores, models)
        evaluation = job.run()
        if files is not None:
            files.write(
                evaluation, job.sources, job.shown, cores=cores, progress=progress, warn=warn
            )
        return evaluation


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A folder that goes when the block ends; also when a signal comes just as it is made, which
    `tempfile.TemporaryDirectory` does not know of."""
    folder = Path(gettempdir(), f"edgecomp-evaluate-{os.urandom(8).hex()}")
    ours = True
    try:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            ours = False
            raise
        yield folder
    finally:
        if ours:
            shutil.rmtree(folder, ignore_errors=True)


class _Job:
    """One evaluation under way.

    Attributes:
        sources: the pictures of every row, once `run` is through.
        shown: edgecomp's methods that a page shows pictures of.
    """

    def __init__(
        self,
        request: Request,
        cache: Cache,
        progress: Progress,
        scratch: Path,
        cores: int,
        models: Sequence[FloatContextModel],
    ) -> None:
        self._request = request
        self._cache = cache
        self._progress = progress
        self._scratch = scratch
        self._cores = cores
        self._models = models
        self.sources: list[Source] = []
        self.shown: list[OwnMethod] = []

    def run(self) -> Evaluation:
        """Measure everything."""
        request, progress = self._request, self._progress
        codecs = load_codecs(
            model=request.model, backend=request.backend, precision=request.precision
        )
        found, left_out = find_sources(
            request.folder,
            self._subfolder("converted"),
            limit=request.limit,
            max_pixels=request.max_pixels,
        )
        planned = plan(request, codecs)
        measurer = Measurer(self._cores, self._cache, progress)
        self.sources, failed, measured = measurer.measure(found, planned.methods)
        if not self.sources:
            first = failed[0]
            raise SourceError(
                f"no picture can be evaluated ({first.path}: {first.reason})", path=request.folder
            )
        copies = self._subfolder("pictures")
        names = copy_to(copies, self.sources)
        commands = self._commands(planned.own, copies)
        rows = self._method_rows(planned, measured, commands)
        rows += self._archiver_rows(copies, names)
        rows += self._ideal_rows(codecs, rows)
        rows += [
            Row(name, skipped=reason, cores=self._cores) for name, reason in planned.skipped.items()
        ]
        self.shown = _shown(planned.own)
        return Evaluation(
            folder=Path(request.folder).resolve().name,
            kodak=is_kodak(self.sources),
            pictures=picture_results(self.sources, measured),
            left_out=sorted([*left_out, *failed], key=lambda note: note.path),
            rows=sorted(rows, key=lambda row: ROW_NAMES.index(row.name)),
            stages=measure_stages(self.sources, planned.own, progress) if planned.own else [],
            commands=[
                CommandTimes(label, done.seconds_compress, done.seconds_decompress)
                for label, done in commands.items()
                if isinstance(done, CommandResult)
            ],
            cores=self._cores,
            machine=machine(),
            notes=notes_on(self.sources),
        )

    def _subfolder(self, name: str) -> Path:
        folder = self._scratch / name
        folder.mkdir()
        return folder

    def _commands(
        self, methods: Sequence[OwnMethod], folder: Path
    ) -> dict[str, CommandResult | str]:
        """What the command did for each of edgecomp's own rows, or why it failed."""
        request = self._request
        results: dict[str, CommandResult | str] = {}
        self._progress.start(len(methods), 0)
        for method in methods:
            command = Command(
                quality=method.quality,
                coder=method.coder,
                threads=self._cores,
                model=request.model,
                backend=request.backend,
                precision=method.codec.backend.precision,
            )
            key = self._key("command", parts=method.parts)
            label = label_of(method)
            known = self._cache.get(key)
            if known is not None:
                results[label] = CommandResult(**known)
            else:
                try:
                    result = run_commands(command, folder, self._scratch)
                except UnavailableError as error:
                    results[label] = str(error)
                else:
                    results[label] = result
                    self._cache.put(key, asdict(result))
            self._progress.advance(label, 0)
        self._progress.finish()
        return results

    def _method_rows(
        self,
        planned: Plan,
        measured: Mapping[str, Measured],
        commands: Mapping[str, CommandResult | str],
    ) -> list[Row]:
        rows = []
        for method in planned.methods:
            label = label_of(method)
            row = method_row(method, measured[label], self.sources, self._cores)
            if isinstance(method, OwnMethod):
                row = own_row(row, commands[label], self.sources)
            rows.append(row)
        return rows

    def _archiver_rows(self, folder: Path, names: Sequence[str]) -> list[Row]:
        rows = []
        for name in ARCHIVER_NAMES:
            if name not in self._request.rows:
                rows.append(Row(name, skipped=NOT_ASKED_FOR, cores=self._cores))
                continue
            try:
                archiver = archivers.find(name)
                key = self._key("archiver", name=name, program=archiver.version())
                known = self._cache.get(key)
                if known is not None:
                    times = archivers.ArchiveTimes(**known)
                else:
                    times = archiver.measure(folder, names, self._scratch, self._cores)
                    self._cache.put(key, asdict(times))
            except (UnavailableError, archivers.ArchiverError) as error:
                rows.append(Row(name, skipped=str(error), cores=self._cores))
            else:
                rows.append(archiver_row(name, times, self.sources, self._cores))
        return rows

    def _ideal_rows(self, codecs: Sequence[tuple[str, Codec]], rows: Sequence[Row]) -> list[Row]:
        if CONTEXT_MODEL not in self._request.rows:
            return [Row(CONTEXT_MODEL, skipped=NOT_ASKED_FOR, cores=self._cores)]
        like = {row.quality: row for row in rows if row.name == OWN_NAMES[1]}
        return ideal_rows(
            codecs,
            self._models,
            like=like,
            sources=self.sources,
            cores=self._cores,
            cache=self._cache,
            progress=self._progress,
        )

    def _key(self, what: str, **parts: str) -> dict[str, Any]:
        return {
            "what": what,
            "edgecomp": VERSION,
            "pictures": [[source.inside, source.digest] for source in self.sources],
            "bytes": [source.png_bytes for source in self.sources],
            "cores": self._cores,
            **parts,
        }


def _shown(own: Sequence[OwnMethod]) -> list[OwnMethod]:
    """The methods of the first coder there is: the coder does not change what is seen."""
    return [method for method in own if method.name == own[0].name]
