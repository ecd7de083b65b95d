"""The reference composition of a training region: what the distinctness of a cell (LCBD) is measured against.

Chord transformation (Orloci 1967; Legendre and Gallagher 2001): a composition is divided by its length, so a cell counts by
which species it has and not by how many. On presences and absences its squared distance is 2 (1 - Ochiai's similarity),
which Legendre and De Caceres 2013 (Table 1) list among the coefficients fit for beta diversity; and unlike Hellinger's
root it needs of a cell only sums that are kept anyway (`sums`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.errors import ModelError
from inference.network.tensors import model_errors, write_tensors

FILE = "reference.safetensors"


@dataclass(frozen=True)
class Reference:
    """Mean of the chord-transformed compositions of a region's places, and their total variance."""

    mean: NDArray[np.float32]  # (species,)
    total: float  # BD_total, in 0..1: the mean squared distance of the places to `mean`


def reference_of(composition: NDArray[Any], weight: NDArray[np.floating[Any]]) -> Reference:
    """The reference of places with `composition` (species, places), probabilities or presences, each with its `weight`.

    Places without any species are left out. `total` is Legendre and De Caceres' BD_total = SS_total / n (n, not n - 1, so
    that the mean of the places' relative LCBD is exactly 1). Raises `ModelError` if no place has a species.
    """
    y = np.asarray(composition, np.float64)
    length = np.sqrt((y**2).sum(axis=0))
    counted_surveys = (length > 0) & (weight > 0)
    if not counted_surveys.any():
        raise ModelError("a reference composition needs one place with a species at least; the training surveys have none.")
    mean = np.average(y[:, counted_surveys] / length[counted_surveys], axis=1, weights=weight[counted_surveys])
    # The mean of |y - m|^2 over unit vectors y with mean m is 1 - |m|^2.
    return Reference(mean.astype(np.float32), max(1.0 - float(mean @ mean), 0.0))


def save_reference(folder: Path, reference: Reference) -> None:
    """Write `reference.safetensors` into a model folder."""
    write_tensors(folder / FILE, {"mean": reference.mean, "total": np.array([reference.total], np.float64)})


def load_reference(folder: Path, species: int) -> Reference | None:
    """The reference of a model folder; None where it has none. Raises `ModelError` for one of other species, or damaged."""
    from safetensors.numpy import load_file

    path = folder / FILE
    if not path.is_file():
        return None
    with model_errors(path):
        tensors: Mapping[str, NDArray[Any]] = load_file(path)
        reference = Reference(np.asarray(tensors["mean"], np.float32), float(tensors["total"][0]))
    if reference.mean.shape != (species,):
        raise ModelError(f"{path}: is of {len(reference.mean)} species and the model of {species}; run `floracube train` again.")
    return reference
