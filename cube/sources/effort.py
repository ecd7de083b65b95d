"""Where people have looked: presence-only records per square kilometre, smoothed. A layer to read maps by, never a predictor.

Sensitive species are left out: a lone record of one would show its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from cube.config import Config, Source
from cube.config.records import Trait
from cube.grid import COARSE, Region, Unit
from cube.layers import Layer
from cube.layers.inputs import INPUTS
from cube.records.geoplant.layout import find_layout
from cube.records.geoplant.metadata import metadata_tables
from cube.records.presence_only import read_records
from cube.records.traits import read_traits
from cube.storage.identity import file_identity

REACH: Final = 4  # standard deviations at which the kernel ends


@dataclass(frozen=True)
class EffortReader:
    """Counts of records in 1 km cells of a rectangle that begins at (row, col) of the region's array."""

    ALGORITHM: ClassVar[int] = 1

    sigma_km: float
    identity: Mapping[str, Any] = field(default_factory=dict)  # of the records
    counts: NDArray[np.int32] | None = field(default=None, repr=False, compare=False)  # None: nobody has counted yet
    row: int = 0
    col: int = 0
    config: Config | None = field(default=None, repr=False, compare=False)

    @property
    def source(self) -> Source | None:
        """None: it comes from `records`, not from a source."""
        return None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer `effort`."""
        return (INPUTS["effort"],)

    def depends_on(self) -> Mapping[str, Any]:
        """The tables, how they are read, and the kernel."""
        return {"records": self.identity, "sigma_km": self.sigma_km}

    def loaded(self, region: Region) -> EffortReader:
        """The same with the counts, for which every record is read once. Raises as the readers of records do."""
        if self.counts is not None or self.config is None:
            return self
        first = next(iter(region.units()))
        counts = count_records(self.config, region)
        return replace(self, counts=counts, row=first.row * first.km, col=first.col * first.km, config=None)

    def near(self, unit: Unit) -> EffortReader:
        """The counts within reach of one unit."""
        pad = int(np.ceil(REACH * self.sigma_km))
        assert self.counts is not None
        # units are counted from the corner of the grid, and so are rows of 1 km of the whole of Europe
        row, col = unit.row * unit.km - self.row, unit.col * unit.km - self.col
        top, left = max(row - pad, 0), max(col - pad, 0)
        part = self.counts[top : row + unit.km + pad, left : col + unit.km + pad].copy()
        return replace(self, counts=part, row=self.row + top, col=self.col + left)

    def memory(self, unit: Unit) -> int:
        """A handful of arrays of float64 around the unit."""
        return 80 * (unit.km + 2 * int(np.ceil(REACH * self.sigma_km))) ** 2

    def read(self, region: Region, unit: Unit) -> dict[str, NDArray[Any]]:
        """Records per square kilometre (km, km) of a unit, a Gaussian mean over the known area; NaN outside the region."""
        assert self.counts is not None
        pad = int(np.ceil(REACH * self.sigma_km))
        row, col = unit.row * unit.km - pad, unit.col * unit.km - pad
        rows, cols = np.arange(unit.km + 2 * pad) + row - self.row, np.arange(unit.km + 2 * pad) + col - self.col
        inside = ((rows >= 0) & (rows < self.counts.shape[0]))[:, None] & ((cols >= 0) & (cols < self.counts.shape[1]))[None, :]
        count = self.counts[rows.clip(0, self.counts.shape[0] - 1)][:, cols.clip(0, self.counts.shape[1] - 1)]
        valid = np.where(inside & (count >= 0), 1.0, 0.0)
        mass = smoothed(valid, self.sigma_km)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = smoothed(np.where(valid > 0, count, 0.0), self.sigma_km) / mass
        mean = mean[pad : pad + unit.km, pad : pad + unit.km]
        return {"effort": np.where(valid[pad : pad + unit.km, pad : pad + unit.km] > 0, mean, np.nan).astype(np.float32)}


def smoothed(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """A Gaussian sum of standard deviation `sigma` cells, cut at `REACH` of them; nothing lies beyond the edges."""
    reach = int(np.ceil(REACH * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        values = np.apply_along_axis(np.convolve, axis, values, kernel, "same")
    return values


def open_effort(config: Config, region: Region) -> EffortReader | None:
    """The reader of the configuration's records; None where it has none or wants no such layer (`records.effort_km: null`)."""
    if config.records is None or config.records.effort_km is None:
        return None
    return EffortReader(config.records.effort_km, _identity(config), config=config)


def _identity(config: Config) -> dict[str, Any]:
    """The tables of records and of names and sensitivity by their content, and how the configuration has them read."""
    records, species = config.records, config.species
    assert records is not None
    places = {"table": records.table, "darwin_core": records.darwin_core}
    places |= {name: part.table for name, part in (("species", species.table), ("synonyms", species.synonyms)) if part}
    places |= {f"traits {n}": trait.table for n, trait in enumerate(_sensitivity(config))}
    files = {name: file_identity(config.source_path(place)) for name, place in places.items() if place is not None}
    if records.geoplant is not None:
        tables = metadata_tables(find_layout(config.source_path(records.geoplant)), "PO", records.splits)
        files["geoplant"] = [file_identity(str(table.path)) for table in tables]
    ignored_keys = {"table", "geoplant", "darwin_core", "effort_km"}
    return {
        "files": files,
        "records": records.model_dump(mode="json", exclude=ignored_keys),
        "species": {
            "table": species.table.model_dump(exclude={"table"}) if species.table else None,
            "synonyms": species.synonyms.model_dump(exclude={"table"}) if species.synonyms else None,
            "traits": [trait.model_dump(exclude={"table"}) for trait in _sensitivity(config)],
        },
    }


def _sensitivity(config: Config) -> list[Trait]:
    """The tables that say which species are sensitive."""
    return [trait for trait in config.species.traits if "sensitive_km" in trait.columns]


def count_records(config: Config, region: Region) -> NDArray[np.int32]:
    """Records in each 1 km cell (rows, columns) of the region's array; -1 in cells that the region does not reach."""
    counts = np.zeros(region.shape(COARSE), np.int32)
    west, _, _, north = region.grown_bounds
    sensitive: dict[str, bool] = {}
    for chunk in read_records(config):
        unknown = [name for name in chunk["name"].unique() if name not in sensitive]
        if unknown:
            coarsened_km = read_traits(config, _sensitivity(config), unknown)[0]["sensitive_km"]
            sensitive |= {name: bool(km > 0) for name, km in zip(unknown, coarsened_km, strict=True)}
        rows = chunk[~chunk["name"].map(sensitive).astype(bool)]
        if "square_m" in rows:  # a larger square does not say in which kilometre somebody looked
            rows = rows[rows["square_m"] <= COARSE]
        row = ((north - rows["y"].to_numpy()) // COARSE).astype(np.int64)
        col = ((rows["x"].to_numpy() - west) // COARSE).astype(np.int64)
        np.add.at(counts, (row, col), 1)
    y, x = region.coordinates(COARSE)
    counts[~region.contains(x[None, :], y[:, None])] = -1
    return counts
