"""How to train: the keys of `train` in a configuration, with their defaults. What they do is told where they are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainOptions:
    """How to train. Defaults were chosen on Czech surveys (other fold draws than reported) and on a landscape."""

    members: int = 4
    epochs: int = 15
    least_steps: int = 400  # small data get more epochs
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    coarse_noise: float = 1.0  # standard deviations, see `objective.coarse_noise`
    modality_dropout: float = 0.1
    patience: int = 6  # evaluations on the stop blocks without gain
    seed: int = 0
    threads: int | None = None  # None: torch's own choice
    device: str = "cpu"
