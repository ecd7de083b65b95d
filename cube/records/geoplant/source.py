"""Predictors at places out of GeoPlant's files, in the names, units and shapes of the cube's inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from cube.errors import SourceError
from cube.layers.inputs import INPUTS
from cube.records.geoplant import published_inputs
from cube.records.geoplant.dataset import CLIMATE_SHAPE, LANDSAT_SHAPE, AbsentError, GeoPlant
from cube.records.geoplant.images import crop_to_cell, read_patch
from cube.records.geoplant.published_inputs import ALIASES, PUBLISHED_INPUTS, Published
from cube.records.places import NO_ID, Floats, Places
from cube.records.report import Report

LENGTH: Final = 4  # bytes before a packed patch: how long its first file is
MEMORY: Final = 1 << 28  # bytes of series in memory while they are decoded

T = TypeVar("T")
Rows = Callable[[NDArray[np.int64], str], tuple[Floats, NDArray[np.bool_]]]  # ids, kind of observations -> series, known


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
        """Input layers that the folder has, in the order of `cube.layers.inputs`."""
        layout = self.geoplant.layout
        has = {
            "sentinel2": bool(layout.folder_of("tiff") or (layout.folder_of("rgb") and layout.folder_of("nir"))),
            "landsat": bool(layout.folder_of("landsat") or layout.table("landsat")),
            "climate": bool(layout.folder_of("climate") or layout.table("climate")),
        }
        has |= {name: bool(layout.table(p.table) or self._rasters(p)) for name, p in PUBLISHED_INPUTS.items()}
        return tuple(name for name in INPUTS if has.get(name))

    def sample(
        self, places: Places, layers: Sequence[str], cells: int = 1, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Floats]:
        """As `SampleSource.sample`; a patch is cut around the cell of its place, NaN beyond the patch."""
        out: dict[str, Floats] = {}
        for layers_done, name in enumerate(layers):
            if progress:
                progress(layers_done, len(layers))
            if name == "sentinel2":
                out[name] = self._patches(places, cells)
            elif name == "landsat":
                readers = self.geoplant.landsat, self.geoplant.landsat_rows, published_inputs.landsat
                out[name] = self._series(places, places.series_id, LANDSAT_SHAPE, "Landsat series", *readers)
            elif name == "climate":
                readers = self.geoplant.climate, self.geoplant.climate_rows, published_inputs.climate
                out[name] = self._series(places, places.survey, CLIMATE_SHAPE, "climate series", *readers)
            elif name in PUBLISHED_INPUTS:
                out[name] = self._values(places, PUBLISHED_INPUTS[name])
            else:
                raise SourceError(
                    f"{self.geoplant.layout.folder}: GeoPlant has no layer '{name}'; it has {', '.join(self.layers)}."
                )
        return out

    def _patches(self, places: Places, cells: int) -> Floats:
        out = np.full((len(places), 4, 5 * cells, 5 * cells), np.nan, np.float32)
        for i, patch in self._each_patch(places, self.geoplant.patch):
            out[i] = crop_to_cell(patch, float(places.x[i]), float(places.y[i]), 5 * cells)
        return out

    def packed_patches(self, places: Places) -> list[bytes]:
        """The published files of the patch of each place, joined; empty where there is none. See `unpacked_patch`.

        Each is decoded once, so that what is absent or damaged is counted in `report` as by `sample`.
        """
        out = [b""] * len(places)
        for i, content in self._each_patch(places, self._file_bytes):
            out[i] = content
        return out

    def _each_patch(self, places: Places, read_file: Callable[[int, str], T]) -> Iterator[tuple[int, T]]:
        """(position, what is read) of each place that has a patch; what is missing is noted."""
        what, absent = "satellite patch", list[int]()
        for i, number in enumerate(places.patch_id.tolist()):
            patch = self._read_or_note(what, i, number, read_file, places.observations, absent)
            if patch is not None:
                yield i, patch
        self.report.note(f"places without a {what}", places.patch_id[absent].tolist())

    def _file_bytes(self, number: int, observations: str) -> bytes:
        files = self.geoplant.patch_files(number, observations)
        contents = [path.read_bytes() for path in files]
        read_patch(files, contents)
        return len(contents[0]).to_bytes(LENGTH, "big") + b"".join(contents)

    def unpacked_patch(self, content: bytes, x: float, y: float, cells: int) -> Floats:
        """(4, 5 cells, 5 cells) reflectance around the place (x, y) of what `packed_patches` gave for it."""
        if not content:
            return np.full((4, 5 * cells, 5 * cells), np.nan, np.float32)
        end = LENGTH + int.from_bytes(content[:LENGTH], "big")
        contents = [part for part in (content[LENGTH:end], content[end:]) if part]
        patch = read_patch([self.geoplant.layout.folder] * len(contents), contents)
        return crop_to_cell(patch, x, y, 5 * cells)

    def _series(
        self,
        places: Places,
        ids: NDArray[np.int64],
        shape: tuple[int, ...],
        what: str,
        read_file: Callable[[int, str], Floats],
        rows: Rows,
        decode: Callable[[Floats], Floats],
    ) -> Floats:
        """Series out of the files of cubes, and of ids without one out of the tables, which are read through once for many."""
        piece = max(1, MEMORY // (4 * int(np.prod(shape))))
        parts = []
        for start in range(0, max(len(ids), 1), piece):
            numbers = ids[start : start + piece]
            cubes = np.full((len(numbers), *shape), np.nan, np.float32)
            without_file: list[int] = []
            for k, number in enumerate(numbers.tolist()):
                values = self._read_or_note(what, k, number, read_file, places.observations, without_file)
                if values is not None:
                    cubes[k] = values
            missing_numbers = np.array(without_file, np.int64)
            cubes[missing_numbers], in_table = rows(numbers[missing_numbers], places.observations)
            self.report.note(f"places without a {what}", numbers[missing_numbers[~in_table]].tolist())
            parts.append(decode(cubes))
        return np.concatenate(parts)

    def _read_or_note(
        self, what: str, k: int, number: int, read_file: Callable[[int, str], T], observations: str, absent: list[int]
    ) -> T | None:
        """What is read of one id; `absent` gets `k` where it has no file, damage is noted."""
        if number == NO_ID:
            self.report.note(f"places without the id of a {what}", [number])
            return None
        try:
            return read_file(number, observations)
        except AbsentError:
            absent.append(k)
        except SourceError as error:
            self.report.note(f"places whose {what} cannot be read, taken as missing", [str(error)])
        return None

    def _values(self, places: Places, what: Published) -> Floats:
        layer = INPUTS[what.layer]
        raw, in_table = self.geoplant.values(what.table, what.columns, places.survey, places.observations)
        for k, column in enumerate(what.columns):
            if column in ALIASES:
                alias_values, _ = self.geoplant.values(what.table, [ALIASES[column]], places.survey, places.observations)
                raw[:, k] = np.where(np.isnan(raw[:, k]), alias_values[:, 0], raw[:, k])
                in_table |= np.isfinite(alias_values[:, 0])
        rasters = self._rasters(what)
        if rasters and not in_table.all():
            outside_table = np.flatnonzero(~in_table)
            raw[outside_table] = self._of_rasters(places, outside_table, what, rasters)
            in_table[outside_table] = np.isfinite(raw[outside_table]).any(axis=1)
        self.report.note(f"places without values of {what.layer}", list(places.survey[~in_table]))
        values = what.decode(raw)
        return values if layer.dims else values[:, 0]

    def _rasters(self, what: Published) -> dict[int, Path]:
        """Variable -> its raster; a single raster of several bands stands for all of them."""
        rasters = self.geoplant.layout.rasters
        hits = [[p for p in rasters if re.fullmatch(pattern, p.stem.lower())] for pattern in what.rasters]
        return {k: paths[0] for k, paths in enumerate(hits) if paths}

    def _of_rasters(self, places: Places, index: NDArray[np.int64], what: Published, rasters: dict[int, Path]) -> Floats:
        longitude, latitude = (v[index] for v in places.lonlat)
        out = np.full((len(index), len(what.columns)), np.nan, np.float32)
        for k, path in rasters.items():
            values = self.geoplant.raster_values(path, longitude, latitude)
            width = min(values.shape[1], len(what.columns) - k)
            out[:, k : k + width] = values[:, :width]
        return out
