"""Where people have looked: presence-only records per square kilometre, smoothed. A layer to read maps by, never a predictor.

Sensitive species are left out: a lone record of one would show its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.config import Config, Source
from cube.grid import COARSE, Region, Unit
from cube.inputs import INPUTS
from cube.layers import Layer
from cube.records.presence_only import read_records
from cube.records.traits import read_traits
from cube.storage.ledger import digest

REACH: Final = 4  # standard deviations at which the kernel ends


@dataclass(frozen=True)
class EffortReader:
    """Counts of records in 1 km cells of a rectangle that begins at (row, col) of the region's array."""

    counts: NDArray[np.int32] = field(repr=False, compare=False)
    sigma_km: float
    row: int = 0
    col: int = 0
    fingerprint: str = ""

    @property
    def source(self) -> Source | None:
        """None: it comes from `records`, not from a source."""
        return None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer `effort`."""
        return (INPUTS["effort"],)

    def depends_on(self) -> tuple[Any, ...]:
        """The counts and the kernel."""
        return ("effort", self.fingerprint, self.sigma_km)

    def near(self, unit: Unit) -> EffortReader:
        """The counts within reach of one unit."""
        pad = int(np.ceil(REACH * self.sigma_km))
        # units are counted from the corner of the grid, and so are rows of 1 km of the whole of Europe
        row, col = unit.row * unit.km - self.row, unit.col * unit.km - self.col
        top, left = max(row - pad, 0), max(col - pad, 0)
        part = self.counts[top : row + unit.km + pad, left : col + unit.km + pad].copy()
        return replace(self, counts=part, row=self.row + top, col=self.col + left)

    def read(self, region: Region, unit: Unit) -> dict[str, NDArray[Any]]:
        """Records per square kilometre (km, km) of a unit, a Gaussian mean over the known area; NaN outside the region."""
        pad = int(np.ceil(REACH * self.sigma_km))
        row, col = unit.row * unit.km - pad, unit.col * unit.km - pad
        rows, cols = np.arange(unit.km + 2 * pad) + row - self.row, np.arange(unit.km + 2 * pad) + col - self.col
        inside = ((rows >= 0) & (rows < self.counts.shape[0]))[:, None] & ((cols >= 0) & (cols < self.counts.shape[1]))[None, :]
        count = self.counts[rows.clip(0, self.counts.shape[0] - 1)][:, cols.clip(0, self.counts.shape[1] - 1)]
        known = np.where(inside & (count >= 0), 1.0, 0.0)
        mass = smoothed(known, self.sigma_km)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = smoothed(np.where(known > 0, count, 0.0), self.sigma_km) / mass
        mean = mean[pad : pad + unit.km, pad : pad + unit.km]
        return {"effort": np.where(known[pad : pad + unit.km, pad : pad + unit.km] > 0, mean, np.nan).astype(np.float32)}


def smoothed(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """A Gaussian sum of standard deviation `sigma` cells, cut at `REACH` of them; nothing lies beyond the edges."""
    reach = int(np.ceil(REACH * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        values = np.apply_along_axis(np.convolve, axis, values, kernel, "same")
    return values


def open_effort(config: Config, region: Region) -> EffortReader | None:
    """Count the records of the configuration; None where it has none or wants no such layer (`records.effort_km: null`).

    Cells that the region does not reach, in units at its edge, count -1. Raises as the readers of records do.
    """
    if config.records is None or config.records.effort_km is None:
        return None
    first = next(iter(region.units()))
    top, left = first.row * first.km, first.col * first.km
    counts = np.zeros(region.shape(COARSE), np.int32)
    west, _, _, north = region.grown_bounds
    sensitive: dict[str, bool] = {}
    for chunk in read_records(config):
        unknown = [name for name in chunk["name"].unique() if name not in sensitive]
        if unknown:
            kept = read_traits(config, config.species.traits, unknown)[0]["sensitive_km"]
            sensitive |= {name: bool(km > 0) for name, km in zip(unknown, kept, strict=True)}
        rows = chunk[~chunk["name"].map(sensitive).astype(bool)]
        row = ((north - rows["y"].to_numpy()) // COARSE).astype(np.int64)
        col = ((rows["x"].to_numpy() - west) // COARSE).astype(np.int64)
        np.add.at(counts, (row, col), 1)
    y, x = region.coordinates(COARSE)
    counts[~region.contains(x[None, :], y[:, None])] = -1
    return EffortReader(counts, config.records.effort_km, top, left, digest(counts.tobytes()))
