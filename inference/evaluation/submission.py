"""Files of predictions in the form that GeoLifeCLEF takes on Kaggle: a survey a row, its species as numbers.

`surveyId,predictions` and then `5000108,1 2 10111`: the form of the competitions of 2024 and 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cube.errors import TableError
from inference.evaluation.species_sets import predicted_size

HEADER = ("surveyId", "predictions")


def write_submission(
    path: Path,
    surveys: Sequence[int] | NDArray[np.integer],
    species_ids: NDArray[np.integer],
    p: NDArray[np.floating],
    size: int | NDArray[np.integer] | None = None,
    rows: int = 1024,
) -> Path:
    """Write the most probable species of every survey, most probable first.

    `surveys` (n,) ids, `species_ids` (S,) numbers of the columns of p (n, S). `size`: species in each set, one number or
    (n,); None: what maximises the expected F1. Goes by `rows` surveys; the file is there whole or not at all.
    Raises `TableError` for surveys given twice or ids that do not match p: Kaggle would refuse the file.
    """
    ids = np.asarray(surveys, np.int64)
    if len(np.unique(ids)) != len(ids):
        raise TableError(f"{path}: a survey stands in it twice; a submission has one row a survey.")
    if p.shape != (len(ids), len(species_ids)):
        raise TableError(f"{path}: probabilities of shape {p.shape} for {len(ids)} surveys and {len(species_ids)} species.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(HEADER) + "\n")
        for start in range(0, len(ids), rows):
            part = np.asarray(p[start : start + rows])
            k = predicted_size(part) if size is None else np.broadcast_to(size, (len(ids),))[start : start + rows]
            order = np.argsort(-part, axis=1, kind="stable")
            for survey, ranked, count in zip(ids[start : start + rows], order, k, strict=True):
                file.write(f"{survey},{' '.join(map(str, species_ids[ranked[:count]]))}\n")
    partial.replace(path)
    return path


def membership(
    lists: Sequence[NDArray[np.integer]], species_ids: NDArray[np.integer]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(presence (n, S), species of each list that no column stands for (n,)) of lists of species ids.

    An id beyond the label space is counted, never an index: it is a species that no set of the model can hold.
    """
    order = np.argsort(species_ids)
    ranked = np.asarray(species_ids)[order]
    presence = np.zeros((len(lists), len(species_ids)), bool)
    unseen = np.zeros(len(lists), np.int64)
    for row, ids in enumerate(lists):
        wanted = np.unique(ids)
        at = np.minimum(np.searchsorted(ranked, wanted), len(ranked) - 1)
        has_column = ranked[at] == wanted
        presence[row, order[at[has_column]]] = True
        unseen[row] = int((~has_column).sum())
    return presence, unseen
