"""Out-of-fold scores: what the members of an ensemble say of the surveys, or the records, that they did not learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.data.blocks import Folds
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.evaluation.record_folds import JudgedPlaces
from inference.network.batches import predict_surveys
from inference.network.ensemble import Ensemble
from inference.training.likelihood import REFERENCE_AREA_M2, clean_areas
from inference.training.site_softmax import set_level


class LeftOut:
    """The scores of what each member left out: of surveys, or without any, of records and the background they are judged with."""

    def __init__(self, folds: Folds, records: Records | None, species: int) -> None:
        """`records`: those that are judged where there are no surveys."""
        self.places = None if records is None else JudgedPlaces.draw(records, folds)
        self._fold = folds.fold if self.places is None else self.places.fold
        self.scores = np.empty((len(self._fold), species), np.float32)

    def score(
        self,
        fold: int,
        ensemble: Ensemble,
        predictors: Predictors,
        surveys: Surveys,
        train_records: Records | None,
        record_predictors: Predictors | None,
    ) -> None:
        """Fill in the scores of `fold` by the `ensemble` that did not learn from it."""
        rows = np.flatnonzero(self._fold == fold)
        if self.places is None:
            self.scores[rows] = score_surveys(ensemble, predictors, surveys, rows)
            return
        assert train_records is not None
        assert record_predictors is not None
        set_level(ensemble, record_predictors, train_records.background)
        self.scores[rows] = score_places(ensemble, record_predictors.subset(self.places.row[rows]))


def score_surveys(ensemble: Ensemble, predictors: Predictors, surveys: Surveys, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(m, S) uncalibrated scores of survey `rows` at their own years and areas."""
    ensemble.median_area_m2.fill_(clean_areas(surveys.area_m2).median_m2)
    return predict_surveys(ensemble, predictors.subset(rows), surveys.year[rows], surveys.area_m2[rows], False)


def score_places(ensemble: Ensemble, places: Predictors) -> NDArray[np.float32]:
    """(m, S) scores of places without a survey, on plots of the reference area."""
    zeros = np.zeros(len(places))
    return predict_surveys(ensemble, places, zeros, zeros + REFERENCE_AREA_M2)
