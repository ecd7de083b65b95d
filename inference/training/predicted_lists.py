"""What the deep-SDM says where vegetation plots lie: the species lists that a reader will be given in the maps, and embeddings.

A predicted list is longer, surer of the common species and ordered by probability instead of cover. A reader that has seen
the lists of its labelled plots in both forms reads maps better, and plots no worse; `benchmarks/habitats.py cascade`
measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from cube.errors import ModelError
from cube.layers import RANKS
from cube.layers.inputs import SURFACE
from cube.layers.legends import LAND
from cube.storage.store import CubeStore
from inference.calibration.sets import set_size
from inference.cascade.model import load_settings
from inference.data.sampling import sample
from inference.evaluation.out_of_fold import load_out_of_fold
from inference.network import checkpoint
from inference.network.batches import embed_surveys
from inference.network.checksums import verify_checksums
from inference.network.ensemble import Ensemble
from inference.plantbert.plots import Plots
from inference.plantbert.text import binomial
from inference.training.fit import embedding_without_fold, without_fold

MAX_PLOTS: Final = 20_000  # labelled plots that are predicted for: enough to learn what predicted lists are like
PART: Final = 1_000  # plots sampled at a time, for the sake of memory


@dataclass(frozen=True)
class PredictedPlots:
    """Labelled plots as the deep-SDM sees their places: n of them."""

    plots: Plots  # with predicted lists, by the member that learned nothing in the plot's block
    embedding: NDArray[np.float32]  # (n, members x d) of all networks
    members: int
    fold: NDArray[np.int64]  # (n) the member of the deep-SDM that left the plot out
    networks: str  # fingerprint of the networks

    def __len__(self) -> int:
        """Return the number of plots."""
        return len(self.plots)

    def take(self, index: NDArray[Any]) -> PredictedPlots:
        """Return the plots at `index` (integers or a mask)."""
        return replace(self, plots=self.plots.take(index), embedding=self.embedding[index], fold=self.fold[index])

    def without_fold(self, fold: int) -> NDArray[np.float32]:
        """(n, d) embeddings of the member that learned nothing in the blocks of `fold`."""
        return np.split(self.embedding, self.members, axis=1)[fold]


def predicted_plots(
    cube: CubeStore,
    model: Path,
    plots: Plots,
    longitude: Sequence[Any] | pd.Series,
    latitude: Sequence[Any] | pd.Series,
    year: int,
    area_m2: float,
    seed: int = 0,
) -> PredictedPlots:
    """The labelled ones of `plots` with the lists that the deep-SDM in the folder `model` predicts for their cells out of fold.

    Each list is that of the member that learned nothing in the plot's block: where the network knows the surveys, its lists are
    surer than those of the maps, and the reader would learn to trust them.

    longitude, latitude (n): degrees of each plot. Lists are those of the composition layer of maps for `year` and `area_m2`
    (but that sensitive species are not spread over their squares): species by probability, as many as maximise
    expected F1; a species that the plots do not know is -1. Plots outside the region, on water, or where nothing is
    predicted are left out; of very many, `MAX_PLOTS` are drawn. Raises: ModelError where the model has no out-of-fold scores,
    or not a member for each fold.
    """
    lon, lat = (np.asarray(pd.to_numeric(degrees, errors="coerce"), float) for degrees in (longitude, latitude))
    rows = np.flatnonzero((plots.label >= 0) & np.isfinite(lon) & np.isfinite(lat))
    x, y = (np.asarray(v, float) for v in cube.region.grid.project(lon[rows], lat[rows]))
    inside = cube.region.contains(x, y)
    rows, x, y = rows[inside], x[inside], y[inside]
    row, col = cube.region.index(x, y)
    land = np.asarray(cube.array(SURFACE).vindex[row, col]) == LAND if len(rows) else np.zeros(0, bool)
    sampled_cells = np.sort(np.random.default_rng(seed).permutation(np.flatnonzero(land))[:MAX_PLOTS])
    rows, x, y = rows[sampled_cells], x[sampled_cells], y[sampled_cells]
    verify_checksums(model)
    ensemble, _ = checkpoint.load(model / "sdm")
    folds = load_out_of_fold(model).folds
    if len(ensemble.networks) != folds.count:
        raise ModelError(f"{model}: has {len(ensemble.networks)} members for {folds.count} folds; run `floracube train` again.")
    fold = folds.at(x, y)
    recipe = load_settings(model)[0]
    order, size = np.full((len(rows), min(RANKS, len(ensemble.species))), -1, np.int32), np.zeros(len(rows), np.int32)
    embedding = np.empty((len(rows), ensemble.network_dimension), np.float32)
    for start in range(0, len(rows), PART):
        part = slice(start, start + PART)
        predictors = sample(cube, recipe, x[part], y[part], ensemble.spec.receptive_field)
        same = np.ones(len(x[part]), np.float32)
        z, _ = next(embed_surveys(ensemble, predictors, same * year, same * area_m2, PART))
        embedding[part] = z[:, : ensemble.network_dimension].cpu().numpy()
        order[part], size[part] = lists_without_fold(ensemble, z, fold[part], area_m2, plots.species)
    lists = replace(plots.take(rows), order=order, size=size)
    predicted = PredictedPlots(lists, embedding, len(ensemble.networks), fold, ensemble.fingerprint)
    return predicted.take(size > 0)


def lists_without_fold(
    ensemble: Ensemble, z: Tensor, fold: NDArray[np.int64], area_m2: float, species: Sequence[str]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(order (n, K) of `species`, -1 = another; size (n)) of the lists that the member without the fold of each place predicts.

    z (n, D): embeddings of the whole ensemble; fold (n) of each place.
    """
    place = {name: i for i, name in enumerate(species)}
    species_index = np.array([place.get(binomial(name), -1) for name in ensemble.species], np.int32)
    order, size = np.full((len(z), min(RANKS, len(species_index))), -1, np.int32), np.zeros(len(z), np.int32)
    for k in np.unique(fold):
        rows = np.flatnonzero(fold == k)
        member, of_member = without_fold(ensemble, int(k)), embedding_without_fold(z[rows], ensemble, int(k))
        ranks, size[rows] = ranked_lists(member.probability(of_member, area_m2).cpu().numpy())
        order[rows] = species_index[ranks]
    return order, size


def ranked_lists(p: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """(species (n, RANKS or all) by probability, best first; how many are in the set (n)) of p (n, S)."""
    ranks = np.argsort(-p, axis=1, kind="stable")[:, :RANKS]
    return ranks, set_size(np.take_along_axis(p, ranks, axis=1), p.sum(axis=1, dtype=np.float64))
