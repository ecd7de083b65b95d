"""The stretches that a member is trained in; with snapshots, cycles of which each leaves a network of the ensemble.

Snapshot ensembles (Huang et al. 2017, arXiv:1704.00109): one training, cut into cycles. In each the rate runs anew from
its peak to nothing, which takes the network out of one minimum and into another; the best state of each cycle is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from inference.training.loop import steps_of
from inference.training.objective import Objective
from inference.training.options import TrainOptions

CYCLE: Final = 100  # between the seeds of a member's cycles, whose rows come in another order each


@dataclass(frozen=True)
class Stretch:
    """One run of the optimiser's loop over a member."""

    objective: Objective
    options: TrainOptions
    seed: int
    steps: int
    order: dict[str, Tensor]  # of rows, as the objective begins
    kept: bool  # whether the network that it ends with is one of the ensemble

    def begin(self) -> None:
        """Let the objective begin its order of rows; what it has learned, it keeps.

        An order that went on from cycle to cycle would have to be kept with a finished one, for a killed training to find.
        """
        self.objective.restore(self.objective.state() | self.order)


def stretches_of(phases: Sequence[tuple[Objective, TrainOptions]], snapshots: int, seed: int) -> list[Stretch]:
    """The phases of a member, the last one cut into `snapshots` cycles that together take its steps (an epoch each at least).

    Cycles are never stopped early: while the rate is high the stop blocks gain nothing.
    """
    out = []
    for number, (objective, options) in enumerate(phases):
        last = number == len(phases) - 1
        order = {name: values for name, values in objective.state().items() if name.endswith("order")}
        count, own = 1, options
        if last and snapshots > 1:
            count = snapshots
            share = -(-steps_of(objective, options) // snapshots)
            own = replace(options, epochs=1, least_steps=share)
            own = replace(own, patience=steps_of(objective, own))
        steps = steps_of(objective, own)
        out += [Stretch(objective, own, seed + CYCLE * cycle, steps, order, last) for cycle in range(count)]
    return out
