"""The choice of what to remove: filters by their scores, blocks by the loss without them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from export.pruning import Plan
from export.pruning.structure import Structure


@dataclass(frozen=True)
class Limit:
    """At most ``target`` of ``cost`` (a function of structure, plan and parts) for these parts."""

    cost: Callable[..., float]
    parts: tuple[str, ...]
    target: float

    def of(self, structure: Structure, plan: Plan) -> float:
        """The cost after a plan."""
        return self.cost(structure, plan, self.parts)


class Choice:
    """Chooses what to remove from one network, by scores of channels and measured losses."""

    def __init__(
        self,
        structure: Structure,
        scores: dict[str, np.ndarray],
        loss: Callable[[Plan], float],
        multiple: int,
    ) -> None:
        self.structure, self.scores, self.loss = structure, scores, loss
        self.multiple = multiple
        self.harm: dict[str, float] = {}

    def measure_blocks(self, parts: Collection[str]) -> None:
        """Loss increase of leaving out each block of the parts alone."""
        names = [n for n in Plan().droppable(self.structure) if self._part(n) in parts]
        whole = self.loss(Plan()) if names else 0.0
        self.harm |= {n: self.loss(Plan().without_block(n)) - whole for n in names}

    def _part(self, block: str) -> str:
        return self.structure.blocks[block].part

    def reduce(self, plan: Plan, limit: Limit, final: float) -> Plan:
        """The plan that meets the limit of this round; ``final`` is the target of the last one.

        Again and again, the block that costs least loss for what it saves stands against the
        filters that save as much: whichever measures better goes. A block may overshoot the
        round's target but not the last one, unless no filter is left to remove.
        """
        while limit.of(self.structure, plan) > limit.target:
            cost = limit.of(self.structure, plan)
            savings = {
                n: cost - limit.of(self.structure, plan.without_block(n))
                for n in plan.droppable(self.structure)
                if self._part(n) in limit.parts
            }
            small = {n: s for n, s in savings.items() if s <= cost - final}
            block = min(small, key=lambda n: self.harm[n] / small[n]) if small else None
            aim = cost - small[block] if block else limit.target
            path = self._thinner(plan, limit, aim)
            enough = bool(path) and limit.of(self.structure, path[-1]) <= aim
            if block is None and not path:
                if not savings:
                    raise ValueError("nothing is left to remove")
                block = min(savings, key=lambda n: self.harm[n] / savings[n])
            if block is None:
                plan = path[-1]
                continue
            without = plan.without_block(block)
            if not enough or self.loss(without) <= self.loss(path[-1]):
                plan = without
            else:  # no more filters than this round asks for
                reached = (p for p in path if limit.of(self.structure, p) <= limit.target)
                plan = next(reached, path[-1])
        return plan

    def _thinner(self, plan: Plan, limit: Limit, aim: float) -> list[Plan]:
        """Plans with one more unit of channels gone each, until the cost is at most ``aim``."""
        path: list[Plan] = []
        while limit.of(self.structure, plan) > aim:
            unit = self._cheapest(plan, limit)
            if unit is None:
                break
            plan = unit
            path.append(plan)
        return path

    def _cheapest(self, plan: Plan, limit: Limit) -> Plan | None:
        """The plan without the unit of channels that matters least for what it saves.

        A unit brings a width to the next multiple below; no group loses its last unit.
        """
        cost = limit.of(self.structure, plan)
        best, lowest = None, np.inf
        for group, width in plan.widths(self.structure).items():
            count = width % self.multiple or self.multiple
            part = self.structure.part_of(group)
            gone = self.structure.block_of(group) in plan.dropped
            if count >= width or gone or part not in limit.parts:
                continue
            kept = plan.kept.get(group, np.arange(width))
            unit = kept[np.argsort(self.scores[group][kept], kind="stable")[:count]]
            candidate = plan.without(group, unit, self.structure)
            saved = cost - limit.of(self.structure, candidate)
            price = float(self.scores[group][unit].sum()) / saved
            if price < lowest:
                best, lowest = candidate, price
        return best


def smallest(structure: Structure, limit: Limit, multiple: int) -> float:
    """The least cost that `Choice.reduce` can come to."""
    plan = Plan()
    for group, width in structure.widths.items():
        floor = min(width, multiple)
        if structure.part_of(group) in limit.parts:
            plan = plan.without(group, range(floor, width), structure)
    while names := [
        n for n in plan.droppable(structure) if structure.blocks[n].part in limit.parts
    ]:
        plan = plan.without_block(names[0])
    return limit.of(structure, plan)
