"""How the learning rate runs over a training: one cycle, cosine after a warm-up, or down a step at each plateau."""

from __future__ import annotations

import math
from typing import Any, Final

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from inference.training.options import TrainOptions

WARM_UP: Final = 0.1  # share of the steps in which the rate rises, as in the one cycle
PLATEAU_FACTOR: Final = 0.3
PLATEAU_EVALUATIONS: Final = 2  # without gain before the rate falls; early stopping waits longer


class Schedule:
    """The schedule that the options name, told of every step and every evaluation; its state is plain JSON."""

    def __init__(self, optimiser: Optimizer, options: TrainOptions, steps: int) -> None:
        """Each group of the optimiser peaks at its own learning rate."""
        self._cycle: OneCycleLR | LambdaLR | None = None
        self._plateau: ReduceLROnPlateau | None = None
        if options.schedule == "one_cycle":
            rates = [group["lr"] for group in optimiser.param_groups]
            self._cycle = OneCycleLR(optimiser, rates, total_steps=steps, pct_start=WARM_UP)
        elif options.schedule == "cosine":
            self._cycle = LambdaLR(optimiser, lambda step: cosine(step, steps))
        else:
            self._plateau = ReduceLROnPlateau(optimiser, factor=PLATEAU_FACTOR, patience=PLATEAU_EVALUATIONS)

    def after_step(self) -> None:
        """The optimiser has made a step."""
        if self._cycle is not None:
            self._cycle.step()

    def after_evaluation(self, loss: float) -> None:
        """The stop blocks (or without any, the training batches) now cost `loss`."""
        if self._plateau is not None:
            self._plateau.step(loss)

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on."""
        held = self._cycle if self._plateau is None else self._plateau
        assert held is not None
        return dict(held.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        held = self._cycle if self._plateau is None else self._plateau
        assert held is not None
        held.load_state_dict(state)


def cosine(step: int, steps: int) -> float:
    """Share of the peak rate at `step` of `steps`: linear from 1 / warm-up to 1, then half a cosine to 0 at the end."""
    warm = max(int(WARM_UP * steps), 1)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))
