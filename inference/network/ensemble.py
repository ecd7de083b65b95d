"""A trained model as prediction sees it: networks whose intensities are averaged, their calibration, their species.

The embedding of an ensemble is the members' embeddings end to end; each member's head reads its own part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cube.layers import PROBABILITY_STEPS
from cube.storage.identity import digest
from inference.calibration.calibrate import Calibration
from inference.calibration.columns import batch_columns
from inference.network.deep_sdm import DeepSDM, ModelSpec, Part
from inference.network.forest import Forest, beside_forest
from inference.training.likelihood import REFERENCE_AREA_M2, cloglog_probability

FOREST_SURVEY: Final = ("year", "log_area")  # what a forest reads of a survey, behind the columns of its place


class Ensemble(nn.Module):
    """Members of one spec, with a forest beside them where one was grown; D is the length of the joint embedding.

    The embedding of a forest is the leaf of each of its trees: the columns behind those of the networks.
    """

    slope: Tensor
    intercept: Tensor
    ceiling: Tensor
    median_area_m2: Tensor

    def __init__(
        self, spec: ModelSpec, members: int | Sequence[DeepSDM], species: Sequence[str], forest: Forest | None = None
    ) -> None:
        """Uncalibrated; `species` names the columns of the head."""
        super().__init__()
        nets = [DeepSDM(spec) for _ in range(members)] if isinstance(members, int) else list(members)
        self.spec = spec
        self.species = tuple(species)
        self.members = nn.ModuleList(nets)
        self.forest = forest
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("intercept", torch.zeros(spec.species))
        self.register_buffer("ceiling", torch.ones(spec.species))
        self.register_buffer("median_area_m2", torch.tensor(REFERENCE_AREA_M2))
        self.eval()

    @property
    def networks(self) -> list[DeepSDM]:
        """The members, typed."""
        return [cast(DeepSDM, member) for member in self.members]

    @property
    def dimension(self) -> int:
        """D, length of the joint embedding."""
        return self.network_dimension + (0 if self.forest is None else self.forest.sizes.trees)

    @property
    def network_dimension(self) -> int:
        """Length of the embeddings of the networks, which come first: members x d."""
        return self.spec.d * len(self.members)

    @property
    def fingerprint(self) -> str:
        """Of the networks: another training has another one, a new calibration has not."""
        return digest([net.species_bias.detach().cpu().numpy().tobytes() for net in self.networks])[:16]

    @property
    def beta(self) -> Tensor:
        """Coefficient of log(area / 100 m2), mean of the members'."""
        return torch.stack([net.beta for net in self.networks]).mean()

    @property
    def scale(self) -> NDArray[np.float32]:
        """(S,) probability per stored step: the species' ceiling / PROBABILITY_STEPS."""
        return (self.ceiling.cpu().numpy() / PROBABILITY_STEPS).astype(np.float32)

    def calibrate(self, calibration: Calibration) -> None:
        """Take over a calibration; every probability from now on passes through it."""
        self.slope.fill_(calibration.slope)
        self.intercept.copy_(torch.from_numpy(calibration.intercept))

    def embed_places(self, batch: Mapping[str, Tensor], log_area_ratio: Tensor | float = 0.0) -> Tensor:
        """(n, D); see `DeepSDM.embed_places`. A forest reads log(A / 100 m2), a number or (n, 1), too."""
        z = torch.cat([net.embed_places(batch) for net in self.networks], 1)
        return z if self.forest is None else self.with_leaves(z, batch_columns(batch, self.spec), batch, log_area_ratio)

    def with_leaves(
        self, z: Tensor, columns: Tensor, batch: Mapping[str, Tensor], log_area_ratio: Tensor | float = 0.0
    ) -> Tensor:
        """(n, D) embeddings `z` (n, members x d) with the leaves of the forest, where there is one.

        `columns` (n, C) of the places, the year in `batch` as `survey`, (n, 1) or (1,), and the log of their area.
        """
        if self.forest is None:
            return z
        surveys = torch.full((len(z), len(FOREST_SURVEY)), torch.nan, device=z.device)
        if "survey" in batch:
            surveys[:, 0] = batch["survey"].flatten()
        surveys[:, 1] = torch.as_tensor(log_area_ratio, device=z.device).flatten()
        return torch.cat([z, self.forest.leaves(torch.cat([columns.to(z.device), surveys], 1))], 1)

    @torch.inference_mode()
    def encode_kilometres(self, window: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Of each member; see `DeepSDM.encode_kilometres`."""
        return [net.encode_kilometres(window) for net in self.networks]

    @torch.inference_mode()
    def embed_part(
        self, tile: Mapping[str, Tensor], kilometre: Sequence[Mapping[str, Tensor]], part: Part, survey: Tensor
    ) -> Tensor:
        """(height x width, D) of a part of a window; see `DeepSDM.embed_part`."""
        return torch.cat([net.embed_part(tile, km, part, survey) for net, km in zip(self.networks, kilometre, strict=True)], 1)

    @torch.inference_mode()
    def member_heads(self, area_m2: float = REFERENCE_AREA_M2) -> tuple[Tensor, Tensor]:
        """(weight (members, S, d), bias (members, S)): a member's scores in a plot of `area_m2` are z @ weight.T + bias.

        Uncalibrated, and still to be joined to log intensities by `log_mean_intensity`.
        """
        nets = self.networks
        offset = float(np.log(area_m2 / REFERENCE_AREA_M2))
        weight = torch.stack([net.species_embedding for net in nets])
        return weight, torch.stack([net.species_bias + net.beta * offset for net in nets])

    def head(self, z: Tensor, species: slice = slice(None), log_area_ratio: Tensor | float = 0.0) -> Tensor:
        """Uncalibrated log intensities (n, s) of joint embeddings z (n, D): the log of the mean of the members' intensities.

        Per 100 m2, or with log(A / 100 m2), a number or (n, 1), in plots of A.
        """
        scores = [
            torch.addmm(net.species_bias[species], part, net.species_embedding[species].T) + net.beta * log_area_ratio
            for net, part in zip(self.networks, z[:, : self.network_dimension].split(self.spec.d, 1), strict=True)
        ]
        mean = log_mean_intensity(scores)
        if self.forest is None:
            return mean
        rate = self.forest.rate(z[:, self.network_dimension :], species)
        return beside_forest(mean, rate, self.forest.weight[species])

    def eta(
        self,
        z: Tensor,
        log_area_ratio: Tensor | float = 0.0,
        species: slice = slice(None),
        calibrated: bool = True,
    ) -> Tensor:
        """Cloglog-scale scores (n, s): f_s + beta log(A / 100 m2), calibrated; the ratio is a number or (n, 1)."""
        eta = self.head(z, species, log_area_ratio)
        return self.slope * eta + self.intercept[species] if calibrated else eta

    @torch.inference_mode()
    def probability(self, z: Tensor, area_m2: float = REFERENCE_AREA_M2, species: slice = slice(None)) -> Tensor:
        """(n, s) calibrated occurrence probabilities in a plot of `area_m2` at joint embeddings z (n, D)."""
        return cloglog_probability(self.eta(z, float(np.log(area_m2 / REFERENCE_AREA_M2)), species))


def log_mean_intensity(scores: Sequence[Tensor]) -> Tensor:
    """log of the mean of exp(scores) over members, each of any one shape.

    The mean of the logarithms would be lower wherever members disagree (Jensen), most for rare species.
    """
    total = scores[0]
    for more in scores[1:]:
        total = torch.logaddexp(total, more)
    return total - math.log(len(scores))


def survey_covariates(year: float) -> Tensor:
    """(1,) the year, the `survey` input of a window."""
    return torch.tensor([year], dtype=torch.float32)
