"""What a unit's tiles tell beside the species: how unlike the training data each cell is. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from inference.calibration.applicability import Applicability, masks_of, present_in
from inference.calibration.columns import window_columns
from inference.data.kilometres import CELLS_PER_KM
from inference.network.deep_sdm import Part
from inference.network.ensemble import Ensemble


@torch.inference_mode()
def dissimilarity_of_part(
    area: Applicability, ensemble: Ensemble, tile: Mapping[str, Tensor], kilometre: Mapping[str, Tensor], part: Part,
    z: Tensor, chosen: Tensor,
) -> Tensor:  # fmt: skip
    """(m,) dissimilarity over its threshold (`Applicability.ratio`) of the `chosen` cells of a square part of a unit.

    `tile`: the part's own modalities as `Part.of` cuts them; `kilometre`: series of 1 km (C, steps, k + 2, k + 2) and coarse
    (W, k + 2, k + 2) of the whole unit, in physical units; `z` (m, D) embeddings and `chosen` (m,) flat indices
    into the part. Corners and sides of a part lie on whole kilometres.
    """
    spec = ensemble.spec
    window = dict(tile)
    top, left, side = part.top // CELLS_PER_KM, part.left // CELLS_PER_KM, part.height // CELLS_PER_KM + 2
    for name in spec.kilometres:
        if name in kilometre:
            window[name] = kilometre[name][..., top : top + side, left : left + side]
    columns = window_columns(window, spec, part.height)[chosen]
    present = present_in(area.modalities, area.column_modality, columns)
    for name in spec.images:
        if name in window and not bool(torch.isfinite(window[name]).all()):
            # a cell without pixels of its own is still seen by its neighbours', as far as the network looks
            encoder = cast(Any, ensemble.networks[0].encoders[name])
            present[name] = encoder.present(window[name][None]).reshape(-1)[chosen]
    return area.ratio(columns, z, masks_of(area.modalities, present, len(columns)))
