"""What is written for Kaggle is read back as the same sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cube.errors import TableError
from inference.evaluation.benchmark import write_submission
from inference.evaluation.species_sets import predicted_size, top_set

IDS = np.array([10111, 1, 2, 540, 11254])


def test_file_has_the_form_of_the_competition(tmp_path: Path):
    p = np.array([[0.9, 0.8, 0.7, 0.01, 0.01], [0.05, 0.05, 0.05, 0.05, 0.9]], np.float32)
    path = write_submission(tmp_path / "submission.csv", [5000108, 642], IDS, p)
    assert path.read_text() == "surveyId,predictions\n5000108,10111 1 2\n642,11254\n"


def test_reading_gives_the_written_sets_back(tmp_path: Path):
    rng = np.random.default_rng(0)
    p = rng.random((37, 5)) ** 3
    surveys = rng.permutation(1000)[:37]
    table = pd.read_csv(write_submission(tmp_path / "s.csv", surveys, IDS, p, rows=10))
    np.testing.assert_array_equal(table["surveyId"], surveys)
    np.testing.assert_array_equal(_members(table), top_set(p, predicted_size(p)))


def _members(table: pd.DataFrame) -> np.ndarray:
    return np.array([np.isin(IDS, np.array(text.split(), np.int64)) for text in table["predictions"]])


def test_files_that_kaggle_would_refuse_are_told(tmp_path: Path):
    p = np.full((2, 5), 0.5)
    with pytest.raises(TableError, match="stands in it twice"):
        write_submission(tmp_path / "s.csv", [7, 7], IDS, p)
    with pytest.raises(TableError, match="for 2 surveys and 4 species"):
        write_submission(tmp_path / "s.csv", [7, 8], IDS[:4], p)
