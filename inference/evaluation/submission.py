"""Files of predictions in the form that GeoLifeCLEF takes on Kaggle: a survey a row, its species as numbers.

`surveyId,predictions` and then `5000108,1 2 10111`: the form of the competitions of 2024 and 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cube.errors import TableError
from cube.storage.local_files import write_file
from inference.evaluation.species_sets import predicted_size

HEADER = ("surveyId", "predictions")


def write_submission(
    path: Path,
    surveys: Sequence[int] | NDArray[np.integer],
    species_ids: NDArray[np.integer],
    p: NDArray[np.floating],
    rows: int = 1024,
) -> Path:
    """Write the most probable species of every survey, most probable first.

    `surveys` (n,) ids, `species_ids` (S,) numbers of the columns of p (n, S). As many species as maximise the expected F1. Goes
    by `rows` surveys; the file is there whole or not at all.
    Raises `TableError` for surveys given twice or ids that do not match p: Kaggle would refuse the file.
    """
    ids = np.asarray(surveys, np.int64)
    if len(np.unique(ids)) != len(ids):
        raise TableError(f"{path}: a survey stands in it twice; a submission has one row a survey.")
    if p.shape != (len(ids), len(species_ids)):
        raise TableError(f"{path}: probabilities of shape {p.shape} for {len(ids)} surveys and {len(species_ids)} species.")
    lines = [",".join(HEADER)]
    for start in range(0, len(ids), rows):
        part = np.asarray(p[start : start + rows])
        order = np.argsort(-part, axis=1, kind="stable")
        for survey, ranked, count in zip(ids[start : start + rows], order, predicted_size(part), strict=True):
            lines.append(f"{survey},{' '.join(map(str, species_ids[ranked[:count]]))}")
    write_file(path, ("\n".join(lines) + "\n").encode())
    return path
