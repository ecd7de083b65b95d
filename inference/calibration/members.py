"""How far the members of an ensemble disagree: the part of a prediction's uncertainty that more data would remove.

Members differ by their random start, the order of their data and the fold that they left out.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from inference.network.ensemble import Ensemble
from inference.network.forest import Forest, beside_forest
from inference.training.likelihood import REFERENCE_AREA_M2, cloglog_probability

SPREAD_SPECIES: Final = 64  # species, the commonest: rarer ones hardly move the measure, and 10,000 of each member cost too much
ROWS: Final = 2_048


def common_species(ensemble: Ensemble, count: int = SPREAD_SPECIES) -> Tensor:
    """(w,) columns of the species whose log intensity is highest at the middle of the embedding, ascending."""
    bias = torch.stack([net.species_bias.detach() for net in ensemble.networks]).mean(0) * ensemble.slope + ensemble.intercept
    return bias.topk(min(count, len(bias))).indices.sort().values


def forest_of(ensemble: Ensemble, species: Tensor) -> Forest | None:
    """The forest of an ensemble with `species` (w,) alone, None without one: going through all shares takes seconds."""
    return None if ensemble.forest is None else ensemble.forest.of_species(species)


@torch.inference_mode()
def member_spread(
    ensemble: Ensemble, z: Tensor, species: Tensor, area_m2: float = REFERENCE_AREA_M2, forest: Forest | None = None
) -> Tensor:
    """(n,) relative spread of probabilities between members at joint embeddings z (n, D), in 0..sqrt(members - 1).

    Over the `species` (w,) columns: the sum of the standard deviations (of the members, not of their mean) of a species'
    calibrated probability over the sum of its means: 0.1 says that a probability of 0.3 is 0.3 +- 0.03 for the members.
    Beside a forest each member is joined to it, as their mean is; `forest` is `forest_of` these species, where it is there.
    0 with one member.
    """
    weights, biases = (values[:, species] for values in ensemble.member_heads(area_m2))
    slope = ensemble.slope.expand(len(ensemble.intercept))[species]  # one for all species, or one each
    intercept = ensemble.intercept[species]
    d = ensemble.spec.d
    forest = forest_of(ensemble, species) if forest is None else forest
    out = torch.empty(len(z), device=z.device)
    for start in range(0, len(z), ROWS):
        rows = slice(start, start + ROWS)
        first = torch.zeros(len(z[rows]), len(species), device=z.device)
        second = torch.zeros_like(first)
        rate = torch.zeros(()) if forest is None else forest.rate(z[rows, ensemble.network_dimension :])
        for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            scores = torch.addmm(bias, z[rows, k * d : (k + 1) * d], weight.T)
            if forest is not None:
                scores = beside_forest(scores, rate, forest.weight)
            p = cloglog_probability(slope * scores + intercept)
            first += p
            second += p.square()
        mean = first / len(weights)
        deviation = (second / len(weights) - mean.square()).clamp(min=0).sqrt()
        out[rows] = deviation.sum(1) / mean.sum(1).clamp(min=1e-12)
    return out
