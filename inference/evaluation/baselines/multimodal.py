"""The published per-patch ensemble as a baseline: learned from the surveys and patches that the network learned from.

The ensemble itself is `inference.evaluation.multimodal`; here predictors become its inputs, a batch at a time, so that
memory does not grow with surveys.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cube.errors import ModelError
from inference.data.samples import Predictors
from inference.evaluation.baselines.scores import Flags, Scores
from inference.evaluation.multimodal import EnsembleOptions, EnsembleSpec, MultimodalEnsemble, train_ensemble
from inference.network.batches import gather

NAME: Final = "multimodal"
NEEDED: Final = ("landsat", "climate", "satellite")


def patches(predictors: Predictors, rows: NDArray[np.int64]) -> dict[str, Tensor]:
    """The ensemble's inputs of some places: landsat (n, 6, 84), climate (n, 4, 228) of the place, satellite (n, 4, P, P)."""
    batch = gather(predictors, rows, NEEDED)
    if "climate" in batch:
        around = batch["climate"].reshape(len(rows), 4, *batch["climate"].shape[1:])
        batch["climate"] = (around * batch["weight"][:, :, None, None]).sum(1)
    return {name: batch[name] for name in NEEDED if name in batch}


def need_patches(predictors: Predictors) -> None:
    """Raises: ModelError where a modality of the ensemble is missing."""
    missing = [name for name in NEEDED if predictors.get(name) is None]
    if missing:
        raise ModelError(
            f"The baseline '{NAME}' needs satellite, Landsat and climate patches of every survey; missing: {', '.join(missing)}."
            " Fetch them, or leave the baseline out."
        )


def multimodal_scores(
    predictors: Predictors, presence: Flags, learned: NDArray[np.int64], query: NDArray[np.int64], options: EnsembleOptions,
    **shape: object,
) -> Scores:  # fmt: skip
    """(query, S) probabilities of an ensemble trained on the rows `learned` of `predictors` and `presence` (n, S).

    `shape` overrides fields of EnsembleSpec (tests do); the image is as large as the predictors' patches. Raises: ModelError
    where a modality is missing, or with fewer than two surveys.
    """
    need_patches(predictors)
    assert "satellite" in predictors.values
    torch.manual_seed(options.seed)
    image = tuple(int(size) for size in predictors.values["satellite"].shape[1:])
    spec = EnsembleSpec(**{"species": presence.shape[1], "image": image, **shape})  # type: ignore[arg-type]
    net = MultimodalEnsemble(spec, options.weights)
    train_ensemble(net, lambda rows: patches(predictors, learned[rows.numpy()]), torch.from_numpy(presence[learned]), options)
    out = np.empty((len(query), presence.shape[1]), np.float32)
    for start in range(0, len(query), options.batch):
        part = query[start : start + options.batch]
        batch = {name: values.to(options.device) for name, values in patches(predictors, part).items()}
        out[start : start + len(part)] = net.probability(batch).cpu().numpy()
    return out
