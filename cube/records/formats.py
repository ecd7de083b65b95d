"""Tables of other formats as Arrow: Parquet and GeoParquet, spreadsheets, and what GDAL reads (GeoPackage, FlatGeobuf, ...).

A table of points gets two columns more, `geometry.longitude` and `geometry.latitude`, in degrees (WGS 84).
"""

from __future__ import annotations

import io
import json
import posixpath
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from zipfile import BadZipFile

import fsspec
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from cube.errors import TableError

PARQUET: Final = (".parquet", ".pq", ".geoparquet")
SHEETS: Final = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
VECTORS: Final = (".gpkg", ".fgb", ".geojson", ".json", ".shp", ".gml", ".sqlite")
GEOMETRY: Final = ("geometry.longitude", "geometry.latitude")
LAYER: Final = "|layername="  # QGIS's way to name a layer of a file


def ending(path: str) -> str:
    """The ending of the file's name in lower case, without the layer: `.gpkg`."""
    return posixpath.splitext(path.split(LAYER)[0])[1].lower()


def is_text(path: str) -> bool:
    """Whether the table at `path` is text with separators."""
    return ending(path) not in (*PARQUET, *SHEETS, *VECTORS)


def names(path: str) -> list[str]:
    """Names of the columns of a table that is not text."""
    if ending(path) in PARQUET:
        with fsspec.open(path, "rb") as file:
            schema = pyarrow.parquet.ParquetFile(file).schema_arrow
        schema_names = [str(n) for n in schema.names]
        return schema_names + [*GEOMETRY] * (_geoparquet(schema) is not None)
    return [str(n) for n in _read_table(path).column_names]


def batches(path: str, columns: Sequence[str], piece: int) -> Iterator[pyarrow.RecordBatch]:
    """`columns` of a table that is not text, `piece` rows at a time; only Parquet is not in memory as a whole."""
    if ending(path) not in PARQUET:
        yield from _read_table(path).select(list(columns)).to_batches(piece)
        return
    with fsspec.open(path, "rb") as file:
        parquet = pyarrow.parquet.ParquetFile(file)
        geometry = _geoparquet(parquet.schema_arrow) if set(columns) & set(GEOMETRY) else None
        read_columns = [c for c in columns if c not in GEOMETRY] + ([geometry[0]] if geometry else [])
        for batch in parquet.iter_batches(piece, columns=list(dict.fromkeys(read_columns))):
            table = pyarrow.Table.from_batches([batch])
            if geometry:
                table = _with_points(path, table, *geometry)
            yield from table.select(list(columns)).to_batches()


def _read_table(path: str) -> pyarrow.Table:
    return _sheet(path) if ending(path) in SHEETS else _vector(path)


def _sheet(path: str) -> pyarrow.Table:
    """The first sheet of a workbook, cells as text: whole numbers without decimals, dates as ISO 8601."""
    try:
        with fsspec.open(path, "rb") as file:
            table = pd.read_excel(io.BytesIO(file.read()), dtype=object)
    except ImportError as error:
        package = str(error).split("'")[1] if "'" in str(error) else "openpyxl"
        raise TableError(
            f"{path}: reading it needs the package {package} (pip install {package}); or save the sheet as CSV (UTF-8)."
        ) from None
    except (ValueError, KeyError, BadZipFile) as error:
        raise TableError(f"{path}: cannot be read as a workbook ({error}); save it again, or as CSV (UTF-8).") from None
    return pyarrow.table({str(c).strip(): pyarrow.array([_cell(v) for v in table[c]], pyarrow.string()) for c in table})


def _cell(value: Any) -> str | None:
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, bool | np.bool_):
        return str(value).upper()
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < 2**53:
        return str(int(value))
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def _vector(path: str) -> pyarrow.Table:
    try:
        import pyogrio  # type: ignore[import-untyped]
    except ImportError:
        raise TableError(
            f"{path}: reading it needs the package pyogrio (pip install pyogrio); or export it as CSV or Parquet."
        ) from None
    name, _, layer = path.partition(LAYER)
    with fsspec.open(name, "rb"):  # a missing file is an error of ours, not of GDAL's
        source: Any = name
    if "://" in name:
        with fsspec.open(name, "rb") as file:
            source = file.read()
    try:
        layers = [str(row[0]) for row in pyogrio.list_layers(source)]
        if layer and layer not in layers:
            raise TableError(f"{path}: has no layer '{layer}' (it has {', '.join(layers)}); name one of them.")
        if not layer and len(layers) > 1:
            raise TableError(f"{path}: has several layers ({', '.join(layers)}); name one, such as {name}{LAYER}{layers[0]}.")
        meta, table = pyogrio.read_arrow(source, layer=layer or layers[0])
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).split(";")[0].rstrip(".")
        raise TableError(f"{path}: cannot be read by GDAL ({reason}); export it again, or as CSV.") from None
    geometry = meta["geometry_name"] or "wkb_geometry"
    if geometry in table.column_names and table.column(geometry).null_count < len(table):
        return _with_points(path, table, geometry, meta["crs"])
    return table


def _geoparquet(schema: pyarrow.Schema) -> tuple[str, Any] | None:
    """(column of points, coordinate reference system) of a GeoParquet file."""
    geo = (schema.metadata or {}).get(b"geo")
    if geo is None:
        return None
    document = json.loads(geo)
    column = document["primary_column"]
    return column, document["columns"][column].get("crs", "OGC:CRS84")


def _with_points(path: str, table: pyarrow.Table, column: str, crs: Any) -> pyarrow.Table:
    """`table` with the positions of its points in degrees; NaN where a row has no geometry."""
    points = shapely.from_wkb(table.column(column).to_numpy(zero_copy_only=False))
    not_points = np.flatnonzero(~shapely.is_missing(points) & (shapely.get_type_id(points) != shapely.GeometryType.POINT))
    if len(not_points):
        raise TableError(
            f"{path}: row {not_points[0] + 1}: its geometry is not a point; give points, such as the centroids of plots."
        )
    x, y = shapely.get_x(points), shapely.get_y(points)
    if crs is None:
        raise TableError(f"{path}: declares no coordinate reference system; assign it (ogr2ogr -a_srs EPSG:... OUT {path}).")
    try:
        system = CRS.from_user_input(crs)
    except CRSError as error:
        raise TableError(
            f"{path}: its coordinate reference system is unknown ({error}); assign one with ogr2ogr -a_srs."
        ) from None
    longitude, latitude = Transformer.from_crs(system, "EPSG:4326", always_xy=True).transform(x, y)
    table = table.drop_columns([column])
    for name, values in zip(GEOMETRY, (longitude, latitude), strict=True):
        table = table.append_column(name, pyarrow.array(np.where(np.isfinite(values), values, np.nan), pyarrow.float64()))
    return table
