"""The cube in a notebook: `open(url)` with `.inputs`, `.species["Fagus sylvatica"]`, `.indicators`, `.habitats`, `.at()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cube import grid
from cube.errors import CubeError, UnknownNameError
from cube.grid import CELL
from cube.layers import RANKS, conventions
from cube.storage import releases
from cube.storage.datasets import cell_of, find_leaf, in_blocks, on_cells, open_leaf
from cube.storage.store import CubeStore, open_cube

if TYPE_CHECKING:
    from cube.notebook import Preview


class Species(Mapping[str, xr.DataArray]):
    """Probability of occurrence by scientific name: lazy (y, x) arrays, already multiplied, NaN where there is no data."""

    def __init__(self, data: xr.Dataset, cube: Cube | None = None) -> None:
        """`data` is the level 0 group of a version of the species product, as `open_leaf` gives it; `cube` draws the maps."""
        self.data = data
        self._cube = cube
        self._index = {str(name): index for index, name in enumerate(data["species"].values)}

    @property
    def probability(self) -> xr.DataArray:
        """All maps as one lazy array (species, y, x) in blocks of about a hundred species; `maps` reads some species alone."""
        return self._probability(self.data["occurrence"], self._scale).rename("probability")

    def maps(self, names: str | Sequence[str]) -> xr.DataArray:
        """The maps of some species, or of one, as one lazy array (species, y, x), chosen before anything is read."""
        at = [self._at(name) for name in ([names] if isinstance(names, str) else names)]
        return self._probability(self.data["occurrence"][at], self._scale[at]).rename("probability")

    @cached_property
    def _scale(self) -> xr.DataArray:
        return self.data["scale"].load()

    def _probability(self, occurrence: xr.DataArray, scale: xr.DataArray | np.float32) -> xr.DataArray:
        return (in_blocks(occurrence) * scale).assign_attrs(self._attributes())

    def _attributes(self) -> dict[str, Any]:
        return {**self.data["occurrence"].attrs, "units": "1"}

    def __getitem__(self, name: str) -> xr.DataArray:
        """The map of one species; raises `UnknownNameError`, which is a `KeyError`, for a name that is not in the cube."""
        at = self._at(name)
        # A number joins the blocks of the map, where dask would read an array of one beside them.
        return self._probability(self.data["occurrence"][at], np.float32(self._scale.values[at])).rename(name)

    def _at(self, name: str) -> int:
        index = self._index.get(name)
        if index is None:
            start = str(name).lower()[:4]
            close = [known_name for known_name in self._index if known_name.lower().startswith(start)][:3]
            hint = f"Did you mean {' or '.join(close)}?" if close else "`list(cube.species)` gives the names."
            raise UnknownNameError(f"Unknown species '{name}'. {hint}")
        return index

    def __contains__(self, name: object) -> bool:
        """Whether the cube has a species of this name."""
        return name in self._index

    def __iter__(self) -> Iterator[str]:
        """Scientific names in the order of the cube."""
        return iter(self._index)

    def __len__(self) -> int:
        """How many species the cube holds."""
        return len(self._index)

    def __repr__(self) -> str:
        """How many species there are, and the first ones."""
        return f"<{len(self):,} species: {', '.join(list(self)[:3])}{', ...' if len(self) > 3 else ''}>"

    def _repr_html_(self) -> str | None:
        if self._cube is None:
            return None
        from cube import notebook

        return notebook.species_html(self._cube, self)


class Cube:
    """A cube opened for reading at one release; arrays are lazy.

    The release is fixed when the cube is opened, and its versions never change: whatever is read from one `Cube` fits
    together, also while another release is published. `refresh()` moves on to the release that readers follow then.
    """

    def __init__(self, store: CubeStore, release: dict[str, Any] | None = None) -> None:
        """Use `floracube.open(url)` instead."""
        self.store = store
        self.region = store.region
        self._release = releases.current(store) if release is None else release
        self._groups: dict[tuple[str, str, int], xr.Dataset] = {}
        self._species: dict[str, Species] = {}

    @property
    def title(self) -> str:
        """The title of the cube."""
        return str(self.store.attributes.get("title", ""))

    def __repr__(self) -> str:
        """Title, URL, region and what is in it."""
        versions = ", ".join(f"{p} {v}" for p, v in self.release["products"].items()) or "no products yet"
        r = self.region
        place = f"E {r.west_km} to {r.east_km}, N {r.south_km} to {r.north_km} km"
        return f"<floracube '{self.title}' {self.store.url}: {place}, {versions}>"

    def _repr_html_(self) -> str:
        from cube import notebook  # here: scripts and workers show nothing

        return notebook.cube_html(self)

    def preview(self, layer: str, bbox: tuple[float, float, float, float] | None = None) -> Preview:
        """A small map of a layer with its legend, which a notebook shows; read from the overview that fits, not at 50 m.

        `layer` is a scientific name, a name or an id such as `indicators.richness`, `inputs.slope` or `inputs.sentinel2.nir`; of
        several bands the first is shown. `bbox` (west, south, east, north) in degrees cuts a window. Raises `CubeError`
        for an unknown layer and for a window outside the cube.
        """
        from cube import notebook

        return notebook.preview(self, layer, bbox)

    def explore(self, layer: str, bbox: tuple[float, float, float, float] | None = None, basemap: bool = False) -> Any:
        """A layer on an interactive map in a notebook: an `ipyleaflet.Map` (extra `notebook`).

        `layer` and `bbox` are those of `preview`. The map draws what is visible from the overview that fits, in the kernel, so it
        works without a network and on a remote machine; `basemap=True` adds OpenStreetMap, whose tiles the browser fetches.
        Raises `CubeError` as `preview` does, and where ipyleaflet is not installed.
        """
        from cube import notebook

        return notebook.explore(self, layer, bbox, basemap)

    def refresh(self) -> Cube:
        """Move on to the release that readers follow now; returns this cube. Arrays taken from it before stay as they are."""
        self._release = releases.current(self.store)
        self.__dict__.pop("inputs", None)
        self.__dict__.pop("_inputs", None)
        return self

    @cached_property
    def _inputs(self) -> dict[int, xr.Dataset]:
        """The groups of the inputs by their resolution in metres, as `open_leaf` gives them."""
        groups = {resolution: find_leaf(self.store, f"inputs/{name}") for name, resolution in grid.RESOLUTIONS.items()}
        if not any(group is not None for group in groups.values()):
            raise CubeError(f"{self.store.url}: there are no inputs yet; run `floracube build` first.")
        return {resolution: group for resolution, group in groups.items() if group is not None}

    @cached_property
    def inputs(self) -> xr.Dataset:
        """All inputs as one lazy Dataset on the 50 m grid, whatever resolution lies behind them."""
        y, x = self.region.coordinates(CELL)
        arrays: dict[str, xr.DataArray] = {}
        for resolution, group in self._inputs.items():
            for key, data in in_blocks(group, resolution).data_vars.items():
                arrays[str(key)] = on_cells(data, resolution, y, x)
        dataset = xr.Dataset(arrays)
        return dataset.assign_coords({conventions.GRID_MAPPING: ((), 0, conventions.grid_mapping_attributes(self.region, CELL))})

    @property
    def release(self) -> dict[str, Any]:
        """The release that is read: its name, the version of each product, and from what it was made."""
        return self._release

    def _version(self, product: str, release: Mapping[str, Any]) -> str:
        version = release["products"].get(product)
        if version is None:
            name = f"Release '{release['name']}'" if release["name"] else "A cube without a release"
            available = ", ".join(release["products"]) or "nothing"
            raise UnknownNameError(
                f"{self.store.url}: {name} has no product '{product}', only {available}. Choose one of these or run"
                " `floracube predict`."
            )
        return str(version)

    def product(self, name: str, version: str | None = None, level: int = 0) -> xr.Dataset:
        """A product's Dataset at a pyramid level (0: 50 m), of the release that is read or of `version`.

        Raises `UnknownNameError`, which is a `KeyError`, for a product that the release does not have.
        """
        version = version or self._version(name, self.release)
        return in_blocks(self._leaf(name, version, level))

    def _leaf(self, name: str, version: str, level: int = 0) -> xr.Dataset:
        key = (name, version, level)
        if key not in self._groups:
            self._groups[key] = open_leaf(self.store, releases.group_of(name, version, level))
        return self._groups[key]

    def _species_of(self, version: str) -> Species:
        if version not in self._species:
            self._species[version] = Species(self._leaf("species", version), self)
        return self._species[version]

    @property
    def species(self) -> Species:
        """Maps by scientific name."""
        return self._species_of(self._version("species", self.release))

    @property
    def indicators(self) -> xr.Dataset:
        """Biodiversity indicators with their bounds."""
        return self.product("indicators")

    @property
    def habitats(self) -> xr.Dataset:
        """Habitat classes, probabilities and entropy."""
        return self.product("habitats")

    def table(self, name: str) -> dict[str, Any]:
        """The columns of the table of `species`, `composition` or `habitats`, an array by name.

        Raises `UnknownNameError`, which is a `KeyError`, for a product that the release does not have or that has no table.
        """
        if name not in releases.TABLE_ROWS:
            raise UnknownNameError(
                f"{self.store.url}: There is no table '{name}'. Choose one of {', '.join(releases.TABLE_ROWS)}."
            )
        return self.store.read_table(releases.table_path(name, self._version(name, self.release)))

    def at(self, lon: float, lat: float) -> xr.Dataset:
        """Everything known of the 50 m cell that holds a point (degrees, WGS 84), lazy; `load()` reads it.

        Variables are `inputs.<layer>`, `species.probability` (species), `composition.<layer>`, `indicators.<name>` (bound) and
        `habitats.<layer>`, all of the release that is read; `x` and `y` are the cell's centre. Of more than 64 species it has
        those that the cube ranks in the cell, most probable first, whose names are read at once: each other one is a chunk
        more to ask for, as in `cube.species.probability.sel(x=x, y=y, method="nearest")`. Raises `CubeError` for a point
        outside of the cube, and for several points.
        """
        if np.ndim(lon) or np.ndim(lat):
            raise CubeError(
                "`at` reads one cell. For many points project them and choose cells, layer by layer: x, y ="
                ' cube.region.grid.project(lon, lat); points = {"x": xr.DataArray(x, dims="place"), "y": xr.DataArray(y,'
                ' dims="place")}; cube.indicators.sel(points, method="nearest").'
            )
        x, y = self.region.grid.project(lon, lat)
        row, col = (int(v) for v in self.region.index(x, y))
        rows, cols = self.region.shape()
        if not (0 <= row < rows and 0 <= col < cols):
            raise CubeError(
                f"the point {lon}, {lat} (longitude, latitude) lies outside the cube; longitude comes first, both in degrees."
            )
        versions = self.release["products"]
        parts: dict[str, xr.DataArray] = {}
        for resolution, inputs in self._inputs.items():
            cell = cell_of(inputs, resolution, row, col).drop_vars(["x", "y", conventions.GRID_MAPPING], errors="ignore")
            parts |= {f"inputs.{key}": value for key, value in cell.data_vars.items()}
        for name, version in versions.items():
            cell = cell_of(self._leaf(name, str(version)), CELL, row, col)
            if name == "species":
                cell = xr.Dataset({"probability": self._probability(cell, str(version), row, col)})
            parts |= {f"{name}.{key}": value for key, value in cell.data_vars.items()}
        ys, xs = self.region.coordinates(CELL)
        return xr.Dataset(parts).assign_coords(y=ys[row], x=xs[col])

    def _probability(self, cell: xr.Dataset, version: str, row: int, col: int) -> xr.DataArray:
        """Probabilities in a `cell` of the species product, of the ranked species alone where there are more."""
        if cell.sizes["species"] <= RANKS or self.release["products"].get("composition") != version:
            return cell["occurrence"] * cell["scale"]
        ranks = cell_of(self._leaf("composition", version), CELL, row, col).drop_vars("rank")
        ids = ranks["species_id"].values
        ranked = ids < cell.sizes["species"]  # where fewer are possible, the last ranks hold none
        names = cell["species"][ids[ranked].astype(int)]
        return ranks["probability"][ranked].rename(rank="species").assign_coords(species=names)


def open(url: str, release: str | None = None) -> Cube:
    """Open the cube at a path or any fsspec URL for reading, at `release` or the one that readers follow now.

    Raises `CubeError` if there is no cube, `UnknownNameError` if it has no such release.
    """
    if release is None:
        return Cube(*releases.open_current(url))
    store = open_cube(url)
    return Cube(store, releases.read(store, release))
