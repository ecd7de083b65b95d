"""Where published embeddings lie and what their bytes mean: the two layouts of TESSERA, and the files of AlphaEarth.

TESSERA: signed bytes times a scale of each pixel (package geotessera 0.11). AlphaEarth: bytes whose sign and squared 127.5th
are a component of a vector of length 1 (its readme). A pixel has all bands or none. How pixels become cells is said in
`cube.sources.embeddings`.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import fsspec
import numpy as np
import rasterio
import rasterio.errors
import rasterio.windows
import zarr
from affine import Affine
from numpy.typing import NDArray

from cube.errors import CubeError, SourceError
from cube.grid import Bounds, bounds_in
from cube.layers.georeference import read_georeference
from cube.sources import georeference, opening
from cube.sources.opening import is_remote, open_raster
from cube.sources.raster_grid import RasterGrid
from cube.sources.resample import Floats, Piece
from cube.storage.backends import local_path, zarr_store
from cube.storage.identity import file_identities, file_identity

MARGIN: Final = 1  # pixels around a block of cells
METRES: Final = 10.0  # a pixel of TESSERA
SAMPLE_TILES: Final = 16  # tiles whose scales tell how far values reach
BANDS: Final = 64  # of AlphaEarth
MISSING: Final = -128  # of AlphaEarth, in all bands at once
GRIDS, MASKS = "global_0.1_degree_representation", "global_0.1_degree_tiff_all"  # folders as geotessera makes them


class Tiles(Protocol):
    """Files of one year; small and picklable, so that they travel to the workers."""

    def pieces(self, target: RasterGrid) -> Iterator[Piece]:
        """The vectors of the pixels around a north-up `target`, (bands, rows, columns), NaN where there is none."""

    def largest(self, region: RasterGrid) -> float:
        """The largest value that a component has in a region, by a sample of its pixels."""

    def depends_on(self) -> Mapping[str, Any]:
        """What the values depend on, as plain values."""


@dataclass(frozen=True)
class NumpyTiles:
    """TESSERA in tiles of 0.1 degrees: `{grid}.npy`, `{grid}_scales.npy`, and a mask of land that says where they lie."""

    tiles: tuple[tuple[str, str], ...]  # path of the values, of the mask
    where: str

    @classmethod
    def find(cls, root: str, year: int, bounds: Bounds, where: str) -> NumpyTiles:
        """The tiles of a year that reach into `bounds` (degrees). Raises `SourceError` where there is none."""
        system, path = fsspec.core.url_to_fs(root)
        if system.exists(f"{path}/{GRIDS}"):
            values, masks = f"{root}/{GRIDS}/{year}", f"{root}/{MASKS}"
        else:  # .../npy/<dataset>, whose masks are of its version
            version = re.match(r"v\d+(\.\d+)?", posixpath.basename(path))
            values, masks = f"{root}/{year}", f"{posixpath.dirname(posixpath.dirname(root))}/landmasks/{version and version[0]}"
        tiles = []
        west, south, east, north = (math.floor(edge * 10) for edge in bounds)
        for lat in range(south, north + 1):
            for lon in range(west, east + 1):
                name = f"grid_{lon / 10 + 0.05:.2f}_{lat / 10 + 0.05:.2f}"
                file = f"{values}/{name}/{name}.npy"
                if system.exists(system._strip_protocol(file)):
                    tiles.append((file, f"{masks}/{name}.tiff"))
        if not tiles:
            raise SourceError(
                f"{root}: no tile of TESSERA of {year} lies in the region (looked for {values}/{name}/{name}.npy); check"
                f" {where}.path and year."
            )
        return cls(tuple(tiles), where)

    def pieces(self, target: RasterGrid) -> Iterator[Piece]:
        """See `Tiles`. Tiles were laid out on whole 10 m, the corner of their mask was not: west is floored, north is raised."""
        for file, mask in self.tiles:
            with open_raster(mask, self.where) as dataset:
                t, place = dataset.transform, georeference.grid_of(dataset)
            corner = math.floor(t.c / METRES) * METRES, math.ceil(t.f / METRES) * METRES
            place = RasterGrid(Affine(METRES, 0, corner[0], 0, -METRES, corner[1]), place.shape, place.crs)
            window = place.inside(target, MARGIN)
            if window is None:
                continue
            values, scales = _load(file), _load(file.removesuffix(".npy") + "_scales.npy")
            if values.shape[:2] != place.shape or values.shape[:2] != scales.shape[:2]:
                raise SourceError(
                    f"{file}: has {values.shape[:2]} pixels, its scales {scales.shape[:2]} and its mask {place.shape}; fetch the"
                    f" three files again ({self.where})."
                )
            at = window.toslices()
            scale = np.asarray(scales[at], np.float32)
            scale = scale if scale.ndim == 3 else scale[..., None]
            yield Piece(_scaled(np.moveaxis(values[at], -1, 0), np.moveaxis(scale, -1, 0)), _part(place, window))

    def largest(self, region: RasterGrid) -> float:
        """See `Tiles`; of evenly spaced tiles."""
        sample = self.tiles[:: -(-len(self.tiles) // SAMPLE_TILES)]
        return 127 * max(_finite_max(_load(file.removesuffix(".npy") + "_scales.npy")) for file, _ in sample)

    def depends_on(self) -> Mapping[str, Any]:
        """See `Tiles`."""
        return {"tiles": [list(file_identities([file, mask]).values()) for file, mask in self.tiles]}


@dataclass(frozen=True)
class ZarrZones:
    """TESSERA as a Zarr store (convention `geoemb`): a group of each UTM zone, southern northings below zero."""

    url: str
    year: int
    where: str

    def _zones(self) -> Iterator[tuple[zarr.Group, RasterGrid, int]]:
        """(group, pixels, place of the year) of each zone that has the year."""
        try:
            root = zarr.open_group(zarr_store(self.url, read_only=True), mode="r", zarr_format=3)
            for name, group in root.groups():
                if re.fullmatch(r"utm\d{2}", name):
                    ref = read_georeference(f"{self.url}/{name}", group.attrs)
                    years = np.asarray(group["time"][:]).tolist()  # type: ignore[index]
                    if ref.transform is not None and ref.shape is not None and ref.crs is not None and self.year in years:
                        place = RasterGrid(ref.transform, ref.shape, f"EPSG:{ref.crs.to_epsg()}")
                        yield group, place, years.index(self.year)
        except (FileNotFoundError, KeyError, ValueError, CubeError) as error:
            text = " ".join(str(error).split())
            raise SourceError(f"{self.url}: cannot be read as a store of TESSERA ({text}); check {self.where}.path.") from error

    def pieces(self, target: RasterGrid) -> Iterator[Piece]:
        """See `Tiles`; scales are NaN on water and infinite where there are no data yet."""
        for group, place, year in self._zones():
            window = place.inside(target, MARGIN)
            if window is not None:
                at: Any = window.toslices()
                scale = np.asarray(group["scales"][(year, *at)])  # type: ignore[index]
                if np.isfinite(scale).any():
                    values = np.asarray(group["embeddings"][(year, slice(None), *at)])  # type: ignore[index]
                    yield Piece(_scaled(values, scale[None]), _part(place, window))

    def largest(self, region: RasterGrid) -> float:
        """See `Tiles`; of evenly spaced rows. Raises `SourceError` where none has data."""
        largest = 0.0
        for group, place, year in self._zones():
            window = place.inside(region, MARGIN)
            if window is not None:
                rows, cols = window.toslices()
                for row in range(rows.start, rows.stop, -(-(rows.stop - rows.start) // SAMPLE_TILES)):
                    largest = max(largest, _finite_max(np.asarray(group["scales"][year, row, cols])))  # type: ignore[index]
        if not largest:
            raise SourceError(f"{self.url}: has no embeddings of {self.year} in the region; check {self.where}.path and year.")
        return 127 * largest

    def depends_on(self) -> Mapping[str, Any]:
        """See `Tiles`; what a store on this machine says of itself stands for it, and an address for what is behind it."""
        folder = local_path(self.url)
        return {"store": self.url if folder is None else file_identity(str(folder / "zarr.json")), "year": self.year}


@dataclass(frozen=True)
class Cogs:
    """AlphaEarth: a GeoTIFF of 64 bands for each part of a UTM zone, most of them with rows going north."""

    files: tuple[str, ...]
    where: str

    @classmethod
    def find(cls, root: str, year: int, region: RasterGrid, where: str) -> Cogs:
        """The files of a year that reach into a region. Raises `SourceError` where there is none."""
        system, path = fsspec.core.url_to_fs(root)
        west, south, east, north = bounds_in(4326, region.bounds, region.crs)
        zones = range(math.floor((west + 180) / 6), math.floor((east + 180) / 6) + 3)  # and their neighbours, which overlap
        names = [f"{zone}{half}" for zone in zones for half in ("N" if north > 0 else "", "S" if south < 0 else "") if half]
        paths = [file for name in names for file in sorted(system.glob(f"{path}/{year}/{name}/*.tif*")) if file[-4:] != ".vrt"]
        files = []
        for file in (system.unstrip_protocol(each) if "://" in root else each for each in paths):
            with open_raster(file, where) as dataset:
                if dataset.count != BANDS or dataset.dtypes[0] != "int8":
                    raise SourceError(
                        f"{file}: has {dataset.count} bands of {dataset.dtypes[0]}, where AlphaEarth has {BANDS} of int8; check"
                        f" {where}.path."
                    )
                if georeference.touches(dataset, region):
                    files.append(file)
        if not files:
            raise SourceError(f"{root}: no file of AlphaEarth of {year} reaches into the region; check {where}.path and year.")
        return cls(tuple(files), where)

    def pieces(self, target: RasterGrid) -> Iterator[Piece]:
        """See `Tiles`."""
        for file in self.files:
            with open_raster(file, self.where) as dataset:
                place = georeference.grid_of(dataset)
                window = place.inside(target, MARGIN)
                if window is None:
                    continue
                try:
                    with rasterio.Env(**opening.GDAL):
                        stored_values = dataset.read(window=window)
                except rasterio.errors.RasterioError as error:
                    raise SourceError(f"{file}: cannot be read ({error}); the file may be damaged ({self.where}).") from None
            steps = stored_values / np.float32(127.5)
            values = np.sign(steps) * steps**2
            values[:, (stored_values == MISSING).any(axis=0)] = np.nan
            yield Piece(values, _part(place, window))

    def largest(self, region: RasterGrid) -> float:
        """Of a vector of length 1."""
        return 1.0

    def depends_on(self) -> Mapping[str, Any]:
        """See `Tiles`."""
        return {"files": list(file_identities(self.files).values())}


def is_store(path: str) -> bool:
    """Whether there is a Zarr store at a path."""
    system, inside = fsspec.core.url_to_fs(path)
    return bool(system.exists(f"{inside}/zarr.json"))


@lru_cache(maxsize=4)
def _load(path: str) -> NDArray[Any]:
    """An array of a file: of one on this machine only what is asked for is read."""
    try:
        if not is_remote(path):
            return np.load(path, mmap_mode="r")
        with fsspec.open(path, "rb") as file:
            return np.load(file)
    except FileNotFoundError:
        raise SourceError(f"{path}: there is no such file; fetch it again.") from None
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: cannot be read as an array ({error}); fetch it again.") from None


def _scaled(stored_values: NDArray[Any], scale: NDArray[Any]) -> Floats:
    """(bands, rows, columns) values of signed bytes and their scales, all bands NaN where a scale is no positive number."""
    with np.errstate(invalid="ignore"):
        valid = (np.isfinite(scale) & (scale > 0)).all(axis=0)
        values = stored_values.astype(np.float32) * np.where(valid, scale, np.nan).astype(np.float32)
    return values


def _finite_max(scale: NDArray[Any]) -> float:
    return float(np.max(scale, where=np.isfinite(scale), initial=0.0))


def _part(place: RasterGrid, window: rasterio.windows.Window) -> RasterGrid:
    return place.window(window.row_off, window.col_off, window.height, window.width)
