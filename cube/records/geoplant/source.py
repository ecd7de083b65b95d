"""Predictors at places out of GeoPlant's files, in the names, units and shapes of the cube's inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from cube.errors import SourceError
from cube.inputs import INPUTS
from cube.records.geoplant import published
from cube.records.geoplant.dataset import CLIMATE_SHAPE, LANDSAT_SHAPE, AbsentError, GeoPlant
from cube.records.geoplant.images import crop_to_cell
from cube.records.geoplant.published import ALIASES, PUBLISHED, Published
from cube.records.places import NO_ID, Floats, Places
from cube.records.tables import Report

MEMORY: Final = 1 << 28  # bytes of series in memory while they are decoded


T = TypeVar("T")


class FileSource:
    """A GeoPlant folder as a `SampleSource`.

    A modality that a place lacks is NaN and counted in `report`, and so is a file that cannot be read: one damaged file
    among five million ends nothing, and is named.
    """

    def __init__(self, geoplant: GeoPlant) -> None:
        """Sample the files of `geoplant`."""
        self.geoplant = geoplant
        self.report = Report(f"predictors of {geoplant.layout.folder}")

    @property
    def layers(self) -> tuple[str, ...]:
        """Input layers that the folder has, in the order of `cube.inputs`."""
        layout = self.geoplant.layout
        has = {
            "sentinel2": bool(layout.folder_of("tiff") or (layout.folder_of("rgb") and layout.folder_of("nir"))),
            "landsat": bool(layout.folder_of("landsat") or layout.table("landsat")),
            "climate": bool(layout.folder_of("climate") or layout.table("climate")),
        }
        has |= {name: bool(layout.table(p.table) or self._rasters(p)) for name, p in PUBLISHED.items()}
        return tuple(name for name in INPUTS if has.get(name))

    def sample(self, places: Places, layers: Sequence[str], cells: int = 1,
               progress: Callable[[int, int], None] | None = None) -> dict[str, Floats]:  # fmt: skip
        """As `SampleSource.sample`; a patch is cut around the cell of its place, NaN beyond the patch."""
        out: dict[str, Floats] = {}
        for done, name in enumerate(layers):
            if progress:
                progress(done, len(layers))
            if name == "sentinel2":
                out[name] = self._patches(places, cells)
            elif name == "landsat":
                out[name] = self._series(places, places.series_id, LANDSAT_SHAPE, "Landsat series", self.geoplant.landsat,
                                         published.landsat)  # fmt: skip
            elif name == "climate":
                out[name] = self._series(places, places.survey, CLIMATE_SHAPE, "climate series", self.geoplant.climate,
                                         published.climate)  # fmt: skip
            elif name in PUBLISHED:
                out[name] = self._values(places, PUBLISHED[name])
            else:
                raise SourceError(
                    f"{self.geoplant.layout.folder}: GeoPlant has no layer '{name}'; it has {', '.join(self.layers)}."
                )
        return out

    def _patches(self, places: Places, cells: int) -> Floats:
        out = np.full((len(places), 4, 5 * cells, 5 * cells), np.nan, np.float32)
        for i in range(len(places)):
            patch = self._tried("satellite patch", int(places.patch_id[i]), self.geoplant.patch, places.observations)
            if patch is not None:
                out[i] = crop_to_cell(patch, float(places.x[i]), float(places.y[i]), 5 * cells)
        return out

    def _series(self, places: Places, ids: NDArray[np.int64], shape: tuple[int, ...], what: str,
                read: Callable[[int, str], Floats], decode: Callable[[Floats], Floats]) -> Floats:  # fmt: skip
        size = int(np.prod(shape))
        piece = max(1, MEMORY // (4 * size))
        parts = []
        for start in range(0, max(len(ids), 1), piece):
            cubes = np.full((len(ids[start : start + piece]), *shape), np.nan, np.float32)
            for k, number in enumerate(ids[start : start + piece]):
                values = self._tried(what, int(number), read, places.observations)
                if values is not None:
                    cubes[k] = values
            parts.append(decode(cubes))
        return np.concatenate(parts)

    def _tried(self, what: str, number: int, read: Callable[[int, str], T], observations: str) -> T | None:
        """What is read of one id; absence and damage are noted."""
        if number == NO_ID:
            self.report.note(f"places without the id of a {what}", [number])
            return None
        try:
            return read(number, observations)
        except AbsentError:
            self.report.note(f"places without a {what}", [number])
        except SourceError as error:
            self.report.note(f"places whose {what} cannot be read, taken as missing", [str(error)])
        return None

    def _values(self, places: Places, what: Published) -> Floats:
        layer = INPUTS[what.layer]
        raw, known = self.geoplant.values(what.table, what.columns, places.survey, places.observations)
        for k, column in enumerate(what.columns):
            if column in ALIASES:
                other, _ = self.geoplant.values(what.table, [ALIASES[column]], places.survey, places.observations)
                raw[:, k] = np.where(np.isnan(raw[:, k]), other[:, 0], raw[:, k])
                known |= np.isfinite(other[:, 0])
        rasters = self._rasters(what)
        if rasters and not known.all():
            left = np.flatnonzero(~known)
            raw[left] = self._of_rasters(places, left, what, rasters)
            known[left] = np.isfinite(raw[left]).any(axis=1)
        self.report.note(f"places without values of {what.layer}", list(places.survey[~known]))
        values = what.decode(raw)
        return values if layer.dims else values[:, 0]

    def _rasters(self, what: Published) -> dict[int, Path]:
        """Variable -> its raster; a single raster of several bands stands for all of them."""
        found: dict[int, Path] = {}
        for k, pattern in enumerate(what.rasters):
            hits = [p for p in self.geoplant.layout.rasters if re.fullmatch(pattern, p.stem.lower())]
            if hits:
                found[k] = hits[0]
        return found

    def _of_rasters(self, places: Places, index: NDArray[np.int64], what: Published, rasters: dict[int, Path]) -> Floats:
        longitude, latitude = (v[index] for v in places.lonlat)
        out = np.full((len(index), len(what.columns)), np.nan, np.float32)
        for k, path in rasters.items():
            values = self.geoplant.raster_values(path, longitude, latitude)
            width = min(values.shape[1], len(what.columns) - k)
            out[:, k : k + width] = values[:, :width]
        return out
