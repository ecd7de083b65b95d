"""The deep species distribution model: one module for single places and for whole windows of 50 m cells.

Every modality is encoded once at its own resolution; 1 km embeddings reach a place through `interpolate` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor, nn

from cube.errors import ModelError
from cube.grid import CELL
from inference.data.kilometres import weights_along
from inference.data.samples import PAPER, TABLES, Input, in_order
from inference.network.encoders import SatelliteEncoder, SeriesEncoder, TableEncoder

SURVEY_COVARIATES: Final = ("year",)  # the area of a survey is in the likelihood alone
TILE: Final = 100  # cells a side embedded at a time: divides every unit, and what lies between two layers stays in the cache


@dataclass(frozen=True)
class ModelSpec:
    """Everything that fixes the shape of a network; JSON-serialisable, kept in the checkpoint's card."""

    modalities: tuple[str, ...]
    species: int
    table_50m_names: tuple[str, ...] = ()
    table_1km_names: tuple[str, ...] = ()
    d: int = 64
    hidden: int = 128
    depth: int = 2
    width: int = 32
    dilations: tuple[int, ...] = (1, 1, 2)
    dropout: float = 0.3
    inputs: Mapping[str, Input] = field(default_factory=lambda: dict(PAPER))  # images and series by modality

    def __post_init__(self) -> None:
        """Refuse unknown or empty modalities. Raises: ModelError."""
        unknown = sorted(set(self.modalities) - {*self.inputs, *TABLES})
        if unknown or not set(self.modalities) - {"survey"}:
            raise ModelError(
                f"Model modalities {list(self.modalities)}: expected at least one of {[*self.inputs, 'table_50m', 'table_1km']}, "
                f"optionally with 'survey'{'; unknown: ' + ', '.join(unknown) if unknown else ''}."
            )

    @property
    def images(self) -> tuple[str, ...]:
        """Modalities that are images of 10 m."""
        return tuple(m for m in self.modalities if m in self.inputs and not self.inputs[m].steps)

    @property
    def series(self) -> tuple[str, ...]:
        """Modalities that are series, of 50 m or 1 km."""
        return tuple(m for m in self.modalities if m in self.inputs and self.inputs[m].steps)

    @property
    def kilometres(self) -> tuple[str, ...]:
        """Modalities that are encoded at 1 km."""
        return tuple(m for m in self.modalities if m == "table_1km" or (m in self.series and self.inputs[m].resolution == "1km"))

    def channels(self, modality: str) -> tuple[str, ...]:
        """Names of the bands, variables or columns of a modality, in the order of their axis."""
        tables = {"table_50m": self.table_50m_names, "table_1km": self.table_1km_names, "survey": SURVEY_COVARIATES}
        return tables[modality] if modality in tables else self.inputs[modality].channels

    @property
    def receptive_field(self) -> int:
        """R, side in 50 m cells of what one cell's prediction sees of the images (1 without one)."""
        return 1 + 2 * sum(self.dilations) if self.images else 1

    @property
    def halo(self) -> int:
        """Cells of margin that a window of an image needs on each side."""
        return (self.receptive_field - 1) // 2

    @property
    def reach_m(self) -> float:
        """How far in x or y, in metres, the image of a place may show another place; 0 without images.

        Half the side of the square that a cell's prediction sees, and half a cell, since a place lies anywhere in its cell.
        """
        return CELL * (self.receptive_field + 1) / 2 if self.halo else 0.0

    @property
    def patch(self) -> int:
        """P, side in 10 m pixels of the patch of one place."""
        return 5 * self.receptive_field

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; `from_json` gives the spec back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The inverse of `to_json`. Raises: ModelError for fields of another version."""
        try:
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            inputs = {name: Input(**{**each, "channels": tuple(each["channels"])}) for name, each in values["inputs"].items()}
            return cls(**{**fields, "inputs": inputs})
        except (TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"The model's spec is of another version of floracube ({error}); train again.") from error


def interpolate(embedding: Tensor, corner: Tensor, weight: Tensor) -> Tensor:
    """1 km embeddings (m, d) at places: (n, d), the weighted mean of the four cells `corner` (n, 4)."""
    return torch.einsum("nkd,nk->nd", embedding[corner], weight)


@dataclass(frozen=True)
class Part:
    """A rectangle of a window, in 50 m cells; corners lie on whole 1 km cells."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns in the window."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def pixels(self, halo: int) -> tuple[slice, slice]:
        """Rows and columns of 10 m pixels in a window with a margin of `halo` cells, whose corner is that of the margin."""
        rows, cols = self.slices
        return slice(5 * rows.start, 5 * (rows.stop + 2 * halo)), slice(5 * cols.start, 5 * (cols.stop + 2 * halo))

    def cut(self, window: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
        """The part of each 10 m and 50 m modality of a window, images with their halo of cells."""
        out = {}
        for name, values in window.items():
            if name in spec.images:
                rows, cols = self.pixels(spec.halo)
                out[name] = values[..., rows, cols]
            elif name not in spec.kilometres:
                rows, cols = self.slices
                out[name] = values[..., rows, cols]
        return out


def _interpolated(embedding: Tensor, part: Part) -> Tensor:
    """What `interpolate` gives at every cell of a part, (height x width, d), from the 1 km embeddings (k + 2, k + 2, d)."""
    along = []
    for first, count in ((part.top, part.height), (part.left, part.width)):
        weight = weights_along(first, count, embedding.shape[0])
        columns_with_weight = np.flatnonzero(weight.any(0))
        near = slice(int(columns_with_weight[0]), int(columns_with_weight[-1]) + 1)
        along.append((near, torch.from_numpy(np.ascontiguousarray(weight[:, near])).to(embedding.device)))
    (rows, down), (cols, right) = along
    between = torch.tensordot(down, embedding[rows, cols], 1)  # (height, 1 km columns, d)
    return torch.matmul(right, between).reshape(part.height * part.width, -1)


def _encoder(modality: str, spec: ModelSpec) -> nn.Module:
    """The untrained encoder of one modality."""
    count, source = len(spec.channels(modality)), spec.inputs.get(modality)
    if source is None:
        return TableEncoder(count, spec.hidden, spec.depth, spec.d, spec.dropout)
    if not source.steps:
        return SatelliteEncoder(count, spec.width, spec.dilations, spec.d, spec.dropout)
    return SeriesEncoder(count, source.steps, source.period, spec.width, spec.d, spec.dropout)


class DeepSDM(nn.Module):
    """Predictors of a cell to an embedding (d,), and embeddings to species' log intensities f_s per 100 m2."""

    def __init__(self, spec: ModelSpec) -> None:
        """A network of `spec` with random weights and neutral normalisation."""
        super().__init__()
        self.spec = spec
        # By position: under its own name a layer called `to` or `train` would hide what torch calls so.
        self.by_order = nn.ModuleList(_encoder(m, spec) for m in in_order(spec.modalities))
        self.absent = nn.ParameterList(torch.zeros(spec.d) for _ in self.by_order)
        self.fusion = nn.Sequential(
            nn.LayerNorm(spec.d),
            nn.Linear(spec.d, spec.d),
            nn.GELU(),
            nn.Dropout(spec.dropout),
            nn.Linear(spec.d, spec.d),
        )
        self.species_embedding = nn.Parameter(0.02 * torch.randn(spec.species, spec.d))
        self.species_bias = nn.Parameter(torch.full((spec.species,), -3.0))
        self.area_exponent = nn.Parameter(torch.tensor(0.2))

    @property
    def encoders(self) -> dict[str, nn.Module]:
        """Encoders by modality, in the order of `by_order` and of the vectors that stand for absent ones."""
        return dict(zip(in_order(self.spec.modalities), self.by_order, strict=True))

    @property
    def beta(self) -> Tensor:
        """Coefficient of log(area / 100 m2), in [0, 1]."""
        return self.area_exponent.clamp(0.0, 1.0)

    def _encode(self, name: str, values: Tensor) -> Tensor:
        """(n, d), the learned absent vector where a row holds no value at all."""
        encoder = cast(Any, self.encoders[name])
        embedding, present = encoder(values), encoder.present(values)
        if name in self.spec.images:  # (n, d, h, w) to (n h w, d)
            embedding = embedding.permute(0, 2, 3, 1).reshape(-1, self.spec.d)
            present = present.reshape(-1)
        return torch.where(present[:, None], embedding, self.absent[list(self.encoders).index(name)])

    def _fuse(self, parts: Mapping[str, Tensor], count: int, keep: Tensor | None) -> Tensor:
        """Sum of the modalities' embeddings (n, d), absent vectors standing in, then a residual perceptron."""
        total = torch.zeros(count, self.spec.d, device=self.species_bias.device)
        for column, name in enumerate(self.encoders):
            absent = self.absent[column]
            part = parts.get(name, absent)
            if keep is not None:
                part = torch.where(keep[:, column, None], part, absent)
            total = total + part
        return total + torch.as_tensor(self.fusion(total))

    def embed_places(self, batch: Mapping[str, Tensor], keep: Tensor | None = None) -> Tensor:
        """Embeddings (n, d) of single places.

        `batch` holds any of the images (n, C, P, P), series of 50 m (n, C, steps), table_50m (n, V), survey (n, 1: year), and
        series of 1 km (m, C, steps), table_1km (m, W) with corner (n, 4), weight (n, 4); NaN is missing.
        `keep`: (n, modalities of the spec) bool, False where training drops a modality.
        """
        return self.fuse_places(self.encode_places(batch), keep)

    def encode_places(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(n, d) of each modality of the model that a batch holds; what `fuse_places` joins, whole or in part."""
        parts = {}
        for name in self.encoders:
            if name in batch:
                embedding = self._encode(name, batch[name])
                at_kilometres = name in self.spec.kilometres
                parts[name] = interpolate(embedding, batch["corner"], batch["weight"]) if at_kilometres else embedding
        return parts

    def fuse_places(self, parts: Mapping[str, Tensor], keep: Tensor | None = None) -> Tensor:
        """Embeddings (n, d) of places whose modalities are encoded; one that is not among `parts` counts as absent.

        Raises: ModelError where none is.
        """
        if not parts:
            raise ModelError(f"None of the model's modalities {list(self.encoders)} is given.")
        return self._fuse(parts, len(next(iter(parts.values()))), keep)

    def encode_kilometres(self, window: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """1 km embeddings (k + 2, k + 2, d) of the 1 km modalities that `window` holds."""
        out = {}
        for name in self.spec.kilometres:
            if name in window:
                values = window[name]
                out[name] = self._encode(name, values.flatten(-2).movedim(-1, 0)).reshape(*values.shape[-2:], -1)
        return out

    def embed_part(
        self, tile: Mapping[str, Tensor], kilometre: Mapping[str, Tensor], part: Part, survey: Tensor | None = None
    ) -> Tensor:
        """Embeddings (height x width, d) of a part of a window, row by row.

        `tile` holds the part's own images (C, 5(height + R - 1), 5(width + R - 1)), series (C, steps, height, width) and
        table_50m (V, height, width), as `Part.cut` cuts them; `kilometre` is `encode_kilometres` of the whole window.
        """
        parts = {}
        for name, values in tile.items():
            if name in self.spec.images:
                parts[name] = self._encode(name, values[None])
            elif name in self.encoders:
                parts[name] = self._encode(name, values.flatten(-2).movedim(-1, 0))
        for name, embedding in kilometre.items():
            parts[name] = _interpolated(embedding, part)
        count = part.height * part.width
        if survey is not None and "survey" in self.encoders:
            parts["survey"] = self._encode("survey", survey[None]).expand(count, -1)
        return self._fuse(parts, count, None)

    def head(self, z: Tensor, species: slice = slice(None)) -> Tensor:
        """Log intensities f_s per 100 m2, (n, s), of embeddings z (n, d) for a slice of the species."""
        return z @ self.species_embedding[species].T + self.species_bias[species]

    def forward(self, batch: Mapping[str, Tensor], keep: Tensor | None = None) -> Tensor:
        """(n, S) log intensities f_s at places."""
        return self.head(self.embed_places(batch, keep))
