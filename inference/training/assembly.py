"""What all members of an ensemble share: data by role, where a network begins, and the objectives it goes through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from cube.errors import ModelError
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.normalisation import set_normalisation
from inference.training.joint import JointObjective, RecordRows, survey_options
from inference.training.likelihood import cloglog
from inference.training.objective import Objective, Roles, SurveyObjective, SurveyRows
from inference.training.options import TrainOptions
from inference.training.reporting import Reporting, families, start_from_counts

NORMALISED_BY: Final = 4_000  # cells of records that normalisation constants are taken from
START_BETA: Final = 0.2  # of the area, as `DeepSDM` begins
Phase = tuple[Objective, TrainOptions]


class Assembly:
    """Surveys, records or both, as `options.likelihood` asks."""

    def __init__(self, predictors: Predictors, surveys: Surveys, roles: Roles | None, spec: ModelSpec, options: TrainOptions,
                 records: Records | None = None, record_predictors: Predictors | None = None,
                 record_roles: Roles | None = None, family: Sequence[str] | NDArray[np.str_] | None = None) -> None:  # fmt: skip
        """Raises: ModelError where rows do not match or nothing is left to train on."""
        self._spec, self._options = spec, options
        self._family = families(family, spec.species)
        wanted = records is not None and options.likelihood != "surveys_only"
        if options.likelihood == "records_only" and not wanted:
            raise ModelError("train.likelihood is 'records_only' but there are no records; name `records` in the configuration.")
        self.surveys: SurveyRows | None = None
        if len(surveys) or not wanted:
            self.surveys = SurveyRows(predictors, surveys, np.full(len(surveys), "train") if roles is None else roles)
        self.records: RecordRows | None = None
        if wanted:
            if records is None or record_predictors is None:
                raise ModelError("Records were given without the predictors of their places.")
            self.records = RecordRows(records, record_predictors, record_roles, spec.species, options)
        elif options.likelihood == "pretrain":
            raise ModelError("train.likelihood is 'pretrain' but there are no records to train on first.")

    @property
    def learns_from_surveys(self) -> bool:
        """Whether surveys tell how common plants are: without them f is a relative intensity."""
        return self.surveys is not None and self._options.likelihood != "records_only"

    @property
    def statement(self) -> str:
        """What the model's numbers are."""
        return "probability" if self.learns_from_surveys else "relative intensity"

    def begin(self, net: DeepSDM) -> NDArray[np.float64]:
        """Set normalisation and species' biases of a new network; returns the reporting rates (S,) it begins with."""
        self._normalise(net)
        f, gamma = self._start()
        with torch.no_grad():
            net.species_bias.copy_(torch.from_numpy(f.astype(np.float32)))
        return gamma

    def _normalise(self, net: DeepSDM) -> None:
        surveys, records = self.surveys, self.records
        if records is None:
            assert surveys is not None
            set_normalisation(net, surveys.predictors, surveys.train, surveys.covariates)
            return
        rng = np.random.default_rng(0)
        rows = np.unique(records.records.row[records.train])
        rows = np.sort(rng.permutation(rows)[:NORMALISED_BY])
        seen = records.covariates(records.train, 0).numpy()
        if surveys is not None and self.learns_from_surveys:
            # as many of surveys as of records: both kinds of places are read with these constants
            shares = max(1, len(seen) // len(surveys.train))
            seen = np.concatenate([seen, np.repeat(surveys.covariates[surveys.train], shares, 0)])
        covariates = np.zeros((len(records.predictors), 2), np.float32)
        covariates[rows] = seen[rng.integers(0, len(seen), len(rows))]
        set_normalisation(net, records.predictors, rows, covariates)

    def _start(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        surveys, records = self.surveys, self.records
        if surveys is not None and self.learns_from_surveys:
            f = cloglog(surveys.prevalence()) - START_BETA * surveys.log_ratio[surveys.train].mean()
            if records is None:
                return f, np.zeros(len(f))
            presences = surveys.surveys.presence[surveys.train].sum(0).astype(np.float64)
            start = start_from_counts(f, presences, records.counts, self._family)
            return start.f, start.gamma
        assert records is not None
        share = (records.counts + 0.5) / (records.counts.sum() + 0.5 * len(records.counts))
        return np.log(share), np.zeros(len(share))

    def phases(self, gamma: NDArray[np.float64], device: str) -> list[Phase]:
        """Objectives that a member goes through, one after the other, and the options of each."""
        if self.records is None:
            return [(self._survey_objective(), self._options)]
        poisson = self._options.likelihood in ("thinned_poisson", "target_group")
        thinning = 0 if self.records.thinning is None else self.records.thinning.shape[1]
        reporting = Reporting(gamma, self._family, self.records.datasets, thinning, self._start()[0] if poisson else None)
        alone = not self.learns_from_surveys or self._options.likelihood == "pretrain"
        if not self.learns_from_surveys:  # nothing tells rates and prevalences apart
            reporting.own.requires_grad_(False)
            reporting.of_family.requires_grad_(False)
        reporting.to(device)
        places = 1.0
        if self.surveys is not None:
            places = float(self.surveys.surveys.place_weight[self.surveys.train].sum())
        surveys = None if alone else self._survey_objective()
        joint = JointObjective(surveys, places, self.records, reporting, self._spec, self._options)
        if self._options.likelihood == "pretrain":
            return [(joint, self._options), (self._survey_objective(), survey_options(self._options))]
        return [(joint, self._options)]

    def _survey_objective(self) -> SurveyObjective:
        assert self.surveys is not None
        return SurveyObjective(self.surveys, self._spec, self._options)
