"""What a member of the ensemble is trained on: which rows a step draws, and what they cost.

The optimiser's loop (`loop.py`) knows an `Objective` and nothing of surveys, records or likelihoods.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from inference.data.samples import Predictors, Surveys
from inference.network.batches import covariates_of, gather
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.training.likelihood import clean_areas, survey_loss

Batch = dict[str, Tensor]
Flags = NDArray[np.bool_]
PASSES = 64  # through few surveys, by `least_steps`: with more they are learned by heart
LEAST_SPREAD = 0.1  # standard deviation of log areas: surveys that are all of one area do not teach what an area changes


@dataclass(frozen=True)
class Draw:
    """All that is random of one batch: row numbers and random numbers, no values of predictors yet."""

    rows: NDArray[np.int64]  # (b,) surveys
    turn: int  # 0..7: quarter turns of the patches of images, and from 4 on a flip
    noise: Tensor | None  # (b, 1, W) standard normal, for the columns of 1 km
    keep: Tensor  # (b, modalities of the spec) bool, False where a modality is dropped


class Objective(Protocol):
    """What the loop asks of the thing that is minimised.

    `draw` uses the generator and is quick; `load` reads values and touches neither network nor generator, so it may run
    ahead in another thread; `loss` computes on the network's device. `state` holds all that a later `draw` depends on
    beside the generator, as tensors that are replaced and never changed in place.
    """

    @property
    def steps_per_epoch(self) -> int:
        """Draws after which every training row was seen once."""

    @property
    def most_steps(self) -> int:
        """What `least_steps` of the options may not exceed: more would be learning by heart."""
        return sys.maxsize

    def draw(self, generator: torch.Generator) -> Draw:
        """The rows and the random numbers of the next batch."""

    def load(self, draw: Draw) -> Batch:
        """The values of a draw, on the CPU."""

    def loss(self, net: DeepSDM, batch: Batch) -> Tensor:
        """The loss () of a batch that lies on the network's device."""

    def own_groups(self, options: TrainOptions) -> list[dict[str, Any]]:
        """Groups of the optimiser for what is learned beside the network: `params`, with `lr` and `weight_decay`."""
        return []

    def state(self) -> dict[str, Tensor]:
        """The order of rows that is still to be drawn from."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Resume from what `state` gave."""
        return


class SurveyRows:
    """Predictors, surveys and what is derived from them once for all members."""

    def __init__(self, predictors: Predictors, surveys: Surveys, train: Flags | None = None) -> None:
        """Row for row; `train` (n,): the surveys that are learned from, all by default.

        Raises: ModelError where lengths differ or nothing is left to train on.
        """
        if len(predictors) != len(surveys) or (train is not None and len(train) != len(surveys)):
            raise ModelError(f"{len(predictors)} places and {len(surveys)} surveys do not match row for row.")
        self.predictors, self.surveys = predictors, surveys
        self.train = np.arange(len(surveys)) if train is None else np.flatnonzero(train)
        if not len(self.train):
            raise ModelError("No survey is left to train on; use smaller blocks or give more surveys.")
        areas = clean_areas(surveys.area_m2)
        self.median_m2, self.n_filled, self.log_ratio = areas.median_m2, areas.n_filled, areas.log_ratio
        self.teaches_area = float(areas.log_ratio.std()) >= LEAST_SPREAD
        self.covariates = covariates_of(surveys.year)
        weight = surveys.place_weight
        self.weight = weight / weight[self.train].mean()

    def prevalence(self) -> NDArray[np.float64]:
        """(S,) weighted share of training surveys with the species, kept away from 0 and 1."""
        presence, weight = self.surveys.presence[self.train], self.weight[self.train]
        total = weight.sum()
        return np.asarray(np.clip((weight @ presence + 0.25) / (total + 1), 1e-6, 0.98), np.float64)


class SurveyObjective(Objective):
    """Surveys alone: the weighted mean over surveys of the mean over species of the negative log likelihood."""

    def __init__(self, data: SurveyRows, spec: ModelSpec, options: TrainOptions) -> None:
        """For one member: its order of rows begins here."""
        self._data, self._spec, self._options = data, spec, options
        self._size = min(options.batch, len(data.train))
        self._order = torch.empty(0, dtype=torch.int64)

    @property
    def steps_per_epoch(self) -> int:
        """Draws after which every training survey was seen once (but for a last incomplete batch)."""
        return len(self._data.train) // self._size

    @property
    def most_steps(self) -> int:
        """Steps of `PASSES` passes through the surveys."""
        return -(-PASSES * len(self._data.train) // self._size)

    def draw(self, generator: torch.Generator) -> Draw:
        """The next rows of a shuffled epoch, sorted so that reading them runs forward through a file."""
        data, spec = self._data, self._spec
        if len(self._order) < self._size:
            self._order = torch.randperm(len(data.train), generator=generator)
        drawn_rows, self._order = self._order[: self._size], self._order[self._size :]
        rows = data.train[np.sort(drawn_rows.numpy())]
        return Draw(rows, *randomness(len(rows), data.predictors, spec, self._options, generator))

    def load(self, draw: Draw) -> Batch:
        """Predictors, truth and weights of a draw."""
        return augmented(self._gather(draw.rows), draw)

    def _gather(self, rows: NDArray[np.int64]) -> Batch:
        data = self._data
        batch = gather(data.predictors, rows, self._spec.modalities, data.covariates)
        batch["presence"] = torch.from_numpy(data.surveys.presence[rows])
        batch["row_weight"] = torch.from_numpy(data.weight[rows])
        batch["log_ratio"] = torch.from_numpy(data.log_ratio[rows])
        return batch

    def loss(self, net: DeepSDM, batch: Batch) -> Tensor:
        """Mean over species, weighted mean over surveys; batches without `noise` and `keep` are taken as they are."""
        batch = with_noise(net, batch, self._options.coarse_noise)
        f = net(batch, batch.get("keep")).float()
        eta = f + net.beta * batch["log_ratio"][:, None]
        per_survey = survey_loss(eta, batch["presence"].to(f.dtype)).mean(1)
        weight = batch["row_weight"]
        return (per_survey * weight).sum() / weight.sum()

    def state(self) -> dict[str, Tensor]:
        """Rows of the running epoch that are still to come."""
        return {"order": self._order}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Resume within the epoch of `state`."""
        self._order = state["order"]


def randomness(
    count: int, predictors: Predictors, spec: ModelSpec, options: TrainOptions, generator: torch.Generator
) -> tuple[int, Tensor | None, Tensor]:
    """(turn, noise, keep) of a draw of `count` places, see `Draw`; a place never loses all of its modalities."""
    turn, noise = 0, None
    if any(predictors.get(name) is not None for name in spec.images):
        turn = int(torch.randint(8, (1,), generator=generator))
    if "table_1km" in spec.modalities and predictors.values["table_1km"] is not None and options.coarse_noise > 0:
        noise = torch.randn(count, 1, predictors.values["table_1km"].shape[1], generator=generator)
    keep = torch.rand(count, len(spec.modalities), generator=generator) >= options.modality_dropout
    return turn, noise, keep | ~keep.any(1, keepdim=True)


def augmented(batch: Batch, draw: Draw) -> Batch:
    """A batch with its patches turned, and the noise and the kept modalities of its draw beside it."""
    batch |= {name: turned(values, draw.turn) for name, values in batch.items() if values.ndim == 4}
    if draw.noise is not None:
        batch["noise"] = draw.noise
    return batch | {"keep": draw.keep}


def with_noise(net: DeepSDM, batch: Batch, strength: float) -> Batch:
    """A batch whose columns of 1 km bear the noise of its draw; one without is taken as it is."""
    if "noise" not in batch:
        return batch
    return batch | {"table_1km": batch["table_1km"] + coarse_noise(net, batch["noise"], strength)}


def turned(image: Tensor, turn: int) -> Tensor:
    """Patches (b, bands, P, P) of an image in one of 8 orientations: plants do not know north from a picture."""
    image = torch.rot90(image, turn % 4, (2, 3))
    return image.flip(3) if turn >= 4 else image


def coarse_noise(net: DeepSDM, normal: Tensor, strength: float) -> Tensor:
    """Noise (4 b, W) for the columns of 1 km, the same at a place's four cells, from standard normals (b, 1, W).

    Neighbouring surveys share their 1 km values, which without it become an address. Many columns say nearly the same,
    so 50 of them bear `strength` standard deviations and fewer bear less.
    """
    columns = normal.shape[2]
    sigma = strength * min(1.0, (columns / 50) ** 0.5)
    std = cast(Any, net.encoders["table_1km"]).normalisation.std
    return (sigma * std * normal).expand(-1, 4, -1).reshape(-1, columns)
