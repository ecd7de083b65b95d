"""Response curves: the probability of a species along one input, all else as it is at the surveys (Friedman 2001).

A band shows how places differ, a rug what the surveys know: where there is no rug, the curve is the network's guess.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.evaluation.pictures import new_figure, save_figure
from inference.explanation.encoded import Encoded
from inference.network.tensors import write_tensors

POINTS: Final = 15  # along the input, from its 1st to its 99th percentile at the surveys
BAND: Final = (0.1, 0.9)  # quantiles over places
TENSORS: Final = "responses.safetensors"  # the curves of every species, of which the table and the pictures show some


@dataclass(frozen=True)
class Response:
    """Curves of one input: `grid` (g,) its values, `mean`, `lower`, `upper` (g, s) of some species, `at_surveys` (n,) a rug."""

    modality: str
    channel: str
    grid: NDArray[np.float32]
    mean: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    at_surveys: NDArray[np.float32]

    def subset(self, species: NDArray[np.int64]) -> Response:
        """The same with the curves of some species alone (columns of this one's)."""
        return replace(self, mean=self.mean[:, species], lower=self.lower[:, species], upper=self.upper[:, species])


def response(places: Encoded, modality: str, channel: str, species: NDArray[np.int64]) -> Response | None:
    """Curves of some species (columns of the ensemble) along one channel of a modality; None where it does not vary.

    A column of a table is set to each value of the grid at all places; a series or a picture is shifted as a whole, so that
    its mean takes the value and its pattern stays.
    """
    values = places.values(modality)
    spec, axis = places.ensemble.spec, places.channel_axis(modality)
    index = spec.channels(modality).index(channel)
    levels = level_of(values, axis, index)
    finite = levels[torch.isfinite(levels)].numpy()
    if not len(finite) or np.ptp(finite) == 0:
        return None
    low, high = (float(v) for v in np.quantile(finite, [0.01, 0.99]))
    grid = np.linspace(low, high, POINTS, dtype=np.float32)
    curves = []
    for value in grid:
        shifted_parts = places.encode(
            (modality,), {modality: at_level(values, axis, index, float(value), modality in spec.inputs)}
        )
        curves.append(places.probability(shifted_parts)[:, species])
    p = np.stack(curves)  # (g, n, s)
    lower, upper = np.quantile(p, BAND, axis=1)
    return Response(modality, channel, grid, p.mean(1), lower, upper, finite)


def level_of(values: Tensor, axis: int, channel: int) -> Tensor:
    """(n,) level of one channel (along `axis`) at places: its mean over pixels, steps and the 1 km cells around, NaN left out."""
    channel_values = values.select(axis, channel)
    return channel_values.flatten(1).nanmean(1) if channel_values.ndim > 1 else channel_values


def at_level(values: Tensor, axis: int, channel: int, level: float, shift_all: bool) -> Tensor:
    """The inputs with the level of one channel moved to `level` at every place; what is missing in tables is filled by it.

    A series or an image is shifted `shift_all`.
    """
    out = values.clone()
    channel_values = out.select(axis, channel)
    if shift_all:
        shift = level - level_of(values, axis, channel)
        channel_values += shift.reshape(-1, *[1] * (channel_values.ndim - 1))
    else:
        channel_values[...] = level
    return out


def write_responses(folder: Path, responses: Sequence[Response], names: Sequence[str]) -> None:
    """`responses.csv` and one picture a species, `response_<species>.png`; `names` (s,) are those of the curves' columns."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "species": name,
            "modality": r.modality,
            "input": r.channel,
            "value": float(r.grid[g]),
            "probability": float(r.mean[g, s]),
            "lower": float(r.lower[g, s]),
            "upper": float(r.upper[g, s]),
        }
        for s, name in enumerate(names)
        for r in responses
        for g in range(len(r.grid))
    ]
    columns = ["species", "modality", "input", "value", "probability", "lower", "upper"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "responses.csv", index=False)
    for s, name in enumerate(names):
        _picture(folder / f"response_{'_'.join(name.lower().split()).replace('/', '_')}.png", responses, s, name)


def save_curves(folder: Path, responses: Sequence[Response]) -> None:
    """Write `responses.safetensors`; its metadata say which modality and input each number `i` is.

    Per input `i`: `grid.i` (g,), `curves.i` (3: mean, lower, upper; g; S) and `at_surveys.i` (n,).
    """
    arrays: dict[str, NDArray[np.float32]] = {}
    for i, r in enumerate(responses):
        arrays[f"grid.{i}"] = np.asarray(r.grid, np.float32)
        arrays[f"curves.{i}"] = np.ascontiguousarray(np.stack([r.mean, r.lower, r.upper]), np.float32)
        arrays[f"at_surveys.{i}"] = np.asarray(r.at_surveys, np.float32)
    inputs = [{"modality": r.modality, "input": r.channel} for r in responses]
    write_tensors(folder / TENSORS, arrays, {"inputs": json.dumps(inputs)})


def load_curves(folder: Path) -> list[Response]:
    """The curves of every species that a training left in its folder `explanation`; none where it left none.

    Raises: OSError, or SafetensorError for a damaged file.
    """
    from safetensors import safe_open

    path = folder / TENSORS
    if not path.is_file():
        return []
    with safe_open(path, "numpy") as file:
        inputs = json.loads((file.metadata() or {}).get("inputs", "[]"))
        tensors = [[file.get_tensor(f"{name}.{i}") for name in ("grid", "curves", "at_surveys")] for i in range(len(inputs))]
    return [
        Response(response_input["modality"], response_input["input"], grid, mean, lower, upper, rug)
        for response_input, (grid, (mean, lower, upper), rug) in zip(inputs, tensors, strict=True)
    ]


def _picture(path: Path, responses: Sequence[Response], species: int, name: str) -> None:
    if not responses:
        return
    across = min(3, len(responses))
    down = -(-len(responses) // across)
    figure = new_figure(3.4 * across, 2.6 * down)
    figure.suptitle(name, style="italic")
    axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for panel in axes[len(responses) :]:
        panel.set_visible(False)
    for panel, r in zip(axes, responses, strict=False):
        panel.fill_between(r.grid, r.lower[:, species], r.upper[:, species], alpha=0.25, linewidth=0)
        panel.plot(r.grid, r.mean[:, species])
        inside = r.at_surveys[(r.at_surveys >= r.grid[0]) & (r.at_surveys <= r.grid[-1])]
        panel.plot(
            inside, np.zeros(len(inside)), "|", color="black", alpha=0.15, markersize=9, transform=panel.get_xaxis_transform()
        )
        panel.set_xlabel(r.channel, fontsize=8)
        panel.set_ylim(bottom=0)
        panel.tick_params(labelsize=7)
    axes[0].set_ylabel("probability (mean, 10-90 % of places)", fontsize=8)
    save_figure(figure, path, 130)
