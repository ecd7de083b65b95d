"""The area of applicability (Meyer and Pebesma 2021): how unlike its training data a cell is, for what it has of the inputs.

Two spaces, since each is blind to something: the inputs, scaled and weighed by their importance, know what is new even where
the network ignores it; the embedding, in the metric of the species' responses, knows new combinations and pictures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.calibration.columns import column_names, place_columns, window_columns
from inference.calibration.dissimilarity import Space, choose_references, fit_space, index_of
from inference.data.kilometres import CELLS_PER_KM
from inference.data.samples import Predictors
from inference.network.batches import gather
from inference.network.deep_sdm import Part
from inference.network.ensemble import Ensemble
from inference.network.tensors import model_errors, read_tensors, write_tensors

REFERENCES: Final = 500
AXES: Final = 32  # of the embedding, those along which species' responses vary most
FEWEST: Final = 20  # references that have all of a mask's modalities
TENSORS: Final = "applicability.safetensors"
CARD: Final = "applicability.json"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Applicability:
    """Reference places in two spaces, for every set of modalities that a cell may have.

    A mask is the sum of 2^i over the modalities i that a cell has; a mask of which the training data tell nothing is absent.
    """

    modalities: tuple[str, ...]  # of the model, without the survey's own
    column_modality: tuple[str, ...]  # (C,)
    centre: Floats  # (C,) mean of the training places
    scale: Floats  # (C,) importance over standard deviation
    axes: Floats  # (D, k): distance along them is the root mean square difference of species' scores
    inputs: Mapping[int, Space]
    embedding: Mapping[int, Space]

    def scaled(self, columns: Tensor, mask: int | None = None) -> Tensor:
        """(n, C) columns in the units of the input space, NaN where missing; 0 outside the modalities of `mask` (all).

        A column without importance is 0 whatever it holds: nothing is missed without it.
        """
        centre, scale = (torch.from_numpy(a).to(columns.device) for a in (self.centre, self.scale))
        counts = self.scale > 0
        if mask is not None:
            present = {m for i, m in enumerate(self.modalities) if mask >> i & 1}
            counts = counts & np.array([m in present for m in self.column_modality], bool)
        return torch.where(torch.from_numpy(counts).to(columns.device), (columns - centre) * scale, 0.0)

    def ratio(self, columns: Tensor, z: Tensor, mask: Tensor) -> Tensor:
        """(n,) dissimilarity over its threshold, the greater of both spaces: up to 1 a place is within the area.

        `columns` (n, C) of `columns.window_columns`, `z` (n, D) embeddings, `mask` (n,) of `masks_of`. NaN where the
        training data tell nothing of a place's modalities, or lie in one block.
        """
        out = torch.full((len(columns),), torch.nan, device=columns.device)
        axes = torch.from_numpy(self.axes).to(z.device)
        for value in mask.unique().tolist():
            if value not in self.inputs:
                continue
            uniform = bool((mask == value).all())
            rows = slice(None) if uniform else torch.nonzero(mask == value)[:, 0]
            inputs = index_of(self.inputs[value], self.scaled(columns[rows], value)) / self.inputs[value].threshold
            embedding = index_of(self.embedding[value], z[rows, : len(axes)] @ axes) / self.embedding[value].threshold
            finite = np.isfinite([self.inputs[value].threshold, self.embedding[value].threshold]).all()
            out[rows] = torch.maximum(inputs, embedding) if finite else torch.nan
        return out


def masks_of(modalities: tuple[str, ...], present: Mapping[str, Tensor | bool], count: int) -> Tensor:
    """(count,) masks of places from which of them have each modality: (count,) bool, or one for all; absent: none has."""
    mask = torch.zeros(count, dtype=torch.int64)
    for i, modality in enumerate(modalities):
        mask += torch.as_tensor(present.get(modality, False)).to("cpu", torch.int64) << i
    return mask


def present_in(modalities: tuple[str, ...], column_modality: tuple[str, ...], columns: Tensor) -> dict[str, Tensor]:
    """(n,) of each modality: whether any of its columns holds a value."""
    finite = torch.isfinite(columns)
    column_modalities = np.asarray(column_modality)
    return {m: finite[:, torch.from_numpy(np.flatnonzero(column_modalities == m))].any(1) for m in modalities}


def fit_applicability(
    ensemble: Ensemble,
    predictors: Predictors,
    covariates: Floats,
    block: NDArray[np.int64],
    importance: Floats,
    references: int = REFERENCES,
    seed: int = 0,
    fold: NDArray[np.int64] | None = None,
) -> Applicability:
    """The area of applicability of an ensemble from its training places.

    `predictors` (n), `covariates` (n, 1) of `batches.covariates_of`, `block` (n,) spatial block of each; `importance` (C,)
    of each column (`columns.column_names`), what is negative counts as none. `fold` (n,): that members of the ensemble left out;
    the threshold is of distances to the nearest reference of another fold (without folds, of another block).
    """
    fold = block if fold is None else fold
    spec = ensemble.spec
    modalities = tuple(m for m in spec.modalities if m != "survey")
    of_column, _ = column_names(spec)
    columns = place_columns(predictors, spec)
    finite = np.ma.masked_invalid(columns)
    centre, std = finite.mean(0).filled(np.nan), finite.std(0).filled(np.nan)
    weight = np.maximum(importance, 0.0)
    weight = weight / weight.mean() if weight.any() else np.ones_like(weight)
    scale = np.where(np.isfinite(std) & (std > 1e-9), weight / np.maximum(std, 1e-9), 0.0)
    rows = choose_references(block, references, seed)
    applicability = Applicability(
        modalities, of_column, np.nan_to_num(centre).astype(np.float32), scale.astype(np.float32), _axes(ensemble), {}, {}
    )
    sample_columns = torch.from_numpy(columns[rows])
    present = present_in(modalities, of_column, sample_columns)
    parts = _encoded(ensemble, predictors, covariates, rows)
    inputs, embedding = {}, {}
    for mask in _masks(len(modalities)):
        names = [m for i, m in enumerate(modalities) if mask >> i & 1]
        complete_rows = np.flatnonzero(np.stack([present[m].numpy() for m in names]).all(0))
        if len(complete_rows) < FEWEST:
            continue
        inputs[mask] = fit_space(applicability.scaled(sample_columns[complete_rows], mask).numpy(), fold[rows[complete_rows]])
        embedding[mask] = fit_space(_fused(ensemble, parts, complete_rows, names) @ applicability.axes, fold[rows[complete_rows]])
    return Applicability(modalities, of_column, applicability.centre, applicability.scale, applicability.axes, inputs, embedding)


def _masks(count: int) -> list[int]:
    """Every set of modalities but the empty one."""
    return [sum(1 << i for i in subset) for k in range(1, count + 1) for subset in combinations(range(count), k)]


@torch.inference_mode()
def _axes(ensemble: Ensemble) -> Floats:
    """(D, k) leading axes of the heads' metric W'W / S: |z A - z' A| is the root mean square difference of mean scores."""
    weight = torch.cat([net.species_embedding for net in ensemble.networks], 1) / len(ensemble.networks)
    metric = (weight.T @ weight).double() / len(weight)
    values, vectors = torch.linalg.eigh(metric)
    top = slice(-min(AXES, len(values)), None)
    return (vectors[:, top] * values[top].clamp(min=0).sqrt()).float().numpy()


@torch.inference_mode()
def _encoded(
    ensemble: Ensemble, predictors: Predictors, covariates: Floats, rows: NDArray[np.int64], batch: int = 256
) -> list[dict[str, Tensor]]:
    """Encoded modalities of some places, one dictionary a member: encoded once, fused for every mask."""
    out: list[dict[str, list[Tensor]]] = [{} for _ in ensemble.networks]
    for start in range(0, len(rows), batch):
        values = gather(predictors, rows[start : start + batch], ensemble.spec.modalities, covariates)
        for member_parts, net in zip(out, ensemble.networks, strict=True):
            for name, part in net.encode_places(values).items():
                member_parts.setdefault(name, []).append(part)
    return [{name: torch.cat(chunks) for name, chunks in member_parts.items()} for member_parts in out]


@torch.inference_mode()
def _fused(ensemble: Ensemble, parts: list[dict[str, Tensor]], column_indices: NDArray[np.int64], names: list[str]) -> Floats:
    """(r, D) joint embeddings of places with the modalities `names` and the survey's own alone."""
    index = torch.from_numpy(column_indices)
    selected_parts = [{n: p[index] for n, p in part.items() if n in (*names, "survey")} for part in parts]
    return torch.cat([net.fuse_places(p) for net, p in zip(ensemble.networks, selected_parts, strict=True)], 1).numpy()


@torch.inference_mode()
def dissimilarity_of_part(
    area: Applicability,
    ensemble: Ensemble,
    tile: Mapping[str, Tensor],
    kilometre: Mapping[str, Tensor],
    part: Part,
    z: Tensor,
    modality_flags: Tensor,
) -> Tensor:
    """(m,) dissimilarity over its threshold (`Applicability.ratio`) of the `modality_flags` cells of a part of a unit.

    `tile`: the part's own modalities as `Part.cut` cuts them; `kilometre`: series of 1 km (C, steps, k + 2, k + 2) and table_1km
    (W, k + 2, k + 2) of the whole unit, in physical units; `z` (m, D) embeddings and `modality_flags` (m,) flat indices
    into the part. Corners and sides of a part lie on whole kilometres.
    """
    spec = ensemble.spec
    columns = columns_of_part(ensemble, tile, kilometre, part)[modality_flags]
    present = present_in(area.modalities, area.column_modality, columns)
    for name in spec.images:
        if name in tile and not bool(torch.isfinite(tile[name]).all()):
            # a cell without pixels of its own is still seen by its neighbours', as far as the network looks
            encoder = cast(Any, ensemble.networks[0].encoders[name])
            present[name] = encoder.present(tile[name][None]).reshape(-1)[modality_flags]
    return area.ratio(columns, z, masks_of(area.modalities, present, len(columns)))


def columns_of_part(ensemble: Ensemble, tile: Mapping[str, Tensor], kilometre: Mapping[str, Tensor], part: Part) -> Tensor:
    """(cells, C) columns of all cells of a part of a unit, row by row; arguments as in `dissimilarity_of_part`."""
    window = dict(tile)
    top, left, height, width = (edge // CELLS_PER_KM for edge in (part.top, part.left, part.height, part.width))
    for name in ensemble.spec.kilometres:
        if name in kilometre:
            window[name] = kilometre[name][..., top : top + height + 2, left : left + width + 2]
    return window_columns(window, ensemble.spec, part.height, part.width)


def save_applicability(folder: Path, area: Applicability) -> None:
    """Write `applicability.safetensors` and `applicability.json` into a model folder."""
    tensors = {"centre": area.centre, "scale": area.scale, "axes": area.axes}
    masks = []
    for mask, space in area.inputs.items():
        tensors |= {f"inputs.{mask}": space.points, f"embedding.{mask}": area.embedding[mask].points}
        names = [m for i, m in enumerate(area.modalities) if mask >> i & 1]
        masks.append(
            {
                "mask": mask,
                "modalities": names,
                **{
                    key: {"mean_distance": s.mean_distance, "threshold": s.threshold if np.isfinite(s.threshold) else None}
                    for key, s in (("inputs", space), ("embedding", area.embedding[mask]))
                },
            }
        )
    write_tensors(folder / TENSORS, {name: np.ascontiguousarray(a) for name, a in tensors.items()})
    document = {
        "method": "dissimilarity index of Meyer and Pebesma 2021, doi:10.1111/2041-210X.13650",
        "modalities": area.modalities,
        "columns": area.column_modality,
        "masks": masks,
    }
    (folder / CARD).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load_applicability(folder: Path) -> Applicability | None:
    """The area of applicability of a model folder; None where it has none. Raises: ModelError for a damaged one."""
    if not (folder / CARD).is_file():
        return None
    with model_errors(folder / CARD):
        document: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        tensors = read_tensors(folder / TENSORS)
        spaces: dict[str, dict[int, Space]] = {"inputs": {}, "embedding": {}}
        for row in document["masks"]:
            for key, into in spaces.items():
                threshold = row[key]["threshold"]
                into[int(row["mask"])] = Space(
                    tensors[f"{key}.{row['mask']}"], float(row[key]["mean_distance"]), np.inf if threshold is None else threshold
                )
        return Applicability(
            tuple(document["modalities"]),
            tuple(document["columns"]),
            tensors["centre"],
            tensors["scale"],
            tensors["axes"],
            spaces["inputs"],
            spaces["embedding"],
        )
