"""A GeoPlant folder by id: every modality of one survey or record as published, read when it is asked for.

Nothing is kept but the layout; of wide tables only the rows that are wanted stay in memory. What the numbers mean, and all
places at once, is the business of `cube.records.geoplant.source`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.dataset
from numpy.typing import NDArray

from cube.errors import SourceError, TableError
from cube.layers.inputs import CLIMATE_MONTHS, CLIMATE_VARIABLES, LANDSAT_BANDS, QUARTERS
from cube.records.geoplant.images import Patch, open_image, read_patch
from cube.records.geoplant.layout import DataFolder, Layout, candidates, find_layout
from cube.records.geoplant.tensors import read_tensor

LANDSAT_SHAPE: Final = (6, 4, 21)  # bands R G B NIR SWIR1 SWIR2, quarters, years 2000-2020
CLIMATE_SHAPE: Final = (4, 19, 12)  # pr tas tasmax tasmin, years 2000-2018, months

Floats = NDArray[np.float32]

ID_COLUMNS: Final = ("surveyId", "timeSerieID", "glcID", "patchID")
MISSING: Final = ("", "eos", "NA", "na", "NaN", "nan", "null")  # `eos` ends a series of 2023


class AbsentError(SourceError):
    """A record has no file or row of a modality."""


class GeoPlant:
    """A folder into which GeoPlant of any year was unpacked, or a part of it.

    `observations` of the methods is PA or PO, whose ids are two countings; empty looks into both.
    """

    def __init__(self, folder: str | Path) -> None:
        """Find what lies in `folder`. Raises `SourceError` if nothing of GeoPlant does."""
        self.layout: Layout = find_layout(folder)

    # One file an id.

    def patch(self, number: int, observations: str = "") -> Patch:
        """The satellite image of a patch id: (4, 128, 128) uint8 out of two JPEG, or (4, 64, 64) int16 of 2025.

        Raises `AbsentError` where there is none, `SourceError` where it is damaged.
        """
        return read_patch(self.patch_files(number, observations))

    def patch_files(self, number: int, observations: str = "") -> tuple[Path, ...]:
        """The files of a patch: its GeoTIFF, or RGB and NIR. Raises `AbsentError` where there is none."""
        missing_files: list[Path] = []
        if tiff := self._file("tiff", number, observations, missing_files):
            return (tiff,)
        rgb = self._file("rgb", number, observations, missing_files)
        nir = self._file("nir", number, observations, missing_files)
        if rgb is None or nir is None:
            raise self._absent("satellite patch", number, missing_files)
        return rgb, nir

    def landsat(self, number: int, observations: str = "") -> Floats:
        """The Landsat cube of a series id as published: float32 (6, 4, 21), uint8 range, NaN where missing."""
        return self._cube("landsat", "Landsat", LANDSAT_SHAPE, number, observations)

    def climate(self, number: int, observations: str = "") -> Floats:
        """The climate cube of a survey as published: float32 (4, 19, 12), raw CHELSA 2.1 integers."""
        return self._cube("climate", "climate", CLIMATE_SHAPE, number, observations)

    def _cube(self, what: str, title: str, shape: tuple[int, ...], number: int, observations: str) -> Floats:
        missing_files: list[Path] = []
        path = self._file(what, number, observations, missing_files)
        if path is None:
            raise self._absent(f"{title} series", number, missing_files)
        values: NDArray[Any] = read_tensor(path)
        if values.shape != shape:
            raise SourceError(f"{path}: has the shape {values.shape}; a published {title} cube has {shape}.")
        return np.asarray(values, np.float32)

    def _file(self, what: str, number: int, observations: str, missing_files: list[Path]) -> Path | None:
        for folder in self.layout.folder_of(what, observations):
            for path in candidates(folder, number):
                if path.is_file():
                    return path
                missing_files.append(path)
        return None

    def _absent(self, what: str, number: int, missing_files: list[Path]) -> AbsentError:
        where = f"expected {missing_files[0]}" if missing_files else "the folder has none"
        return AbsentError(f"{self.layout.folder}: {number} has no {what} ({where}); unpack it whole.")

    # One row an id.

    def landsat_rows(self, numbers: NDArray[np.int64], observations: str = "") -> tuple[Floats, NDArray[np.bool_]]:
        """((n, 6, 4, 21), known): series out of the tables of bands, NaN past the end of a series (`eos`)."""
        columns = [f"{q[:4]}_{q[5]}" for q in QUARTERS]  # 2000_1 is the first quarter of 2000
        out = np.full((len(numbers), 6, len(QUARTERS)), np.nan, np.float32)
        in_tables = np.zeros(len(numbers), bool)
        for band, name in enumerate(LANDSAT_BANDS):
            tables = [t for t in self.layout.table("landsat", observations) if t.band == name]
            out[:, band], in_table = self._rows(tables, numbers, columns)
            in_tables |= in_table
        return np.swapaxes(out.reshape(-1, 6, 21, 4), 2, 3), in_tables

    def climate_rows(self, numbers: NDArray[np.int64], observations: str = "") -> tuple[Floats, NDArray[np.bool_]]:
        """((n, 4, 19, 12), known): monthly series out of the tables of values, raw CHELSA integers."""
        columns = [f"Bio-{v}_{m[5:]}_{m[:4]}" for v in CLIMATE_VARIABLES for m in CLIMATE_MONTHS]
        values, in_table = self._rows(self.layout.table("climate", observations), numbers, columns)
        return values.reshape(-1, *CLIMATE_SHAPE), in_table

    def values(
        self, what: str, columns: Sequence[str], numbers: NDArray[np.int64], observations: str = ""
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """((n, k) float32, known): `columns` of the tables of `what` (bioclim, soil, elevation, ...) as published."""
        return self._rows(self.layout.table(what, observations), numbers, columns)

    def _rows(
        self, tables: Sequence[DataFolder], numbers: NDArray[np.int64], columns: Sequence[str]
    ) -> tuple[Floats, NDArray[np.bool_]]:
        out = np.full((len(numbers), len(columns)), np.nan, np.float32)
        in_tables = np.zeros(len(numbers), bool)
        for table in tables:
            if table.path.suffix == ".csv" and not in_tables.all():
                outside_tables = np.flatnonzero(~in_tables)
                out[outside_tables], in_tables[outside_tables] = read_rows(table.path, numbers[outside_tables], columns)
        return out, in_tables

    # Rasters.

    def raster_values(self, path: Path, longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> Floats:
        """(n, bands) raw numbers of the pixels of a raster of `layout.rasters` that hold the points; NaN for no data.

        One pixel is read for each point: the raster is never in memory. The file is in degrees (WGS 84) as published.
        """
        with open_image(path) as source:
            points = zip(longitude, latitude, strict=True)
            values = [np.ma.filled(v.astype(np.float32), np.nan) for v in source.sample(points, masked=True)]
            return np.asarray(values, np.float32).reshape(-1, source.count)


def read_rows(path: Path, ids: NDArray[np.int64], columns: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
    """((n, k) float32, whether the id has a row): numbers of `columns` of a CSV file, NaN where there is none.

    Of an id that stands in several rows the first is taken. Raises `TableError` where no column holds ids, a row is
    shorter than the header, or a cell is no number.
    """
    with path.open(encoding="utf-8-sig") as file:
        line = file.readline()
    separator = max(",;\t", key=line.count)
    present = next(csv.reader([line], delimiter=separator), [])
    key = next((c for c in ID_COLUMNS if c in present), None)
    if key is None:
        raise TableError(f"{path}: none of its columns ({', '.join(present[:8])}) is an id such as {ID_COLUMNS[0]}; rename it.")
    read_columns = [c for c in columns if c in present]
    out, in_table = np.full((len(ids), len(columns)), np.nan, np.float32), np.zeros(len(ids), bool)
    if not read_columns:
        return out, in_table  # another version of the variable, with other columns
    table = pyarrow.dataset.dataset(
        path,
        # Ids are stored as floats in places.
        pyarrow.schema([(key, pyarrow.float64()), *((c, pyarrow.float32()) for c in read_columns)]),
        pyarrow.dataset.CsvFileFormat(
            pyarrow.csv.ParseOptions(delimiter=separator),
            pyarrow.dataset.CsvFragmentScanOptions(pyarrow.csv.ConvertOptions(null_values=MISSING)),
        ),
    )
    try:
        rows = table.to_table(filter=pyarrow.dataset.field(key).isin(np.unique(ids).astype(np.float64))).to_pandas()
    except pyarrow.ArrowInvalid as error:
        raise TableError(f"{path}: is no whole table of numbers ({str(error).splitlines()[0]}); fetch the file again.") from None
    rows = rows.drop_duplicates(key).set_index(key)
    at = rows.index.get_indexer(ids)
    in_table = at >= 0
    out[np.ix_(in_table, [columns.index(c) for c in read_columns])] = rows.to_numpy(np.float32)[at[in_table]]
    out[np.isinf(out)] = np.nan
    return out, in_table
