"""Any layer leaves the cube as a Cloud Optimized GeoTIFF: stored values with scale, units, names, legend and licence.

The file is written block by block beside its place and moved there whole, so memory does not grow with the region and
nobody finds half a file. Which array a layer id names is `cube.export.selection`; how QGIS draws it, `cube.export.style`.
"""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import DatasetWriter
from rasterio.windows import Window as RasterWindow
from rio_cogeo.cogeo import cog_validate

from cube.errors import CubeError
from cube.export.png import rgb
from cube.export.selection import Selection, find_layer, select
from cube.export.style import put_style, style_of
from cube.grid import Region, Window, bounds_in
from cube.storage import releases
from cube.storage.leaves import SPECIES_PER_SHARD
from cube.storage.store import CubeStore, open_cube

BLOCK: Final = 512  # pixels a side of a block of the file
BAND_BLOCK: Final = SPECIES_PER_SHARD  # species read and written at once
READ_BYTES: Final = 64 * 2**20  # stored bytes read at once
PLAIN: Final[Mapping[str, Any]] = {  # of the file that the COG is made from
    "driver": "GTiff",
    "tiled": True,
    "blockxsize": BLOCK,
    "blockysize": BLOCK,
    "interleave": "band",
    "compress": "deflate",
    "zlevel": 1,
    "bigtiff": "if_safer",
    "sparse_ok": True,
}
CACHE_BYTES: Final = 128 * 2**20  # of GDAL, whose own is a share of the machine

BBox = tuple[float, float, float, float]


def export(url: str, name: str, out: Path, level: int = 0, bbox: BBox | None = None) -> dict[str, Any]:
    """Write a layer (inputs: at their own resolution) as a COG and say what was written.

    `name` is a layer id, any name that `cube.export.selection.find_layer` takes for one (`Plantago alpina`), or `species`:
    the maps of all species as the bands of one file. The file covers the region of the cube, of products that of their release.
    `level` is the pyramid level, `bbox` (west, south, east, north) in degrees cuts a window, grown outward to whole pixels.
    Values are those of the cube: a stored value times the file's scale plus its offset is in units, and 'no data' is the
    file's nodata. Classes come with colour table and names; up to 255 of them are bytes, more are uint16. Class names lie
    in the file as CF flags and beside it in `<out>.aux.xml`, where GDAL and QGIS look for them. The colours of the map page
    lie in `<out without .tif>.qml`, which QGIS takes unasked; a style that somebody saved there from QGIS is kept.
    Raises `CubeError` for an unknown layer, a window outside the cube, a place that cannot be written.
    """
    cube = open_cube(url)
    release = releases.current(cube)  # once: values, window and style are of the same one
    layer_id = find_layer(cube, release["products"], name)
    selection = select(cube, release["products"], layer_id, level)
    window = window_of(cube, covered_region(cube, release, selection), selection, bbox, layer_id)
    folder = out.parent / f".{out.name}.{uuid.uuid4().hex}.partial"
    try:
        folder.mkdir(parents=True)
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            document = write_cog(cube, selection, window, layer_id, folder)
        legend, legend_target = folder / "cog.tif.aux.xml", out.with_name(f"{out.name}.aux.xml")
        if legend.exists():
            legend.replace(legend_target)
        else:
            legend_target.unlink(missing_ok=True)  # of a file that was here before: its legend is not this layer's
        (folder / "cog.tif").replace(out)
        style = put_style(style_of(cube, selection, layer_id), out)
    except (OSError, rasterio.errors.RasterioError) as error:
        reason = getattr(error, "strerror", None) or error  # not the name of our own file beside it
        raise CubeError(f"{out}: cannot be written ({reason}); check the folder, its permissions and the space left.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"layer": layer_id, "file": str(out), **document, "bytes": out.stat().st_size, "style": style}


def parse_bbox(text: str | None) -> BBox | None:
    """`W,S,E,N` in degrees as numbers; raises `CubeError` for anything else."""
    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise CubeError(f"--bbox is '{text}'; write four numbers in degrees, W,S,E,N.") from None
    return west, south, east, north


def covered_region(cube: CubeStore, release: Mapping[str, Any], selection: Selection) -> Region:
    """What a layer covers: inputs the region of the cube, products the region of their release."""
    window = release.get("region_km") if selection.version else None
    return cube.region.crop(*window) if window else cube.region


def window_of(cube: CubeStore, region: Region, selection: Selection, bbox: BBox | None, layer_id: str) -> Window:
    """The pixels of `region` (arrays reach beyond it, to whole units) that a box in degrees touches, all without a box.

    Raises `CubeError` where it touches none.
    """
    t = cube.region.transform(selection.resolution, selection.level)
    left, bottom, right, top = region.bounds
    height, width = selection.array.shape[-2:]
    first_row, first_col = math.floor((top - t.f) / t.e), math.floor((left - t.c) / t.a)
    end_row, end_col = min(height, math.ceil((bottom - t.f) / t.e)), min(width, math.ceil((right - t.c) / t.a))
    if bbox is None:
        return Window(first_row, first_col, end_row - first_row, end_col - first_col)
    if len(bbox) != 4 or any(isinstance(edge, str) for edge in bbox):
        raise CubeError(f"bbox is {bbox}; it must be four numbers: W,S,E,N in degrees.")
    west, south, east, north = bbox
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise CubeError(f"bbox is {west:g},{south:g},{east:g},{north:g}; it must be W,S,E,N in degrees with W < E and S < N.")
    edges = bounds_in(cube.region.grid.epsg, bbox, 4326)
    row, col = max(first_row, math.floor((edges[3] - t.f) / t.e)), max(first_col, math.floor((edges[0] - t.c) / t.a))
    row1, col1 = min(end_row, math.ceil((edges[1] - t.f) / t.e)), min(end_col, math.ceil((edges[2] - t.c) / t.a))
    if row >= row1 or col >= col1:
        raise CubeError(
            f"bbox {west:g},{south:g},{east:g},{north:g} lies outside the region of {layer_id} in {cube.url};"
            f" choose a box that touches {_degrees(region)} (W,S,E,N)."
        )
    return Window(row, col, row1 - row, col1 - col)


def _degrees(region: Region) -> str:
    """W,S,E,N of a region in degrees, as `--bbox` writes them."""
    return ",".join(f"{edge:.3f}" for edge in bounds_in(4326, region.bounds, region.grid.epsg))


def write_cog(cube: CubeStore, selection: Selection, window: Window, layer_id: str, folder: Path) -> dict[str, Any]:
    """Blocks of the cube to a plain GeoTIFF, that one to `cog.tif`; both in `folder`. Says what was written."""
    classes, stored_fill = selection.classes, selection.array.fill_value
    dtype, fill = np.dtype(selection.array.dtype), np.asarray(stored_fill).item()
    if classes and max(value for value, _, _ in classes) < 255:
        # A palette of bytes is what every tool draws and a 256th of the colour table that uint16 needs.
        dtype, fill = np.dtype(np.uint8), 255
    t = cube.region.transform(selection.resolution, selection.level)
    transform = Affine(t.a, 0, t.c + window.col * t.a, 0, t.e, t.f + window.row * t.e)
    plain, cog = folder / "plain.tif", folder / "cog.tif"
    grid = {"height": window.height, "width": window.width, "crs": CRS.from_epsg(cube.region.grid.epsg), "transform": transform}
    with rasterio.open(plain, "w", count=len(selection.bands), dtype=dtype, nodata=fill, **grid, **PLAIN) as target:
        _describe(target, cube, selection, layer_id)
        for part, bands, values in _blocks(selection, window):
            if (values != stored_fill).any():
                place = RasterWindow(part.col - window.col, part.row - window.row, part.width, part.height)
                values = np.where(values == stored_fill, fill, values).astype(dtype)
                target.write(values, [band + 1 for band in bands], window=place)
    is_class = selection.layer.kind == "class"
    options = {
        "COMPRESS": "DEFLATE",
        "BLOCKSIZE": str(_block(dtype.itemsize * len(selection.bands))),
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": "ALL_CPUS",
        "OVERVIEW_RESAMPLING": "MODE" if is_class else "AVERAGE",
        "PREDICTOR": "NO" if is_class else "YES",
    }
    # GDAL's own driver, since rio-cogeo's translation loses the units of bands; its validator has the last word.
    rasterio.shutil.copy(plain, cog, driver="COG", **options)
    valid, errors, _ = cog_validate(str(cog), strict=True, quiet=True)
    if not valid:
        raise CubeError(
            f"{layer_id}: the file made is no valid COG ({'; '.join(errors)}); please report it with the layer's name."
        )
    if classes:
        (folder / "cog.tif.aux.xml").write_bytes(_legend(classes, len(selection.bands)))
    west, south, east, north = rasterio.transform.array_bounds(window.height, window.width, transform)
    return {
        "title": selection.layer.long_name,
        "level": selection.level,
        "resolution_m": transform.a,
        "shape": [window.height, window.width],
        "bands": list(selection.bands),
        "dtype": str(dtype),
        "nodata": None if fill != fill else fill,
        "scale": selection.layer.scale,
        "offset": selection.layer.offset,
        "units": _one(selection.units),
        "classes": len(classes),
        "bounds": [west, south, east, north],
        "crs": cube.region.grid.code,
    }


def _blocks(selection: Selection, window: Window) -> Iterator[tuple[Window, range, NDArray[Any]]]:
    """(part of the window, bands, their stored values): all species of a continent in one block would be gigabytes."""
    count = len(selection.bands)
    step = min(count, BAND_BLOCK) if selection.layered else count
    for part in _parts(window, selection.array.dtype.itemsize * step):
        for first in range(0, count, step):
            bands = range(first, min(first + step, count))
            yield part, bands, selection.read(part, bands if len(bands) < count else None)


def _one(units: tuple[str, ...]) -> str:
    """The units of a file where its bands share them, else those of each."""
    return units[0] if len(set(units)) == 1 else ", ".join(units)


def _block(bytes_a_pixel: int) -> int:
    """Pixels a side of a block of the COG, whose pixels lie together with all their bands: at most READ_BYTES where it can."""
    return next((side for side in (BLOCK, BLOCK // 2, BLOCK // 4) if side**2 * bytes_a_pixel <= READ_BYTES), BLOCK // 8)


def _parts(window: Window, bytes_a_pixel: int) -> Iterator[Window]:
    """Tiles of whole blocks of the file, no more than READ_BYTES each (or one block)."""
    side = BLOCK * max(1, int((READ_BYTES / bytes_a_pixel) ** 0.5) // BLOCK)
    for row in range(window.row, window.row + window.height, side):
        for col in range(window.col, window.col + window.width, side):
            yield Window(row, col, min(side, window.row + window.height - row), min(side, window.col + window.width - col))


def _describe(target: DatasetWriter, cube: CubeStore, selection: Selection, layer_id: str) -> None:
    """Names, units, scale, colours, and who made it under which licence: a layer's own before the cube's."""
    attrs: Any = {**cube.root.attrs, **selection.array.attrs}
    keys = (
        "license",
        "attribution",
        "references",
        "reference_years",
        "reference_year",
        "reference_area_m2",
        "note",
        "cell_methods",
    )
    tags = {key: str(attrs[key]) for key in keys if key in attrs}
    target.update_tags(
        TITLE=selection.layer.long_name,
        LAYER=layer_id,
        CUBE=str(cube.root.attrs.get("title", "")),
        **tags,
        **({"version": selection.version} if selection.version else {}),
    )
    count = len(selection.bands)
    target.descriptions = selection.bands
    target.units = selection.units
    if selection.steps:
        target.scales, target.offsets = selection.steps, (0.0,) * count
    elif (selection.layer.scale, selection.layer.offset) != (1.0, 0.0):
        target.scales, target.offsets = (selection.layer.scale,) * count, (selection.layer.offset,) * count
    if selection.classes:
        flags = {
            key: " ".join(map(str, attrs[key])) if key == "flag_values" else attrs[key]
            for key in ("flag_values", "flag_meanings", "flag_colors")
        }
        for band in range(1, count + 1):
            target.update_tags(band, **flags)
        if count == 1:
            target.write_colormap(1, {value: (*rgb(colour), 255) for value, _, colour in selection.classes})


def _legend(classes: tuple[tuple[int, str, str], ...], bands: int) -> bytes:
    """Class names as GDAL reads them: category names and a raster attribute table (usages of GDALRATFieldUsage)."""
    root = ElementTree.Element("PAMDataset")
    names = {value: name for value, name, _ in classes}
    columns = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8), ("Alpha", 0, 9))
    for band in range(1, bands + 1):
        part = ElementTree.SubElement(root, "PAMRasterBand", band=str(band))
        categories = ElementTree.SubElement(part, "CategoryNames")
        for value in range(max(names) + 1):
            ElementTree.SubElement(categories, "Category").text = names.get(value, "")
        table = ElementTree.SubElement(part, "GDALRasterAttributeTable", tableType="thematic")
        for i, (name, kind, usage) in enumerate(columns):
            field = ElementTree.SubElement(table, "FieldDefn", index=str(i))
            for tag, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
                ElementTree.SubElement(field, tag).text = text
        for i, (value, name, colour) in enumerate(classes):
            row = ElementTree.SubElement(table, "Row", index=str(i))
            for cell in (value, name, *rgb(colour), 255):
                ElementTree.SubElement(row, "F").text = str(cell)
    # Without an XML declaration: GDAL takes the first node of the file for the root.
    return ElementTree.tostring(root, encoding="unicode").encode()


def as_text(document: dict[str, Any]) -> str:
    """What was written, for a person."""
    rows, cols = document["shape"]
    bands = f", {len(document['bands'])} bands" if len(document["bands"]) > 1 else ""
    style = f" QGIS draws it as {document['style']} says." if document["style"] else ""
    return (
        f"{document['layer']} is in {document['file']}: {rows} x {cols} pixels of {document['resolution_m']:g} m{bands}.{style}"
    )
