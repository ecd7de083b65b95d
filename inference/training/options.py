"""How to train: the keys of `train` in a configuration, with their defaults. What they do is told where they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from cube.errors import ModelError

Likelihood = Literal[
    "joint",
    "thinned_poisson",
    "target_group",
    "site_softmax",
    "assume_negative",
    "full_weighting",
    "pretrain",
    "surveys_only",
    "records_only",
]
Schedule = Literal["one_cycle", "cosine", "plateau"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class TrainOptions:
    """How to train. Defaults were chosen on Czech surveys (other fold draws than reported) and on a landscape."""

    members: int = 4  # networks of different random starts
    snapshots: int = 1  # networks that each member's training leaves, one a cycle of the rate (`snapshots.py`)
    epochs: int = 15  # passes over the surveys, at most
    least_steps: int = 400  # small data get more epochs
    batch: int = 128  # surveys a step
    learning_rate: float = 3e-3  # the highest of the schedule
    weight_decay: float = 0.05  # of AdamW
    coarse_noise: float = 1.0  # standard deviations, see `objective.coarse_noise`
    modality_dropout: float = 0.1  # chance that a modality is hidden from a survey in training
    patience: int = 6  # evaluations on the stop blocks without gain
    seed: int = 0  # of the split into roles, the weights and the order of surveys
    threads: int | None = None  # None: torch's own choice
    device: str = "auto"  # auto (a GPU where there is one), cpu, cuda or cuda:1
    schedule: Schedule = "one_cycle"  # of the learning rate
    precision: Precision = "auto"  # of the forward pass: bfloat16 on a GPU that has it, else float32
    accumulate: int = 1  # batches of one step: a large batch on a small GPU
    loaders: int | None = None  # threads that read batches ahead; None: 4 for a GPU or samples on disk, else 0
    checkpoint_seconds: float = 120.0  # between states that a killed training goes on from
    memory_gb: float = 8.0  # samples that would not fit are cut once to disk
    # where there are records (`joint.py`):
    likelihood: Likelihood = "joint"  # what a record says, see One likelihood for surveys and records
    record_batch: int = 512  # records a step: each says one name, a survey all names of a place
    record_weight: float = 1.0  # of a record against what its likelihood says
    reporting_rate: float = 0.03  # learning rate of reporting rates
    thinning: tuple[str, ...] = ()  # columns that effort may follow, thinned_poisson only; (): those of joint.THINNING
    po_allowed: bool = False  # records of held-out blocks train too, as GeoPlant does

    def __post_init__(self) -> None:
        """Refuse values that no training can be made with. Raises: ModelError."""
        for name in ("members", "snapshots", "epochs", "batch", "patience", "accumulate", "record_batch"):
            if getattr(self, name) < 1:
                raise ModelError(f"train.{name} is {getattr(self, name)}, expected 1 or more.")
        for name in ("least_steps", "loaders", "weight_decay", "coarse_noise", "checkpoint_seconds", "memory_gb"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ModelError(f"train.{name} is {value}, expected 0 or more.")
        if not self.learning_rate > 0:
            raise ModelError(f"train.learning_rate is {self.learning_rate}, expected more than 0.")
        if not 0 <= self.modality_dropout < 1:
            raise ModelError(f"train.modality_dropout is {self.modality_dropout}, expected a share from 0 to below 1.")
        for name, kind in (("schedule", Schedule), ("precision", Precision), ("likelihood", Likelihood)):
            if getattr(self, name) not in get_args(kind):
                raise ModelError(f"train.{name} is '{getattr(self, name)}', expected one of {', '.join(get_args(kind))}.")
