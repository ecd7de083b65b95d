"""Records beside surveys in one objective: which rows a step draws of each, and what they cost together.

The likelihoods are in `likelihood.py`, reporting rates in `reporting.py`, surveys alone in `objective.py`, records alone in
`site_softmax.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from inference.data.records import Records
from inference.data.samples import Predictors
from inference.network.batches import covariates_of, gather
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.training.likelihood import record_loss
from inference.training.objective import Batch, Draw, Objective, SurveyObjective, augmented, randomness, with_noise
from inference.training.reporting import Reporting

SIDE: Final = "record."  # before the names of what belongs to records in a batch


@dataclass(frozen=True)
class RecordDraw(Draw):
    """A draw of records (`rows`, `turn`, `noise`, `keep` are theirs), and of the surveys beside them."""

    surveys: Draw


class RecordRows:
    """Records, their predictors, and what is derived from them once."""

    def __init__(self, records: Records, predictors: Predictors, species: int) -> None:
        """All of `records` are learned from. Raises: ModelError, TableError."""
        records.check(species, len(predictors))
        if not len(records):
            raise ModelError("No record is left to train on; use smaller blocks or give more records.")
        self.records, self.predictors = records, predictors
        year = records.year
        self.middle_year = float(np.nanmedian(year)) if np.isfinite(year).any() else np.nan
        self.year = np.where(np.isfinite(year), year, np.float32(self.middle_year)).astype(np.float32)
        # A record of a square is several rows of a part of its weight: what they weigh together is how many records there are.
        weight = None if records.weight is None else records.weight.astype(np.float64)
        self.counts = np.bincount(records.species, weight, minlength=species)[:species]
        self.total = float(len(records)) if weight is None else float(weight.sum())
        self.weight = None if records.weight is None else (records.weight * (len(records) / self.total)).astype(np.float32)

    def covariates(self, rows: NDArray[np.int64]) -> Tensor:
        """(b, 1) the `survey` input: a record's year."""
        return torch.from_numpy(covariates_of(self.year[rows]))


class JointObjective(Objective):
    """Surveys and records, each as many nats as their likelihoods give, per survey and species.

    The records' term weighs `record_weight` times their number over the number of surveyed places and of species, which makes
    the sum the log likelihood of all data together, but no more than the surveys' mean per species: many records
    are no independent draws, and their gradients would drown that of the surveys, who alone know how common plants are.
    """

    def __init__(
        self,
        surveys: SurveyObjective,
        places: float,
        data: RecordRows,
        reporting: Reporting,
        spec: ModelSpec,
        options: TrainOptions,
    ) -> None:
        """For one member; `places` is the number of surveyed places that train."""
        self._surveys, self._data, self.reporting, self._spec, self._options = surveys, data, reporting, spec, options
        self._size = min(options.record_batch, len(data.records))
        self._order = torch.empty(0, dtype=torch.int64)
        self._prior = 1.0 / (places * spec.species)
        self._weight = options.record_weight * min(data.total * self._prior, 1.0)

    @property
    def steps_per_epoch(self) -> int:
        """Draws after which the rows of the larger kind of data were all seen once."""
        return max(len(self._data.records) // self._size, self._surveys.steps_per_epoch)

    def draw(self, generator: torch.Generator) -> RecordDraw:
        """The next records of a shuffled epoch, sorted, and the next surveys."""
        data, surveys = self._data, self._surveys.draw(generator)
        if len(self._order) < self._size:
            self._order = torch.randperm(len(data.records), generator=generator)
        records, self._order = self._order[: self._size], self._order[self._size :]
        chance = randomness(self._size, data.predictors, self._spec, self._options, generator)
        return RecordDraw(np.sort(records.numpy()), *chance, surveys)

    def load(self, draw: Draw) -> Batch:
        """Predictors and species of a draw of records, and of its surveys."""
        assert isinstance(draw, RecordDraw)
        batch = augmented(self._gather(draw.rows), draw)
        return {SIDE + name: values for name, values in batch.items()} | self._surveys.load(draw.surveys)

    def _gather(self, rows: NDArray[np.int64]) -> Batch:
        data = self._data
        batch = gather(data.predictors, data.records.row[rows], self._spec.modalities)
        if "survey" in self._spec.modalities:
            batch["survey"] = data.covariates(rows)
        batch["species"] = torch.from_numpy(data.records.species[rows].astype(np.int64))
        if data.weight is not None:
            batch["certainty"] = torch.from_numpy(data.weight[rows])
        return batch

    def loss(self, net: DeepSDM, batch: Batch) -> Tensor:
        """Surveys' mean loss per species, plus the records' and the prior's share of it."""
        survey_batch = {name.removeprefix(SIDE): values for name, values in batch.items() if name.startswith(SIDE)}
        surveys = self._surveys.loss(net, {name: v for name, v in batch.items() if not name.startswith(SIDE)})
        return surveys + self._weight * self._record_loss(net, survey_batch) + self._prior * self.reporting.penalty()

    def _record_loss(self, net: DeepSDM, batch: Batch) -> Tensor:
        """Mean over records of the negative log probability of their species, each by its weight."""
        batch = with_noise(net, batch, self._options.coarse_noise)
        losses = record_loss(net(batch, batch.get("keep")).float() + self.reporting.gamma, batch["species"])
        return losses.mean() if "certainty" not in batch else (losses * batch["certainty"]).mean()

    def own_groups(self, options: TrainOptions) -> list[dict[str, Any]]:
        """Reporting rates at a learning rate of their own and without decay: they have a prior."""
        rates = [p for p in self.reporting.parameters() if p.requires_grad and p.numel()]
        return [{"params": rates, "lr": options.reporting_rate, "weight_decay": 0.0}] if rates else []

    def state(self) -> dict[str, Tensor]:
        """Rows of the running epochs that are still to come, of records and of surveys, and the reporting rates."""
        rates = {f"reporting.{name}": value.detach().clone() for name, value in self.reporting.state_dict().items()}
        return {"record_order": self._order} | rates | self._surveys.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Resume from what `state` gave."""
        self._order = state["record_order"]
        self.reporting.load_state_dict(
            {name.removeprefix("reporting."): value for name, value in state.items() if name.startswith("reporting.")}
        )
        self._surveys.restore(state)
