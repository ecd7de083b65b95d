"""Predictors and surveys refuse arrays that do not belong together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cube.errors import TableError
from inference.data.samples import Predictors, Surveys


@pytest.fixture
def predictors() -> Predictors:
    return Predictors(
        {"landsat": np.zeros((5, 6, 84), np.float32), "table_1km": np.array([[0.0], [10.0], [np.nan]], np.float32)},
        table_1km_names=("bio1",),
        corner=np.array([[0, 0, 1, 1], [0, 1, 2, 2], [2, 2, 2, 2], [1, 1, 1, 1], [0, 1, 0, 1]]),
        weight=np.full((5, 4), 0.25, np.float32),
    )


def test_interpolation_leaves_missing_corners_out(predictors):
    assert predictors.interpolated("table_1km").ravel().tolist() == pytest.approx([5, 5, np.nan, 10, 5], nan_ok=True)
    assert predictors.interpolated("climate") is None


def test_subset_keeps_places_and_their_kilometre_cells(predictors):
    part = predictors.subset(np.array([3, 0]))
    assert len(part) == 2
    assert part.interpolated("table_1km").ravel().tolist() == [10, 5]
    assert len(predictors.subset(np.array([True, False, True, False, False]))) == 2


def test_modalities_name_what_is_there(predictors):
    assert predictors.modalities == ("landsat", "table_1km")
    assert predictors.without("landsat").modalities == ("table_1km",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"landsat": np.zeros((4, 6, 84), np.float32)}, "disagree on the number of places"),
        ({"landsat": np.zeros((5, 6), np.float32)}, "2 axes"),
        ({"table_1km_names": ()}, "0 names"),
        ({"corner": None}, "need 'corner'"),
        ({"corner": np.full((5, 4), 3)}, "outside the 3 cells"),
        ({"climate": np.zeros((4, 4, 228), np.float32)}, "disagree on the number of 1 km cells"),
        ({"satellite": np.zeros((5, 4, 15, 20), np.float32)}, "not square"),
    ],
)
def test_what_does_not_belong_together_is_refused(predictors, change, message):
    with pytest.raises(TableError, match=message):
        replace(predictors, **change) if change.keys() <= {"table_1km_names", "corner"} else predictors.with_values(change)
    with pytest.raises(TableError, match="no modality"):
        Predictors({})


def test_surveys_are_checked_and_cut():
    n = 3
    surveys = Surveys(
        np.eye(3, dtype=bool),
        np.ones(n, np.float32),
        np.ones(n, np.float32),
        np.array([7, 7, 9]),
        np.zeros(n),
        np.zeros(n),
        ("a", "b", "c"),
    )
    assert surveys.subset(np.array([1])).presence.tolist() == [[False, True, False]]
    assert surveys.place_weight.tolist() == [0.5, 0.5, 1]
    with pytest.raises(TableError, match="'year'"):
        replace(surveys, year=np.ones(2, np.float32))
    with pytest.raises(TableError, match="2 species"):
        replace(surveys, species=("a", "b"))
    with pytest.raises(TableError, match="not finite"):
        replace(surveys, x=np.array([0, np.nan, 1]))
