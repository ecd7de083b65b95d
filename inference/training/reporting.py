"""How readily species are reported: what records need beside the intensity f_s.

gamma_s starts from counts, is shrunk towards the species' family, and is pinned down where surveys know the species too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

WITHIN: Final = 0.7  # prior standard deviation of log reporting rates within a family
BETWEEN: Final = 1.0  # and of families


def families(names: Sequence[str] | NDArray[np.generic] | None, species: int) -> NDArray[np.int64]:
    """(S,) number of each species' family; species of unknown family ('') share none and count as one each."""
    if names is None:
        return np.zeros(species, np.int64)
    family_numbers: dict[str, int] = {}
    return np.array([family_numbers.setdefault(str(n) or f"\0{i}", len(family_numbers)) for i, n in enumerate(names)], np.int64)


def start_from_counts(
    log_intensity: NDArray[np.float64],
    presences: NDArray[np.float64],
    records: NDArray[np.int64 | np.float64],
    family: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(f, gamma), log intensities per 100 m2 and log reporting rates (S,) with which training begins.

    From the log intensity of each species in surveys (S,), its presences there, and its number of records.

    What counts say of gamma, log records - f, is as uncertain as they are (variance 1 / records + 1 / presences); its mean
    given the priors of families is taken, and f is then what surveys and records together say. So a species that
    no survey saw gets the rate of its family, and its prevalence from its records.
    """
    log_records = np.log(records + 0.5)
    log_rate = log_records - log_intensity
    variance = 1 / (records + 0.5) + 1 / (presences + 0.25)
    weight = 1 / (variance + WITHIN**2)
    overall = float((weight * log_rate).sum() / weight.sum())
    total = np.bincount(family, weight)
    mean = np.bincount(family, weight * (log_rate - overall)) / (total + 1 / BETWEEN**2) + overall
    trust = WITHIN**2 / (WITHIN**2 + variance)
    gamma = mean[family] + trust * (log_rate - mean[family])
    return log_records - gamma, gamma - overall


class Reporting(nn.Module):
    """gamma_s; parameters of the training, not of the model.

    The softmax does not feel a constant added to all gamma: their mean is kept at 0, so that surveys alone say how
    common plants are.
    """

    family: Tensor

    def __init__(self, gamma: NDArray[np.floating], family: NDArray[np.int64]) -> None:
        """Start at `gamma` (S,)."""
        super().__init__()
        start = torch.from_numpy(np.asarray(gamma, np.float32))
        self.register_buffer("family", torch.from_numpy(family))
        count = int(family.max()) + 1
        size = torch.bincount(self.family, minlength=count).clamp(min=1)
        start = start - start.mean()
        self.of_family = nn.Parameter(torch.zeros(count).index_add(0, self.family, start) / size)
        self.of_species = nn.Parameter(start - self.of_family.detach()[self.family])

    @property
    def gamma(self) -> Tensor:
        """(S,) log reporting rates, mean 0."""
        gamma = self.of_family[self.family] + self.of_species
        return gamma - gamma.mean()

    def penalty(self) -> Tensor:
        """Minus the log prior (), nats: rates around their family's, families around 0."""
        families = self.of_family - self.of_family.mean()
        return self.of_species.square().sum() / (2 * WITHIN**2) + families.square().sum() / (2 * BETWEEN**2)
