"""Surveys that become records say one of their species each, at their own place."""

from __future__ import annotations

import numpy as np

from benchmarks.surveys_as_records import as_records
from inference.data.samples import Surveys


def test_a_survey_becomes_a_record_of_one_of_its_species():
    rng = np.random.default_rng(0)
    presence = rng.random((300, 7)) < 0.4
    presence[5] = False
    x, y, year = rng.random(300), rng.random(300), np.arange(300, dtype=np.float32)
    surveys = Surveys(presence, np.full(300, 100, np.float32), year, np.arange(300), x, y, tuple("abcdefg"))
    records = as_records(surveys, np.arange(0, 300, 5), seed=1)
    assert set(records.row) == {int(row) for row in range(0, 300, 5) if presence[row].any()}
    assert presence[records.row, records.species].all()
    np.testing.assert_array_equal(records.x, x[records.row])
    assert len(np.unique(records.species)) == 7, "not the first species of each list"
    assert not len(records.background)
