"""Records against sites: where each species was noted, given the sites that could have been visited.

The likelihood of MaxEnt (a Gibbs distribution over sites, Phillips et al. 2006), which is that of an inhomogeneous Poisson
process with its total profiled out (Renner and Warton 2013), but for all species by one network. A random background carries
no effort of the recorders; a target group does (Phillips et al. 2009), and so do the places of all records, from which a share
of the sites may be drawn. Surveys and other ways to read records are in `objective.py`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from inference.data.records import Records
from inference.data.samples import Predictors
from inference.network.batches import gather
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.ensemble import Ensemble
from inference.training.likelihood import site_softmax_loss
from inference.training.objective import Batch, Draw, Objective, augmented, randomness, with_noise

SITES_PER_RECORD = 2  # sites drawn beside every record of a batch
EXPONENT = 0.5  # a species' share of the loss is its number of records to this power
PASSES = 25  # in the mean through few records, by `least_steps`: with more a species' own places are learned by heart
CHUNK = 4096  # sites scored at a time


class SiteSoftmaxObjective(Objective):
    """Mean of `site_softmax_loss` over records drawn so that rare species weigh more than their numbers.

    A step draws records with replacement, a species with probability n ** EXPONENT: in proportion to records the rare
    ones would not be learned, in equal parts their few records would be learned by heart.
    """

    def __init__(self, predictors: Predictors, records: Records, spec: ModelSpec, options: TrainOptions) -> None:
        """`predictors`: of the places that `records.row` and `records.background` name.

        `options.recorded_sites` in [0, 1] is the share of sites that are places of records, of whatever species: intensities are
        then relative to a mixture of the background and of what is recorded, and the effort of recorders cancels by as much. 0 is
        the likelihood of MaxEnt.

        Raises: ModelError without a record or without background.
        """
        if not len(records) or not len(records.background):
            raise ModelError(
                f"site_softmax sets records against sites, but there are {len(records)} records and"
                f" {len(records.background)} sites of background; give both."
            )
        records.check(spec.species, len(predictors))
        self._predictors, self._records, self._spec, self._options = predictors, records, spec, options
        self._size = min(options.batch, len(records))
        sites = min(SITES_PER_RECORD * options.batch, len(records.background))
        self._record_sites = round(options.recorded_sites * sites)
        self._sites = sites - self._record_sites
        counts = np.bincount(records.species, minlength=spec.species)
        share = np.power(counts, EXPONENT - 1.0, where=counts > 0, out=np.zeros(len(counts)))[records.species]
        self._weight = torch.from_numpy(np.cumsum(share if records.weight is None else share * records.weight))

    @property
    def steps_per_epoch(self) -> int:
        """Draws after which as many records were seen as there are."""
        return len(self._records) // self._size

    @property
    def most_steps(self) -> int:
        """Steps of `PASSES` passes through the records."""
        return -(-PASSES * len(self._records) // self._size)

    def draw(self, generator: torch.Generator) -> Draw:
        """Numbers of records, then positions in the background, then numbers of the records whose places are sites."""
        at = torch.rand(self._size, generator=generator, dtype=torch.float64) * self._weight[-1]
        records = torch.searchsorted(self._weight, at, right=True).clamp(max=len(self._records) - 1)
        sites = torch.randint(len(self._records.background), (self._sites,), generator=generator)
        record_sites = torch.randint(len(self._records), (self._record_sites,), generator=generator)
        rows = torch.cat([records, sites, record_sites]).numpy()
        return Draw(rows, *randomness(len(rows), self._predictors, self._spec, self._options, generator))

    def load(self, draw: Draw) -> Batch:
        """Predictors of both, and whose the records are."""
        numbers, sites, record_sites = np.split(draw.rows, [self._size, self._size + self._sites])
        row = self._records.row
        places = np.concatenate([row[numbers], self._records.background[sites], row[record_sites]])
        batch = augmented(gather(self._predictors, places, self._spec.modalities), draw)
        return batch | {"species": torch.from_numpy(self._records.species[numbers].astype(np.int64))}

    def loss(self, net: DeepSDM, batch: Batch) -> Tensor:
        """Mean over the records of a batch."""
        batch = with_noise(net, batch, self._options.coarse_noise)
        f = net(batch, batch.get("keep")).float()
        records = len(batch["species"])
        return site_softmax_loss(f[:records], batch["species"], f[records:]).mean()


@torch.inference_mode()
def set_level(ensemble: Ensemble, predictors: Predictors, background: NDArray[np.int64]) -> None:
    """Shift the species of an ensemble so that an intensity of 1 is that of a typical place of their records.

    The scale of MaxEnt's cloglog output (Phillips et al. 2017, doi:10.1111/ecog.03049): intensities over the `background` (rows
    of `predictors`) are shares that sum to 1, and are multiplied by the exponential of their entropy.
    """
    parts = []
    for start in range(0, len(background), CHUNK):
        batch = gather(predictors, background[start : start + CHUNK], ensemble.spec.modalities)
        parts.append(ensemble.head(ensemble.embed_places(batch)))
    f = torch.cat(parts).double()
    total = torch.logsumexp(f, 0)
    level = total + ((f - total).exp() * (f - total)).sum(0)  # log of the sum, less the entropy of the shares
    for net in ensemble.networks:
        net.species_bias.sub_(level.to(net.species_bias.dtype))
