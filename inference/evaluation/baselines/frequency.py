"""How often a species was found in a region, whatever the predictors say: the least that a model must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.evaluation.baselines.scores import Flags, Scores, Table


@dataclass(frozen=True)
class Frequency:
    """Share of presences by region, shrunk to the share of the whole as if `strength` surveys more had shown it.

    The table has one column, the number of the region (biogeographic region, spatial block); NaN and regions without a
    survey take the share of the whole. That is the mean of a beta posterior whose prior is centred on the whole.
    """

    strength: float = 10.0

    def __call__(self, table: Table, target: Flags, query: Table, seed: int) -> Scores:
        """See `scores.Fit`; `seed` changes nothing."""
        overall_frequency = float(target.mean())
        regions = table[:, 0]
        score = np.full(len(query), overall_frequency)
        for region in np.unique(regions[np.isfinite(regions)]):
            presences_in_region = target[regions == region]
            score[query[:, 0] == region] = (presences_in_region.sum() + self.strength * overall_frequency) / (
                len(presences_in_region) + self.strength
            )
        return score.astype(np.float32)
