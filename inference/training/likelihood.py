"""How surveys and records see one intensity of species: log lambda_s(x) = f_s(x) per 100 m2 in, a loss per row out.

A survey of area A sees s with p = 1 - exp(-exp(f_s + beta log(A / 100 m2))). A record says which species was noted, given
that one was: softmax over species of f_s + gamma_s. The other functions are the alternatives of the literature.
What gamma is, and what else is learned of the reporting of species, is `reporting.py`.
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
MANY: Final = 6.0  # exp(6): 400 times the records of a mean place


@dataclass(frozen=True)
class Areas:
    """Areas of surveys without gaps: what was unknown took the median, and was counted."""

    log_ratio: NDArray[np.float32]  # (n,) log(area / 100 m2)
    median_m2: float
    filled: int


def clean_areas(area_m2: NDArray[np.floating], median_m2: float | None = None) -> Areas:
    """Areas (n,) in m2, any of them NaN, infinite, zero or negative, to log(area / 100 m2) without gaps.

    `median_m2` stands in for unknown ones (the data's own median by default, 100 m2 where none is known).
    """
    area = np.asarray(area_m2, np.float64)
    known = np.isfinite(area) & (area > 0)
    if median_m2 is None:
        median_m2 = float(np.median(area[known])) if known.any() else REFERENCE_AREA_M2
    filled = np.where(known, area, median_m2)
    ratio = np.log(filled / REFERENCE_AREA_M2).astype(np.float32)
    return Areas(ratio, median_m2, int((~known).sum()))


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
    beyond = eta - inside
    return loss + torch.where(presence > 0.5, (-beyond).clamp(min=0), beyond.clamp(min=0))


def record_loss(eta: Tensor, species: Tensor) -> Tensor:
    """Negative log probability (n,) that a record is of `species` (n,), given that something was noted there.

    eta = f_s + gamma_s (n, S): lambda_s times how readily s is reported. Sampling effort, whatever drives it and however
    hidden, multiplies all species of a place alike and cancels.
    """
    return torch.nn.functional.cross_entropy(eta, species, reduction="none")


def poisson_loss(eta: Tensor, species: Tensor, thinning: Tensor, quadrature: Tensor) -> Tensor:
    """Negative log likelihood (n,) of records as an inhomogeneous Poisson process thinned by effort (Fithian et al. 2015).

    eta (n, S) = f_s + gamma_s at records, `thinning` (n,) = alpha_p + delta_p z of each record's data set p, `quadrature`
    () = mean over uniform places of sum_s exp(f_s + gamma_s) sum_p exp(alpha_p + delta_p z): the records expected per
    record seen, 1 at its best since the alpha are free.
    """
    own = eta.gather(1, species[:, None])[:, 0]
    return quadrature - own - thinning


def quadrature_of(eta: Tensor, thinning: Tensor) -> Tensor:
    """The `quadrature` of `poisson_loss` from uniform places: eta (m, S), thinning (m, data sets)."""
    return _expected(torch.logsumexp(eta, 1) + torch.logsumexp(thinning, 1)).mean()


def _expected(log_records: Tensor) -> Tensor:
    """Records expected at a place, relative to a mean place: exp, and linear past MANY so that one place is never all there is.

    The slope past it stays: were it cut to 0, an intensity that once ran away would not come back.
    """
    inside = log_records.clamp(max=MANY)
    return torch.exp(inside) * (1 + log_records - inside)


def target_group_loss(eta: Tensor, species: Tensor) -> Tensor:
    """Poisson process (n,) whose quadrature are the records of all species (target group, Phillips et al. 2009).

    MaxEnt with a target-group background is this process (Renner and Warton 2013). eta (n, S) = f_s + gamma_s.
    """
    own = eta.gather(1, species[:, None])[:, 0]
    return _expected(torch.logsumexp(eta, 1)).mean() - own


def site_softmax_loss(of_records: Tensor, species: Tensor, of_sites: Tensor) -> Tensor:
    """Negative log probability (r,) that a record fell on its own place and not on one of the sites.

    The likelihood of MaxEnt (Phillips et al. 2006): a Poisson process whose total is profiled out (Renner and Warton 2013).
    `of_records` (r, S) and `of_sites` (m, S) are log intensities f, `species` (r,) says whose record it is. The record's
    own place is one of the choices, so that 0 means certainty, and log(m + 1) that the place tells nothing. A constant
    added to a species' f cancels: records alone say where a species is more likely, not how common it is.
    """
    own = of_records.gather(1, species[:, None])[:, 0]
    return torch.logaddexp(torch.logsumexp(of_sites, 0)[species], own) - own


def assume_negative_loss(eta: Tensor, species: Tensor, background: Tensor) -> Tensor:
    """ "Full assume negative" (n,) of Cole et al. 2023: who is not recorded at a record or at a random place is absent.

    eta (n, S) at records, `background` (n, S) at as many uniform places, both on the cloglog scale. A presence weighs as
    much as the S absences beside it (the paper's 2,048 is for 47,375 species). Sum over species divided by S.
    """
    count = eta.shape[1]
    own = torch.nn.functional.one_hot(species, count).to(eta.dtype)
    absent = survey_loss(eta, torch.zeros_like(eta)) * (1 - own)
    present = count * (survey_loss(eta, torch.ones_like(eta)) * own)
    elsewhere = survey_loss(background, torch.zeros_like(background))
    return (present + absent + elsewhere).sum(1) / count


def full_weighting_loss(eta: Tensor, species: Tensor, background: Tensor, share: Tensor, target_group: float = 0.8) -> Tensor:
    """ "Full weighted loss" (n,) of Zbinden et al. 2024, eq. 5, with its lambda_1 = 1 and lambda_2 = `target_group`.

    `share` (S,) of the records of each species, in (0, 1): a presence weighs 1 / share, an absence at another's record
    lambda_2 / (1 - share), an absence at a uniform place 1 - lambda_2. eta, `background`: as in `assume_negative_loss`.
    """
    count = eta.shape[1]
    own = torch.nn.functional.one_hot(species, count).to(eta.dtype)
    present = survey_loss(eta, torch.ones_like(eta)) * own / share
    absent = target_group * survey_loss(eta, torch.zeros_like(eta)) * (1 - own) / (1 - share)
    elsewhere = (1 - target_group) * survey_loss(background, torch.zeros_like(background))
    return (present + absent + elsewhere).sum(1) / count
