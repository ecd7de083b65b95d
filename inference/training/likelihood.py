"""How surveys and records see one intensity of species: log lambda_s(x) = f_s(x) per 100 m2 in, a loss per row out.

A survey of area A sees s with p = 1 - exp(-exp(f_s + beta log(A / 100 m2))). A record says which species was noted, given
that one was: softmax over species of f_s + gamma_s; without surveys, softmax over sites of f_s. What gamma is, is `reporting.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

REFERENCE_AREA_M2: Final = 100.0
LOWEST: Final = -25.0  # exp(-25): a hundred billionth
HIGHEST: Final = 4.0  # exp(-exp(4)): certain in float32


@dataclass(frozen=True)
class Areas:
    """Areas of surveys without gaps: what was unknown took the median, and was counted."""

    log_ratio: NDArray[np.float32]  # (n,) log(area / 100 m2)
    median_m2: float
    n_filled: int


def clean_areas(area_m2: NDArray[np.floating], median_m2: float | None = None) -> Areas:
    """Areas (n,) in m2, any of them NaN, infinite, zero or negative, to log(area / 100 m2) without gaps.

    `median_m2` stands in for unknown ones (the data's own median by default, 100 m2 where none is known).
    """
    area = np.asarray(area_m2, np.float64)
    valid = np.isfinite(area) & (area > 0)
    if median_m2 is None:
        median_m2 = float(np.median(area[valid])) if valid.any() else REFERENCE_AREA_M2
    complete_area = np.where(valid, area, median_m2)
    ratio = np.log(complete_area / REFERENCE_AREA_M2).astype(np.float32)
    return Areas(ratio, median_m2, int((~valid).sum()))


def cloglog_probability(eta: Tensor) -> Tensor:
    """p = 1 - exp(-exp(eta)), any shape, in [0, 1]; exact for small p (no cancellation)."""
    return -torch.expm1(-torch.exp(eta.clamp(LOWEST, HIGHEST)))


def cloglog(p: NDArray[np.floating]) -> NDArray[np.float64]:
    """eta = log(-log(1 - p)), the inverse of `cloglog_probability`, for 0 < p < 1."""
    return np.log(-np.log1p(-np.asarray(p, np.float64)))


def survey_loss(eta: Tensor, presence: Tensor) -> Tensor:
    """Negative log likelihood of surveys, per survey and species (n, S), of eta = f_s + beta log(A / 100 m2).

    Presence costs -log p, absence lambda = exp(eta). Past HIGHEST and LOWEST the gradient is kept, linearly.
    """
    inside = eta.clamp(LOWEST, HIGHEST)
    rate = torch.exp(inside)
    # -log(1 - exp(-rate)): log(rate) - rate / 2 where rate is tiny, the stable form elsewhere
    small = rate < 1e-4
    safe = torch.where(small, 1.0, rate)
    log_p = torch.where(small, inside - rate / 2, torch.log(-torch.expm1(-safe)))
    loss = torch.where(presence > 0.5, -log_p, rate)
    excess = eta - inside
    return loss + torch.where(presence > 0.5, (-excess).clamp(min=0), excess.clamp(min=0))


def record_loss(eta: Tensor, species: Tensor) -> Tensor:
    """Negative log probability (n,) that a record is of `species` (n,), given that something was noted there.

    eta = f_s + gamma_s (n, S): lambda_s times how readily s is reported. Sampling effort, whatever drives it and however
    hidden, multiplies all species of a place alike and cancels.
    """
    return torch.nn.functional.cross_entropy(eta, species, reduction="none")


def site_softmax_loss(of_records: Tensor, species: Tensor, of_sites: Tensor) -> Tensor:
    """Negative log probability (r,) that a record fell on its own place and not on one of the sites.

    The likelihood of MaxEnt (Phillips et al. 2006): a Poisson process whose total is profiled out (Renner and Warton 2013).
    `of_records` (r, S) and `of_sites` (m, S) are log intensities f, `species` (r,) says whose record it is. The record's
    own place is one of the choices, so that 0 means certainty, and log(m + 1) that the place tells nothing. A constant
    added to a species' f cancels: records alone say where a species is more likely, not how common it is.
    """
    recorded_score = of_records.gather(1, species[:, None])[:, 0]
    return torch.logaddexp(torch.logsumexp(of_sites, 0)[species], recorded_score) - recorded_score
