"""Records beside surveys in one objective: which rows a step draws of each, what they cost together, when to stop.

The likelihoods are in `likelihood.py`, reporting rates in `reporting.py`, surveys alone in `objective.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cube.errors import ModelError
from inference.data.records import Records
from inference.data.samples import Predictors
from inference.network.batches import gather
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.training import likelihood as nll
from inference.training.objective import Batch, Draw, Roles, SurveyObjective, augmented, randomness, with_noise
from inference.training.options import TrainOptions
from inference.training.reporting import Reporting

NEEDS_BACKGROUND: Final = ("thinned_poisson", "site_softmax", "assume_negative", "full_weighting")
THINNING: Final = ("footprint.hfp2009", "elevation", "slope")  # covariates of effort, where a model has them
STOP_RECORDS: Final = 2_048  # of the stop blocks, a fixed draw of them
SIDE: Final = "record."  # before the names of what belongs to records in a batch


@dataclass(frozen=True)
class RecordDraw(Draw):
    """A draw of records (`rows`, `turn`, `noise`, `keep` are theirs), background places, and surveys beside them."""

    background: NDArray[np.int64]  # rows of the record predictors
    surveys: Draw | None


class RecordRows:
    """Records, their predictors, and what is derived from them once for all members."""

    def __init__(self, records: Records, predictors: Predictors, roles: Roles | None, species: int,
                 options: TrainOptions) -> None:  # fmt: skip
        """`roles` (n,) of `blocks.record_roles`; without it all records train. Raises: ModelError, TableError."""
        records.check(species, len(predictors))
        if roles is not None and len(roles) != len(records):
            raise ModelError(f"{len(roles)} roles and {len(records)} records do not match row for row.")
        self.records, self.predictors = records, predictors
        roles = np.full(len(records), "train") if roles is None else roles
        self.train, stop = np.flatnonzero(roles == "train"), np.flatnonzero(roles == "stop")
        if not len(self.train):
            raise ModelError("No record has the role 'train'; use smaller blocks or another seed of roles.")
        self.stop = np.sort(np.random.default_rng(0).permutation(stop)[:STOP_RECORDS])
        if options.likelihood in NEEDS_BACKGROUND and not len(records.background):
            raise ModelError(
                f"The likelihood '{options.likelihood}' compares records with uniform places and there are none;"
                " take predictors from a cube, or choose 'joint'."
            )
        year = records.year
        middle = float(np.nanmedian(year)) if np.isfinite(year).any() else np.nan
        self.year = np.where(np.isfinite(year), year, np.float32(middle)).astype(np.float32)
        self.middle_year = middle
        self.counts = np.bincount(records.species[self.train], minlength=species)[:species]
        self.datasets = int(records.dataset.max()) + 1
        self.thinning = _thinning(predictors, options) if options.likelihood == "thinned_poisson" else None

    def covariates(self, rows: NDArray[np.int64], background: int) -> Tensor:
        """(b + background, 2) the `survey` input: a record's year, and the reference area, on which f_s is defined.

        Background places take the years of the records in turn: by a year of their own they would be told from records.
        """
        year = np.concatenate([self.year[rows], np.resize(self.year[rows], background)])
        return torch.from_numpy(np.stack([year, np.zeros_like(year)], 1))


def _thinning(predictors: Predictors, options: TrainOptions) -> NDArray[np.float32]:
    """(m, covariates) standardised covariates of effort at the record predictors, missing ones as 0."""
    columns: dict[str, NDArray[np.float32]] = {}
    for names, values in (
        (predictors.static_names, predictors.static),
        (predictors.coarse_names, predictors.interpolated("coarse")),
    ):
        if values is not None:
            columns |= {name: values[:, i] for i, name in enumerate(names)}
    wanted = options.thinning or tuple(name for name in THINNING if name in columns)
    for name in wanted:
        if name not in columns:
            raise ModelError(f"train.thinning: '{name}' is no column of the predictors; known are {', '.join(sorted(columns))}.")
    z = np.stack([columns[name] for name in wanted], 1) if wanted else np.zeros((len(predictors), 0), np.float32)
    if not wanted:
        return z
    with np.errstate(all="ignore"):
        z = (z - np.nanmean(z, 0)) / np.maximum(np.nanstd(z, 0), 1e-6)
    return np.nan_to_num(z.clip(-4, 4)).astype(np.float32)


class JointObjective:
    """Surveys and records, each as many nats as their likelihoods give, per survey and species.

    The records' term weighs `record_weight` times their number over the number of surveyed places and of species, which makes
    the sum the log likelihood of all data together, but no more than the surveys' mean per species: many records
    are no independent draws, and their gradients would drown that of the surveys, who alone know how common plants
    are. Without surveys it is the mean over records.
    """

    def __init__(self, surveys: SurveyObjective | None, places: float, data: RecordRows, reporting: Reporting, spec: ModelSpec,
                 options: TrainOptions) -> None:  # fmt: skip
        """For one member; `places` is the number of surveyed places that train."""
        self._surveys, self._data, self.reporting, self._spec, self._options = surveys, data, reporting, spec, options
        self._size = min(options.record_batch, len(data.train))
        self._background = self._size if options.likelihood in NEEDS_BACKGROUND else 0
        self._order = torch.empty(0, dtype=torch.int64)
        nats = 1.0 / (places * spec.species) if surveys is not None else 1.0 / len(data.train)
        self._weight = options.record_weight * min(len(data.train) * nats, 1.0)
        self._prior = nats
        share = (data.counts + 0.5) / (data.counts.sum() + 0.5 * spec.species)
        self._share = torch.from_numpy(share.astype(np.float32))

    @property
    def steps_per_epoch(self) -> int:
        """Draws after which the rows of the larger kind of data were all seen once."""
        own = len(self._data.train) // self._size
        return own if self._surveys is None else max(own, self._surveys.steps_per_epoch)

    def draw(self, generator: torch.Generator) -> RecordDraw:
        """The next records of a shuffled epoch, sorted, and the next surveys."""
        data, spec = self._data, self._spec
        surveys = None if self._surveys is None else self._surveys.draw(generator)
        if len(self._order) < self._size:
            self._order = torch.randperm(len(data.train), generator=generator)
        picked, self._order = self._order[: self._size], self._order[self._size :]
        background = np.zeros(0, np.int64)
        if self._background:
            at = torch.randint(len(data.records.background), (self._background,), generator=generator)
            background = data.records.background[at.numpy()]
        chance = randomness(self._size + len(background), data.predictors, spec, self._options, generator)
        rows = data.train[np.sort(picked.numpy())]
        return RecordDraw(rows, *chance, background, surveys)

    def load(self, draw: Draw) -> Batch:
        """Predictors and species of a draw of records, and of its surveys."""
        assert isinstance(draw, RecordDraw)
        batch = augmented(self._gather(draw.rows, draw.background), draw)
        side = {SIDE + name: values for name, values in batch.items()}
        if self._surveys is None or draw.surveys is None:
            return side
        return side | self._surveys.load(draw.surveys)

    def _gather(self, rows: NDArray[np.int64], background: NDArray[np.int64]) -> Batch:
        data = self._data
        places = np.concatenate([data.records.row[rows], background])
        batch = gather(data.predictors, places, self._spec.modalities)
        if "survey" in self._spec.modalities:
            batch["survey"] = data.covariates(rows, len(background))
        batch["species"] = torch.from_numpy(data.records.species[rows].astype(np.int64))
        batch["dataset"] = torch.from_numpy(data.records.dataset[rows].astype(np.int64))
        if data.thinning is not None:
            batch["thinning"] = torch.from_numpy(data.thinning[places])
        return batch

    def loss(self, net: DeepSDM, batch: Batch) -> Tensor:
        """Surveys' mean loss per species, plus the records' and the prior's share of it."""
        own = {name.removeprefix(SIDE): values for name, values in batch.items() if name.startswith(SIDE)}
        total = self._weight * self._record_loss(net, own) + self._prior * self.reporting.penalty()
        if self._surveys is None or "presence" not in batch:
            return total
        return total + self._surveys.loss(net, {name: v for name, v in batch.items() if not name.startswith(SIDE)})

    def _record_loss(self, net: DeepSDM, batch: Batch) -> Tensor:
        """Mean over records of the negative log likelihood asked for."""
        batch = with_noise(net, batch, self._options.coarse_noise)
        count = len(batch["species"])
        eta = net(batch, batch.get("keep")).float() + self.reporting.gamma
        at, away, species = eta[:count], eta[count:], batch["species"]
        kind = self._options.likelihood
        if kind == "thinned_poisson":
            thinning = self.reporting.thinning(batch["thinning"])
            seen = thinning[:count].gather(1, batch["dataset"][:, None])[:, 0]
            return nll.poisson_loss(at, species, seen, nll.quadrature_of(away, thinning[count:])).mean()
        if kind == "target_group":
            return nll.target_group_loss(at + self.reporting.alpha[0], species).mean()
        if kind == "site_softmax":
            return nll.site_softmax_loss(at, species, away).mean()
        if kind == "assume_negative":
            level = self.reporting.alpha[0]
            return nll.assume_negative_loss(at + level, species, away + level).mean()
        if kind == "full_weighting":
            level = self.reporting.alpha[0]
            return nll.full_weighting_loss(at + level, species, away + level, self._share.to(at.device)).mean()
        return nll.record_loss(at, species).mean()

    @torch.no_grad()
    def stop_loss(self, net: DeepSDM) -> float | None:
        """The loss on the stop blocks: of their surveys, and of their records by the records' weight."""
        surveys = None if self._surveys is None else self._surveys.stop_loss(net)
        stop = self._data.stop
        if not len(stop):
            return surveys
        net.eval()
        device = net.species_bias.device
        background = self._data.records.background[: len(stop)] if self._background else np.zeros(0, np.int64)
        total = 0.0
        for start in range(0, len(stop), 1024):
            rows = stop[start : start + 1024]
            batch = self._gather(rows, background[start : start + 1024])
            batch = {name: values.to(device) for name, values in batch.items()}
            total += float(self._record_loss(net, batch)) * len(rows) / len(stop)
        if surveys is None:
            return total if self._surveys is None else None
        return surveys + self._weight * total

    def parameter_groups(self, net: DeepSDM, options: TrainOptions) -> list[dict[str, Any]]:
        """The network at the rate of the options, reporting rates at their own and without decay: they have a prior."""
        rates = [p for p in self.reporting.parameters() if p.requires_grad and p.numel()]
        groups: list[dict[str, Any]] = [{"params": list(net.parameters())}]
        if rates:
            groups.append({"params": rates, "lr": options.reporting_rate, "weight_decay": 0.0})
        return groups

    def state(self) -> dict[str, Tensor]:
        """Rows of the running epochs that are still to come, of records and of surveys, and the reporting rates."""
        own = {"record_order": self._order}
        own |= {f"reporting.{name}": value.detach().clone() for name, value in self.reporting.state_dict().items()}
        return own if self._surveys is None else own | self._surveys.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._order = state["record_order"]
        self.reporting.load_state_dict(
            {name.removeprefix("reporting."): value for name, value in state.items() if name.startswith("reporting.")}
        )
        if self._surveys is not None:
            self._surveys.restore(state)


def survey_options(options: TrainOptions) -> TrainOptions:
    """Options for the fine-tuning on surveys after a training on records: gentler, so that it does not forget them."""
    return replace(options, learning_rate=options.learning_rate * 0.3)
