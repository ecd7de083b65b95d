"""Places encoded once: questions that change one modality encode that one anew and join it to the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.calibration.columns import modality_columns
from inference.data.samples import Predictors
from inference.network.batches import covariates_of, gather
from inference.network.ensemble import Ensemble
from inference.training.likelihood import clean_areas, cloglog_probability

BATCH = 256
Parts = list[dict[str, Tensor]]  # encoded modalities (n, d), one dictionary a member; last the columns that a forest reads


@dataclass(frozen=True)
class Encoded:
    """An ensemble, some places with the year and area of their surveys, and their encoded modalities."""

    ensemble: Ensemble
    predictors: Predictors
    covariates: NDArray[np.float32]  # (n, 1) of `covariates_of`
    log_ratio: NDArray[np.float32]  # (n,) log(area / 100 m2)
    parts: Parts

    @classmethod
    def encode_all(
        cls, ensemble: Ensemble, predictors: Predictors, year: NDArray[np.floating], area_m2: NDArray[np.floating]
    ) -> Encoded:
        """Encode every modality of the model at all places (n)."""
        log_ratio = clean_areas(area_m2, ensemble.median_area_m2.item()).log_ratio
        places = cls(ensemble, predictors, covariates_of(year), log_ratio, [])
        return replace(places, parts=places.encode(ensemble.spec.modalities))

    def __len__(self) -> int:
        """Number of places."""
        return len(self.predictors)

    def channel_axis(self, modality: str) -> int:
        """The axis of channels of the inputs of a modality: behind places, and at 1 km behind the four cells around them."""
        return 2 if self.predictors.at_kilometres(modality) else 1

    def batches(self, modality: str) -> Iterator[dict[str, Tensor]]:
        """The inputs of one modality, batch by batch; those at 1 km as (b, 4, ...) in `modality`, with corner and weight."""
        for start in range(0, len(self), BATCH):
            rows = np.arange(start, min(start + BATCH, len(self)))
            batch = gather(self.predictors, rows, (modality,), self.covariates)
            if self.predictors.at_kilometres(modality):
                batch[modality] = batch[modality].unflatten(0, (-1, 4))
            yield batch

    @torch.inference_mode()
    def encode(self, modalities: tuple[str, ...], inputs: Mapping[str, Tensor] | None = None) -> Parts:
        """Encoded modalities of all places; the inputs of a modality of `inputs` (n, ...) replace the places' own."""
        spec, nets, forest = self.ensemble.spec, self.ensemble.networks, self.ensemble.forest
        out: Parts = [{} for _ in range(len(nets) + (forest is not None))]
        for modality in modalities:
            chunks: list[list[Tensor]] = [[] for _ in out]
            at = 0
            for batch in self.batches(modality):
                values = batch[modality] if inputs is None else inputs[modality][at : at + len(batch[modality])]
                at += len(values)
                batch[modality] = values.flatten(0, 1) if self.predictors.at_kilometres(modality) else values
                for member_chunks, net in zip(chunks, nets, strict=False):
                    member_chunks.append(net.encode_places(batch)[modality])
                if forest is not None:
                    chunks[-1].append(values if modality == "survey" else modality_columns(batch, modality, spec))
            for part, member_chunks in zip(out, chunks, strict=True):
                part[modality] = torch.cat(member_chunks)
        return out

    def values(self, modality: str) -> Tensor:
        """(n, ...) inputs of one modality at all places, (n, 4, ...) of a 1 km one."""
        return torch.cat([batch[modality] for batch in self.batches(modality)])

    @torch.inference_mode()
    def probability(self, other_parts: Parts | None = None, species: slice = slice(None)) -> NDArray[np.float32]:
        """(n, s) calibrated probabilities, with the encoded modalities of `other_parts` in place of the places' own."""
        nets = self.ensemble.networks
        parts = self.parts if other_parts is None else [a | b for a, b in zip(self.parts, other_parts, strict=True)]
        z = torch.cat([net.fuse_places(part) for net, part in zip(nets, parts, strict=False)], 1)
        offset = torch.from_numpy(self.log_ratio)[:, None]
        if self.ensemble.forest is not None:
            columns = torch.cat([part for name, part in parts[-1].items() if name != "survey"], 1)
            z = self.ensemble.with_leaves(z, columns, parts[-1], offset)
        return cloglog_probability(self.ensemble.eta(z, offset, species)).numpy()
