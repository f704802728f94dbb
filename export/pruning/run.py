"""The rounds of pruning, and their record; prune.py is the command."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from export import checkpoint as ckpt
from export import pruning, step
from export.pruning import PARTS, Plan, Weights
from export.pruning.choice import Choice, Limit
from export.pruning.rank import Scorer, normalised
from export.settings import Settings
from export.train import Run, Stop, finished

RECORD = "pruning.json"
FIGURES = ("bpp", "msssim", "psnr")
WARM_SHARE = 10  # the warm-up takes at most this part of a round's steps


class Pruning(Run):
    """A run whose network shrinks from round to round, and its pruning.json."""

    record: dict[str, Any]

    def restart(self, settings: Settings, weights: Weights) -> None:
        """Go on with another network, at step 0 of its own schedule, on the same pictures."""
        self.settings = settings
        self.networks = step.networks_of(settings)
        self.evaluate = step.make_evaluate(self.networks, 1)
        self.number, self.seconds = 0, 0.0
        self.state = step.fresh_state(self.networks, weights)

    def write_record(self) -> None:
        """Write pruning.json beside its target, then rename."""
        partial = self.out / f".{RECORD}.partial-{os.getpid()}"
        partial.write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, self.out / RECORD)

    def describe(self, settings: Settings, weights: Weights) -> None:
        """Begin the record with the network to prune, and its figures."""
        table = self.evaluate(weights, self.held) if len(self.held) else None
        figures = {} if table is None else _figures(table[0])
        self.record |= {"source": _sizes(settings) | {"after": figures}, "rounds": []}
        self.write_record()

    def prune(self, settings: Settings, weights: Weights, limits: list[Limit], stop: Stop) -> bool:
        """The rounds that are left of pruning a network to the limits; False when interrupted."""
        options, rounds = self.record["options"], self.record["rounds"]
        costs = [limit.of(pruning.structure_of(settings.network), Plan()) for limit in limits]
        if rounds and not self._go_on(rounds, stop):
            return False
        if rounds:
            settings, weights = self.settings, self.averaged()
        print(_heading(), _row("source", self.record["source"], "after"), sep="\n", flush=True)
        for number in range(len(rounds), options["rounds"]):
            share = (number + 1) / options["rounds"]
            steps = [
                dataclasses.replace(limit, target=cost * (limit.target / cost) ** share)
                for limit, cost in zip(limits, costs, strict=True)
            ]
            plan = self._choose(settings, weights, steps, limits, number, stop)
            before = settings
            config, weights = pruning.remove(settings.network, weights, plan)
            settings = self._round_settings(dataclasses.replace(settings, network=config), number)
            rounds.append(_described(before, settings, plan))
            self.write_record()
            self.restart(settings, weights)
            self.save()
            if not self._tune(rounds[-1], stop):
                return False
            weights = self.averaged()
            print(_row(f"round {number + 1}", rounds[-1], "before"))
            print(_row("tuned", rounds[-1], "after"), flush=True)
        return True

    def _go_on(self, rounds: list[dict[str, Any]], stop: Stop) -> bool:
        """Take up the last round of an interrupted run where its checkpoint stands."""
        saved = Settings.from_dict(ckpt.load(self.out).meta["settings"])
        if saved.to_dict() != rounds[-1]["settings"]:  # interrupted before it was saved
            rounds.pop()
        if not rounds:
            return True
        if saved.to_dict() != rounds[-1]["settings"]:
            raise ckpt.CheckpointError(f"{self.out}: {RECORD} is of another run")
        self.restart(saved, step.networks_of(saved).weights())
        self.resume()
        return rounds[-1]["after"] is not None or self._tune(rounds[-1], stop)

    def _round_settings(self, settings: Settings, number: int) -> Settings:
        """Settings with the horizon of one round; the last one's is `final` times as long."""
        options = self.record["options"]
        factor = options["final"] if number + 1 == options["rounds"] else 1.0
        seconds, steps = options["seconds"] or 0.0, options["steps"]
        training = dataclasses.replace(
            settings.training,
            learning_rate=options["learning_rate"] or settings.training.learning_rate,
            seconds=seconds * factor,
            steps=round(steps * factor),
            warmup=min(settings.training.warmup, max(1, round(steps * factor) // WARM_SHARE)),
        )
        return dataclasses.replace(settings, training=training)

    def _choose(
        self,
        settings: Settings,
        weights: Weights,
        steps: list[Limit],
        limits: list[Limit],
        number: int,
        stop: Stop,
    ) -> Plan:
        """The plan of one round."""
        options, config = self.record["options"], settings.network
        scorer = Scorer(
            self.networks,
            settings,
            self.pool,
            options["batches"],
            settings.training.seed + number,
            lambda: bool(stop.signal),
        )
        if options["criterion"] == "taylor":
            scores = scorer.taylor(weights)
        else:
            scores = normalised(scorer.norms(weights))
        choice = Choice(
            scorer.structure,
            scores,
            lambda plan: scorer.loss(pruning.masked(config, weights, plan)),
            options["multiple"],
        )
        plan = Plan()
        choice.measure_blocks({part for limit in steps for part in limit.parts})
        for limit, final in zip(steps, limits, strict=True):
            plan = choice.reduce(plan, limit, final.target)
        return plan

    def _tune(self, entry: dict[str, Any], stop: Stop) -> bool:
        """Fine-tune, and note the figures before and after; False when interrupted."""
        self.train(stop)
        if not finished(self.settings.training, self.number, self.seconds):
            return False
        entry["before"], entry["after"] = self._logged()
        self.write_record()
        return True

    def _logged(self) -> tuple[dict[str, float], dict[str, float]]:
        """Figures of the held-back pictures at step 0 of the round and at its end."""
        path = self.out / "log.csv"
        if not path.exists():
            return {}, {}
        with path.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        first = next(row for row in reversed(rows) if row[0] == "0")
        return _figures(first[2:]), _figures(rows[-1][2:])


def _figures(values: Any) -> dict[str, float]:
    return {name: round(float(v), 5) for name, v in zip(FIGURES, values, strict=True)}


def _sizes(settings: Settings) -> dict[str, Any]:
    """What a network costs, for the record."""
    structure = pruning.structure_of(settings.network)
    each = {part: round(pruning.products(structure, None, (part,)), 1) for part in PARTS}
    return {
        "multiply_adds_per_pixel": each,
        "parameters": pruning.parameters(structure),
        "int8_bytes": round(pruning.int8_bytes(structure)),
        "settings": settings.to_dict(),
    }


def _described(before: Settings, after: Settings, plan: Plan) -> dict[str, Any]:
    """The record of one round: what went, by the names and numbers that it had before."""
    structure = pruning.structure_of(before.network)
    removed = {
        group: np.setdiff1d(np.arange(structure.widths[group]), kept).tolist()
        for group, kept in plan.kept.items()
        if structure.block_of(group) not in plan.dropped
    }
    gone = {"removed": removed, "dropped": sorted(plan.dropped)}
    return gone | _sizes(after) | {"before": None, "after": None}


def _heading() -> str:
    return (
        f"{'':8} {'encoder':>8} {'decoder':>8} {'weights':>9} {'bpp':>7} {'MS-SSIM':>8} {'dB':>6}"
    )


def _row(name: str, entry: dict[str, Any], when: str) -> str:
    """One line of the table: multiply-adds a pixel, weights, figures; then the widths."""
    products = [entry["multiply_adds_per_pixel"][part] for part in PARTS]
    line = f"{name:8} {products[0]:8.0f} {products[1]:8.0f} {entry['parameters']:9d}"
    if entry[when]:
        bpp, similarity, psnr = (entry[when][name] for name in FIGURES)
        line += f" {bpp:7.4f} {similarity:8.5f} {psnr:6.2f}"
    if when == "after":
        network = entry["settings"]["network"]
        line += "".join(f"\n    {part}: {_widths(network[part])}" for part in PARTS)
    return line


def _widths(part: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in part.items())


def read_record(out: Path) -> dict[str, Any]:
    """The record of an interrupted run."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        if not {"options", "rounds", "source"} <= record.keys():
            raise ValueError("incomplete")
    except OSError as error:
        raise ckpt.CheckpointError(f"nothing to resume in {out}: {error.strerror}") from error
    except (ValueError, AttributeError) as error:
        raise ckpt.CheckpointError(f"{out / RECORD} is damaged: {error}") from error
    return dict(record)
