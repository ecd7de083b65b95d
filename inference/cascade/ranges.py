"""Range maps of species: outside of its range a species' probability is 0, whatever its place looks like to the network.

They come as one GeoJSON file, are kept in the model folder, and are drawn unit by unit. Off unless a configuration has
`species.ranges`; a model cannot tell where a plant never got to, and neither can a range map where it grows today.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import fsspec
import numpy as np
import shapely
import shapely.errors
import shapely.geometry
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from cube.config import Config
from cube.errors import ConfigError
from cube.grid import CELL, Grid, Unit
from inference.network.tensors import model_errors

FILE: Final = "ranges.geojson"
NAME: Final = "species"  # the property of our own file


@dataclass(frozen=True)
class Ranges:
    """Shapely geometries in `crs` by species (column of the head), and their polygons on the grids that were asked for."""

    shapes: Mapping[int, NDArray[np.object_]]
    crs: CRS
    _shapes_by_grid: dict[Grid, Mapping[int, NDArray[np.object_]]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.shapes)

    def on(self, grid: Grid) -> Mapping[int, NDArray[np.object_]]:
        """Polygons in metres of a grid, by species."""
        from cube.sources.coastline import on_grid

        if grid not in self._shapes_by_grid:
            self._shapes_by_grid[grid] = {species: on_grid(shapes, self.crs, grid) for species, shapes in self.shapes.items()}
        return self._shapes_by_grid[grid]

    def mask(self, unit: Unit, species: int) -> NDArray[np.bool_]:
        """(U, U) cells of a unit whose centre lies in the range of a species that has one."""
        from cube.sources.coastline import rasterize

        polygons = self.on(unit.grid)[species]
        return rasterize(polygons[shapely.intersects(shapely.envelope(polygons), shapely.box(*unit.bounds))], unit, CELL) > 0

    def within(self, unit: Unit, index: NDArray[np.int64]) -> Callable[[int], NDArray[np.bool_] | None]:
        """Of each species: (n,) which of the cells `index` of a unit lie in its range; None where all do, or it has none."""

        def cells_in_range(species: int) -> NDArray[np.bool_] | None:
            if species not in self.shapes:
                return None
            inside = self.mask(unit, species).ravel()[index]
            return None if inside.all() else inside

        return cells_in_range


def read_ranges(config: Config, species: Sequence[str]) -> dict[str, Any] | None:
    """The ranges of some species as the GeoJSON of a model folder; None where the configuration names no file.

    Raises `ConfigError` for a file that is absent, of another kind, or has nothing of these species.
    """
    settings = config.species.ranges
    if settings is None:
        return None
    path, key = config.source_path(settings.geojson), settings.property
    try:
        with fsspec.open(path, "rb") as file:
            document = json.load(file)
        features = [(feature["properties"] or {}, feature["geometry"]) for feature in document["features"]]
    except FileNotFoundError:
        raise ConfigError(f"{config.path}: species.ranges.geojson: there is no file {path}; check the path.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is not a GeoJSON FeatureCollection ({error}); check species.ranges.geojson.") from None
    if not any(key in properties for properties, _ in features):
        names_in_file = ", ".join(sorted({name for properties, _ in features for name in properties})) or "none"
        raise ConfigError(
            f"{path}: no feature has the property '{key}'; set species.ranges.property to the one that is the scientific name"
            f" (there are: {names_in_file})."
        )
    species_set = set(species)
    features_of_species = [
        {"type": "Feature", "properties": {NAME: properties[key]}, "geometry": geometry}
        for properties, geometry in features
        if properties.get(key) in species_set and geometry is not None
    ]
    if not features_of_species:
        raise ConfigError(f"{path}: has no range of any of the {len(species)} modelled species; check species.ranges.property.")
    out = {"type": "FeatureCollection", "features": features_of_species} | {k: document[k] for k in ("crs",) if k in document}
    try:
        _refuse_empty(_parse(out, species), species, config.whole_region().grid)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; fix it or leave that species out.") from None
    return out


def save_ranges(folder: Path, document: dict[str, Any] | None) -> None:
    """Write what `read_ranges` gave into a model folder."""
    if document is not None:
        (folder / FILE).write_text(json.dumps(document) + "\n", encoding="utf-8")


def load_ranges(folder: Path, species: Sequence[str]) -> Ranges | None:
    """The ranges of a model folder; None where it has none. Raises `ModelError` for a damaged file."""
    path = folder / FILE
    if not path.is_file():
        return None
    with model_errors(path):
        return _parse(json.loads(path.read_text(encoding="utf-8")), species)


def _parse(document: dict[str, Any], species: Sequence[str]) -> Ranges:
    """Raises `ValueError` for what is no range of a species."""
    column = {name: i for i, name in enumerate(species)}
    geometries: dict[str, list[Any]] = {}
    try:
        # RFC 7946 knows WGS 84 alone; files of before may name another.
        crs = CRS((document.get("crs") or {}).get("properties", {}).get("name") or "OGC:CRS84")
    except CRSError as error:
        raise ValueError(f"its 'crs' is not known ({error})") from None
    for feature in document["features"]:
        name = feature["properties"][NAME]
        try:
            geometries.setdefault(name, []).append(shapely.geometry.shape(feature["geometry"]))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, shapely.errors.ShapelyError) as error:
            raise ValueError(f"the range of '{name}' is not made of polygons ({error})") from None
    return Ranges({column[name]: np.asarray(shapes, object) for name, shapes in geometries.items()}, crs)


def _refuse_empty(ranges: Ranges, species: Sequence[str], grid: Grid) -> None:
    """Raise `ValueError` for a species whose range has no area on the grid."""
    for i, polygons in ranges.on(grid).items():
        if not len(polygons):
            raise ValueError(
                f"the range of '{species[i]}' has no area within the grid ({grid.code}), so that it would be nowhere"
            )
