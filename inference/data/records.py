"""Presence-only records in memory: which species was noted where, places as rows of predictors that are stored once a cell.

Reading them out of a configuration is here too; what a record says of a species is `training.likelihood`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.config import Config
from cube.errors import TableError
from cube.grid import CELL, Region, Window
from cube.layers.inputs import SURFACE
from cube.records.darwincore.observations import RECORDS as ACCOUNT
from cube.records.presence_only import read_records
from cube.records.report import Report
from cube.records.squares import COLUMNS as SQUARE_COLUMNS
from cube.records.squares import Squares
from cube.storage.store import CubeStore

BACKGROUND: Final = 10_000  # uniform places; as many as MaxEnt takes by default (Phillips and Dudik 2008)
WATER: Final = 1  # of inputs/50m/surface
COLUMNS: Final = ("species", "row", "x", "y", "year")
DRAWS: Final = 8  # places that stand for a record of a square
FULL_WEIGHT_M: Final = 1_000.0  # side of a square up to which a record weighs as much as one of a point


@dataclass(frozen=True)
class Records:
    """n presence-only records; their predictors are those of distinct 50 m cells (m rows), shared by records of a cell.

    `background` are rows of the same predictors drawn uniformly from the land: what likelihoods with a quadrature or
    with pseudo-absences compare with. A record of a square stands here as several rows, at places within it, whose `weight` is a
    part of its own (None: every row is a record).
    """

    species: NDArray[np.int32]  # (n,) column of the species table
    row: NDArray[np.int64]  # (n,) row of the record predictors
    x: NDArray[np.float64]  # (n,) metres
    y: NDArray[np.float64]
    year: NDArray[np.float32]  # (n,) NaN: not said
    background: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    background_x: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    background_y: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    weight: NDArray[np.float32] | None = None  # (n,) above 0, up to 1

    def __post_init__(self) -> None:
        """Refuse columns of unequal length. Raises: TableError."""
        for name in (*COLUMNS, *(() if self.weight is None else ("weight",))):
            if len(getattr(self, name)) != len(self.species):
                raise TableError(
                    f"Records: column '{name}' has {len(getattr(self, name))} rows, 'species' has {len(self.species)}."
                )
        if not len(self.background) == len(self.background_x) == len(self.background_y):
            raise TableError("Records: the background's rows and positions differ in number.")

    def __len__(self) -> int:
        """Number of records."""
        return len(self.species)

    def subset(self, index: NDArray[np.integer | np.bool_]) -> Records:
        """The records of `index` (positions or a mask); the background stays."""
        weight = None if self.weight is None else self.weight[index]
        return replace(self, **{name: getattr(self, name)[index] for name in COLUMNS}, weight=weight)

    def without_background(self, mask: NDArray[np.bool_]) -> Records:
        """The same records with the places of `mask` left out of the background."""
        names = ("background", "background_x", "background_y")
        return replace(self, **{name: getattr(self, name)[~mask] for name in names})

    def counts(self, species: int) -> NDArray[np.int64]:
        """(species,) number of records of each species."""
        return np.bincount(self.species, minlength=species)[:species]

    def check(self, species: int, places: int) -> None:
        """Refuse numbers outside a label space of `species` and predictors of `places` rows. Raises: TableError."""
        for what, values, limit in (
            ("species", self.species, species),
            ("row", self.row, places),
            ("background", self.background, places),
        ):
            wrong = np.flatnonzero((values < 0) | (values >= limit))
            if len(wrong):
                raise TableError(
                    f"Records: '{what}' of record {wrong[0]} is {values[wrong[0]]}, expected 0 to {limit - 1}"
                    f" ({len(wrong):,} such records); number species and places as the model does."
                )


@dataclass(frozen=True)
class NamedRecords:
    """All records within the region, before it is known which species are modelled; `name` indexes `names`.

    A record of a square has several rows, at places drawn within it: `share` is one over their number, `weight` that times
    what the record weighs for its uncertainty.
    """

    names: tuple[str, ...]
    name: NDArray[np.int32]
    cell: NDArray[np.int64]  # flat index of the 50 m cell within the region
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    year: NDArray[np.float32]
    report: Report
    ids: pd.DataFrame | None = None  # GeoPlant's survey, patch_id and series_id, where its files give the predictors
    share: NDArray[np.float32] | None = None  # None: every row is a record
    weight: NDArray[np.float32] | None = None

    def counts(self, rows: NDArray[np.bool_] | None = None) -> Mapping[str, int]:
        """Number of records of each name, of the rows of a mask."""
        index = slice(None) if rows is None else rows
        share = None if self.share is None else self.share[index]
        counts = np.bincount(self.name[index], share, minlength=len(self.names))
        return dict(zip(self.names, np.rint(counts).astype(int).tolist(), strict=True))


def read_named_records(config: Config, cube: CubeStore, with_ids: bool = False) -> NamedRecords:
    """Stream the records of `config.records`; those on permanent water are left out and counted.

    A record of a square becomes up to `DRAWS` rows at places drawn uniformly within it, on land within the region; it is left
    out where there are none.
    """
    stream = read_records(config)
    codes: dict[str, int] = {}
    parts: dict[str, list[NDArray[np.generic]]] = {k: [] for k in ("name", "cell", "x", "y", "year")}
    shares: list[NDArray[np.float32]] = []
    weights: list[NDArray[np.float32]] = []
    ids: list[pd.DataFrame] = []
    wet: list[tuple[str, list[str]]] = []
    rng, dry = np.random.default_rng(11), DryCells(cube)
    for chunk in stream:
        if SQUARE_COLUMNS[0] in chunk:
            chunk_rows, x, y, share = _places_within(chunk, cube.region, dry, rng)
            shares.append(share)
            weights.append(share * np.minimum(1, FULL_WEIGHT_M / chunk["square_m"].to_numpy(np.float32)[chunk_rows]))
            rows_on_water = np.setdiff1d(np.arange(len(chunk)), chunk_rows)
            wet.append(("records whose cell has no land in the region", list(chunk["record"].iloc[rows_on_water])))
        else:
            x, y = chunk["x"].to_numpy(np.float64), chunk["y"].to_numpy(np.float64)
            on_land = dry.at(x, y)
            wet.append(("records on permanent water", list(chunk["record"][~on_land])))
            chunk_rows, x, y = np.flatnonzero(on_land), x[on_land], y[on_land]
        row, col = cube.region.index(x, y)
        columns = {
            "name": _coded(chunk["name"], codes)[chunk_rows],
            "cell": row.astype(np.int64) * cube.region.shape()[1] + col,
            "x": x,
            "y": y,
            "year": chunk["year"].to_numpy(np.float32)[chunk_rows],
        }
        for key, values in columns.items():
            parts[key].append(values)
        if with_ids:
            ids.append(chunk.iloc[chunk_rows][[c for c in ("survey", "patch_id", "series_id") if c in chunk]])
    report = stream.report
    for reason, rows in wet:
        _withdraw(report, reason, rows, len(rows))
    if not parts["name"] or not sum(map(len, parts["name"])):
        raise TableError(f"{config.path}: records: no record is left: " + "; ".join(report.reasons()) + ".")
    columns_of_all = {key: np.concatenate(values) for key, values in parts.items()}
    return NamedRecords(
        tuple(codes),
        report=report,
        ids=pd.concat(ids, ignore_index=True) if ids else None,
        share=np.concatenate(shares) if shares else None,
        weight=np.concatenate(weights).astype(np.float32) if weights else None,
        **columns_of_all,
    )


def _withdraw(report: Report, reason: str, rows: Sequence[str], count: int) -> None:
    """Leave out records that their reader counted as used."""
    report.withdraw(ACCOUNT, reason, rows, count)
    report.totals["records"] -= count


class DryCells:
    """Which cells are no permanent water: each unit of the surface is read once, whatever the order of records."""

    def __init__(self, cube: CubeStore) -> None:
        """Of the region of `cube`; a unit takes a bit a cell from when a point lies in it first."""
        self._cube, self._side = cube, cube.region.unit_km * 1000 // CELL
        self._bits: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) whether the cells of points (metres) within the region are dry."""
        row, col = self._cube.region.index(x, y)
        if not len(row):
            return np.zeros(0, bool)
        unit, which = np.unique(np.stack([row, col]) // self._side, axis=1, return_inverse=True)
        cell, dry = row % self._side * self._side + col % self._side, np.empty(len(row), bool)
        order = np.argsort(which.ravel(), kind="stable")
        for place, members in zip(unit.T.tolist(), np.split(order, np.cumsum(np.bincount(which.ravel()))[:-1]), strict=True):
            bits = self._unit(*place)[cell[members] >> 3]
            dry[members] = bits >> (7 - (cell[members] & 7)) & 1
        return dry

    def _unit(self, row: int, col: int) -> NDArray[np.uint8]:
        if (row, col) not in self._bits:
            window = Window(row * self._side, col * self._side, self._side, self._side)
            self._bits[row, col] = np.packbits(self._cube.read_window(SURFACE, window) != WATER)
        return self._bits[row, col]


def _places_within(
    chunk: pd.DataFrame, region: Region, dry: DryCells, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """(row of the chunk, x, y, share) of the places drawn for records of squares, those on land within the region.

    Where none of a square's first draws is, four times as many are drawn: a coast may leave it little land.
    """
    rows, xs, ys = [], [], []
    open_rows = np.arange(len(chunk))
    for draws in (DRAWS, 4 * DRAWS):
        draw_rows = np.repeat(open_rows, draws)
        squares = Squares.of_rows(chunk.iloc[draw_rows])
        x, y = squares.at(rng.uniform(size=len(draw_rows)), rng.uniform(size=len(draw_rows)))
        inside = np.flatnonzero(region.contains(x, y))
        on_land = inside[dry.at(x[inside], y[inside])]
        rows.append(draw_rows[on_land])
        xs.append(x[on_land])
        ys.append(y[on_land])
        open_rows = np.setdiff1d(open_rows, draw_rows[on_land])
    row = np.concatenate(rows)
    count = np.bincount(row, minlength=len(chunk))
    return row, np.concatenate(xs), np.concatenate(ys), (1 / count[row]).astype(np.float32)


def _coded(values: pd.Series, codes: dict[str, int]) -> NDArray[np.int32]:
    """Numbers of texts, new ones given the next number; words are hashed once a chunk, not once a row."""
    local, words = pd.factorize(values)
    table = np.array([codes.setdefault(str(word), len(codes)) for word in words], np.int32)
    return np.asarray(table[local])


def model_species(presences: Mapping[str, int], records: Mapping[str, int], min_records: int) -> list[str]:
    """Species with at least `min_records` presences and records together, by name: records alone can make a species known."""
    return sorted(name for name in {*presences, *records} if presences.get(name, 0) + records.get(name, 0) >= min_records)


def place_records(
    named_records: NamedRecords, species: Sequence[str], background: NDArray[np.int64], region: Region
) -> tuple[Records, NDArray[np.int64], NDArray[np.int64]]:
    """(records of the modelled `species`, the distinct cells whose predictors they and the background read, and for each
    cell the first record in it, -1 where there is none). `background`: flat cells.
    """
    position = {name: i for i, name in enumerate(species)}
    column = np.array([position.get(name, -1) for name in named_records.names], np.int32)[named_records.name]
    modelled_rows = np.flatnonzero(column >= 0)
    rare = {name: n for name, n in named_records.counts(column < 0).items() if n}
    _withdraw(named_records.report, "records of species with too few of them", sorted(rare), sum(rare.values()))
    named_records.report.totals["species"] = len(np.unique(column[modelled_rows]))
    cells, row = np.unique(np.concatenate([named_records.cell[modelled_rows], background]), return_inverse=True)
    first = np.full(len(cells), -1, np.int64)
    first[row[: len(modelled_rows)][::-1]] = modelled_rows[::-1]
    records = Records(
        column[modelled_rows],
        row[: len(modelled_rows)].astype(np.int64),
        named_records.x[modelled_rows],
        named_records.y[modelled_rows],
        named_records.year[modelled_rows],
        row[len(modelled_rows) :].astype(np.int64),
        *cell_centres(region, background),
        weight=None if named_records.weight is None else named_records.weight[modelled_rows],
    )
    return records, cells, first


def uniform_cells(cube: CubeStore, count: int) -> NDArray[np.int64]:
    """Flat indices of up to `count` cells of land, drawn uniformly with replacement over the region."""
    region = cube.region
    height, width = region.shape()
    rng = np.random.default_rng([0, 7])
    surface = cube.array(SURFACE)
    chunks: list[NDArray[np.int64]] = []
    for _ in range(20):  # a region that is nearly all sea gives fewer
        row, col = rng.integers(0, height, count), rng.integers(0, width, count)
        land = np.asarray(surface.vindex[row, col]) == 0
        chunks.append(row[land] * width + col[land])
        if sum(map(len, chunks)) >= count:
            break
    return np.concatenate(chunks)[:count]


def cell_centres(region: Region, cells: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(x, y) metres of the centres of flat cells of a region's 50 m arrays."""
    row, col = np.divmod(cells, region.shape()[1])
    transform = region.transform(CELL)
    return np.asarray(transform.c + (col + 0.5) * CELL), np.asarray(transform.f - (row + 0.5) * CELL)
