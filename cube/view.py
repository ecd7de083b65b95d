"""The cube in a notebook: `open(url)` with `.inputs`, `.species["Fagus sylvatica"]`, `.indicators`, `.habitats`, `.at()`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from cube import conventions, grid
from cube.errors import CubeError
from cube.grid import CELL, COARSE, FINE
from cube.storage import releases
from cube.storage.backends import zarr_store
from cube.storage.store import CubeStore, open_cube


def open_group(cube: CubeStore, path: str) -> xr.Dataset:
    """A leaf group as a lazy xarray Dataset with decoded values, coordinates and CRS."""
    if not cube.has(path):
        raise CubeError(f"{cube.url}: there is no group '{path}'; run the stage that writes it first.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*onsolidated metadata.*")
        store = zarr_store(f"{cube.url}/{path}", read_only=True)
        return xr.open_zarr(store, chunks={}, consolidated=True)


def _on_cells(data: xr.DataArray, cube: CubeStore, resolution: int) -> xr.DataArray:
    """A layer of 10 m or 1 km seen on the 50 m grid, lazily: exact mean of 25, or the value of the 1 km square."""
    y, x = cube.region.coordinates(CELL)
    if resolution == FINE:
        factor = CELL // FINE
        seen = data.coarsen(y=factor, x=factor).mean()
    else:
        factor = COARSE // CELL
        rows = xr.DataArray(np.arange(y.size) // factor, dims="y")
        cols = xr.DataArray(np.arange(x.size) // factor, dims="x")
        seen = data.isel(y=rows, x=cols)
    return seen.assign_coords(y=y, x=x).assign_attrs(data.attrs)


class Species(Mapping[str, xr.DataArray]):
    """Probability of occurrence by scientific name: lazy (y, x) arrays, already multiplied, NaN where there is no data."""

    def __init__(self, data: xr.Dataset) -> None:
        """`data` is the level 0 group of a version of the species product."""
        self.data = data
        self._names = [str(name) for name in data["species"].values]

    @property
    def probability(self) -> xr.DataArray:
        """All maps as one lazy array (species, y, x); choose by `sel(species=[...])`."""
        return (self.data["occurrence"] * self.data["scale"]).rename("probability").assign_attrs(self._attributes())

    def _attributes(self) -> dict[str, Any]:
        return {**self.data["occurrence"].attrs, "units": "1"}

    def __getitem__(self, name: str) -> xr.DataArray:
        """The map of one species; raises `CubeError` for a name that is not in the cube."""
        if name not in self._names:
            close = [n for n in self._names if n.lower().startswith(name.lower()[:4])][:3]
            hint = f"; close names are {', '.join(close)}" if close else ""
            raise CubeError(f"'{name}' is not a species of this cube{hint}.")
        index = self._names.index(name)
        map_ = (self.data["occurrence"][index] * self.data["scale"][index]).rename(name)
        return map_.assign_attrs(self._attributes())

    def __iter__(self) -> Iterator[str]:
        """Scientific names in the order of the cube."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many species the cube holds."""
        return len(self._names)


class Cube:
    """A cube opened for reading; every attribute is lazy and follows the current release unless a version is named."""

    def __init__(self, store: CubeStore) -> None:
        """Use `floracube.open(url)` instead."""
        self.store = store
        self.region = store.region
        self.title = str(store.attributes.get("title", ""))

    def __repr__(self) -> str:
        """Title, URL, region and what is in it."""
        release = releases.current(self.store)
        held = ", ".join(f"{p} {v}" for p, v in release["products"].items()) or "no products yet"
        r = self.region
        return f"<floracube '{self.title}' {self.store.url}: E {r.west_km}-{r.east_km}, N {r.south_km}-{r.north_km} km, {held}>"

    @cached_property
    def inputs(self) -> xr.Dataset:
        """All inputs as one lazy Dataset on the 50 m grid, whatever resolution lies behind them."""
        arrays: dict[str, xr.DataArray] = {}
        for name, resolution in grid.RESOLUTIONS.items():
            if not self.store.has(f"inputs/{name}"):
                continue
            group = open_group(self.store, f"inputs/{name}")
            for key, data in group.data_vars.items():
                arrays[str(key)] = data if resolution == CELL else _on_cells(data, self.store, resolution)
        if not arrays:
            raise CubeError(f"{self.store.url}: there are no inputs yet; run `floracube build` first.")
        dataset = xr.Dataset(arrays)
        return dataset.assign_coords({conventions.GRID_MAPPING: ((), 0, conventions.grid_mapping_attributes(self.region, CELL))})

    def product(self, name: str, version: str | None = None, level: int = 0) -> xr.Dataset:
        """A product's Dataset at a pyramid level (0: 50 m), of the current release or of `version`."""
        if version is None:
            held = releases.current(self.store)["products"]
            if name not in held:
                raise CubeError(f"{self.store.url}: the current release has no {name}; run `floracube predict` first.")
            version = str(held[name])
        return open_group(self.store, releases.group_of(name, version, level))

    @property
    def release(self) -> dict[str, Any]:
        """The release that readers follow: its name, the version of each product, and from what it was made."""
        return releases.current(self.store)

    @cached_property
    def species(self) -> Species:
        """Maps by scientific name."""
        return Species(self.product("species"))

    @cached_property
    def indicators(self) -> xr.Dataset:
        """Biodiversity indicators with their bounds."""
        return self.product("indicators")

    @cached_property
    def habitats(self) -> xr.Dataset:
        """Habitat classes, probabilities and entropy."""
        return self.product("habitats")

    def table(self, name: str) -> dict[str, Any]:
        """The columns of `tables/<name>`: species or habitats."""
        return self.store.read_table(f"tables/{name}")

    def at(self, lon: float, lat: float) -> xr.Dataset:
        """Everything known of the 50 m cell that holds a point (degrees, WGS 84), lazy; `load()` reads it.

        Variables are `inputs.<layer>`, `species.probability` (species), `composition.<layer>`, `indicators.<name>` (bound) and
        `habitats.<layer>`, as the release that readers follow has them; `x` and `y` are the cell's centre. Raises `CubeError`
        for a point outside of the cube.
        """
        x, y = grid.project(lon, lat)
        row, col = (int(v) for v in self.region.index(x, y))
        rows, cols = self.region.shape()
        if not (0 <= row < rows and 0 <= col < cols):
            raise CubeError(f"the point {lon}, {lat} (longitude, latitude) lies outside the cube.")
        groups = {name: self.product(name) for name in releases.current(self.store)["products"]}
        if "species" in groups:
            groups["species"] = xr.Dataset({"probability": self.species.probability})
        parts: dict[str, xr.DataArray] = {}
        for name, group in {"inputs": self.inputs, **groups}.items():
            cell = group.isel(y=row, x=col).reset_coords(drop=True) if name == "inputs" else group.isel(y=row, x=col)
            parts |= {f"{name}.{key}": value for key, value in cell.data_vars.items()}
        return xr.Dataset(parts)


def open(url: str) -> Cube:
    """Open the cube at a path or any fsspec URL for reading; raises `CubeError` if there is none."""
    return Cube(open_cube(url))
