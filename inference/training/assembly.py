"""What a network begins with and what it learns from: surveys, records, or both, as the options ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.normalisation import set_normalisation
from inference.training.joint import JointObjective, RecordRows
from inference.training.likelihood import cloglog
from inference.training.objective import Flags, Objective, SurveyObjective, SurveyRows
from inference.training.reporting import Reporting, families, start_from_counts
from inference.training.site_softmax import SiteSoftmaxObjective

NORMALISED_BY: Final = 4_000  # cells of records that normalisation constants are taken from
START_BETA: Final = 0.2  # exponent of the area, as `DeepSDM` begins; surveys that are all of one area leave it there
PROBABILITY: Final = "probability"
RELATIVE: Final = "relative intensity"


def output_kind_of(surveys: Surveys, options: TrainOptions) -> str:
    """What a model's numbers are: without surveys nobody knows how common plants are."""
    return PROBABILITY if len(surveys) and options.likelihood != "records_only" else RELATIVE


class Assembly:
    """The data of one network."""

    def __init__(
        self,
        predictors: Predictors,
        surveys: Surveys,
        spec: ModelSpec,
        options: TrainOptions,
        train: Flags | None = None,
        records: Records | None = None,
        record_predictors: Predictors | None = None,
        family: Sequence[str] | NDArray[np.str_] | None = None,
    ) -> None:
        """`train` (n,): the surveys that are learned from (None: all); all of `records` are.

        Raises: ModelError where rows do not match or nothing is left to train on.
        """
        self._spec, self._options = spec, options
        self._family = families(family, spec.species)
        use_records = records is not None and options.likelihood != "surveys_only"
        alone = output_kind_of(surveys, options) == RELATIVE
        if alone and not use_records:
            raise ModelError(
                "There are neither surveys nor records to learn from; name `surveys` or `records` in the configuration."
            )
        self.surveys = None if alone else SurveyRows(predictors, surveys, train)
        self.records: RecordRows | None = None
        if use_records:
            if records is None or record_predictors is None:
                raise ModelError("Records were given without the predictors of their places.")
            self.records = RecordRows(records, record_predictors, spec.species)

    def begin(self, net: DeepSDM) -> NDArray[np.float64]:
        """Set normalisation and species' biases of a new network; returns the reporting rates (S,) it begins with."""
        self._normalise(net)
        if self.surveys is None or not self.surveys.teaches_area:
            net.area_exponent.requires_grad_(False)  # nothing would teach it
        f, gamma = np.zeros(self._spec.species), np.zeros(self._spec.species)
        if self.surveys is not None:
            f, gamma = self._start(self.surveys)
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
        if surveys is None:  # what a place is compared with
            rows = records.records.background
            set_normalisation(net, records.predictors, rows, np.zeros((len(records.predictors), 1), np.float32))
            return
        rows = np.sort(rng.permutation(np.unique(records.records.row))[:NORMALISED_BY])
        record_covariates = records.covariates(np.arange(len(records.records))).numpy()
        # as many of surveys as of records: both kinds of places are read with these constants
        shares = max(1, len(record_covariates) // len(surveys.train))
        record_covariates = np.concatenate([record_covariates, np.repeat(surveys.covariates[surveys.train], shares, 0)])
        covariates = np.zeros((len(records.predictors), 1), np.float32)
        covariates[rows] = record_covariates[rng.integers(0, len(record_covariates), len(rows))]
        set_normalisation(net, records.predictors, rows, covariates)

    def _start(self, surveys: SurveyRows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        f = cloglog(surveys.prevalence()) - START_BETA * surveys.log_ratio[surveys.train].mean()
        if self.records is None:
            return f, np.zeros(len(f))
        presences = surveys.surveys.presence[surveys.train].sum(0).astype(np.float64)
        return start_from_counts(f, presences, self.records.counts, self._family)

    def objective(self, gamma: NDArray[np.float64], device: str) -> Objective:
        """What a network minimises, from the reporting rates (S,) of `begin`."""
        surveys, records = self.surveys, self.records
        if surveys is None:
            assert records is not None
            return SiteSoftmaxObjective(records.predictors, records.records, self._spec, self._options)
        survey_objective = SurveyObjective(surveys, self._spec, self._options)
        if records is None:
            return survey_objective
        reporting = Reporting(gamma, self._family).to(device)
        places = float(surveys.surveys.place_weight[surveys.train].sum())
        return JointObjective(survey_objective, places, records, reporting, self._spec, self._options)
