"""Satellite patches as published, and what their numbers mean: JPEG and GeoTIFF to reflectance.

Encoding of the JPEG patches (GeoPlant, Picek et al. 2024, section on Sentinel-2): reflectance x 10,000 clipped at
10,000, divided by it, raised to 1 / 2.5, times 255. Eight bits and JPEG cost up to `JPEG_TOLERANCE`, see `decode_jpeg`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.errors
from affine import Affine
from numpy.typing import NDArray

from cube.errors import SourceError

GAMMA: Final = 2.5
TIFF_NODATA: Final = -1
REFLECTANCE_STEPS: Final = 10_000

Floats = NDArray[np.float32]

_LINEAR: Final = ((np.arange(256) / 255.0) ** GAMMA).astype(np.float32)


@dataclass(frozen=True)
class Patch:
    """One survey's image as published: red, green, blue, near infrared, uint8 (JPEG) or int16 (GeoTIFF).

    `transform` maps pixels to metres of EPSG:3035 where the file says so, else it is None.
    """

    values: NDArray[Any]  # (4, H, W)
    transform: Affine | None = None

    def reflectance(self) -> Floats:
        """(4, H, W) reflectance, 0 to 1 for JPEG patches; NaN where there is no data."""
        if self.values.dtype == np.uint8:
            return decode_jpeg(self.values)
        out = np.asarray(self.values, np.float32) / np.float32(REFLECTANCE_STEPS)
        out[self.values == TIFF_NODATA] = np.nan
        return out


def decode_jpeg(values: NDArray[np.uint8]) -> Floats:
    """JPEG values 0..255 to reflectance (v / 255)^2.5, any shape."""
    return np.asarray(_LINEAR[values], np.float32)


@contextmanager
def open_image(path: Path, content: bytes | None = None) -> Iterator[Any]:
    """A raster opened without a look at its neighbours: a folder may hold a hundred patches, a drive five million.

    With `content`, the bytes of the file, nothing is read from `path`.
    """
    # A cut JPEG is grey below the cut, and only a warning: here it is an error.
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO", GDAL_ERROR_ON_LIBJPEG_WARNING="YES"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # no JPEG has a place
        try:
            with rasterio.open(path if content is None else io.BytesIO(content)) as source:
                yield source
        except rasterio.errors.RasterioError as error:
            cause = error.__cause__ or error
            raise SourceError(f"{path}: is truncated or no image ({cause}); fetch the file again.") from None


def _read(path: Path, content: bytes | None, what: str, bands: int, dtype: str) -> tuple[NDArray[Any], Affine | None]:
    with open_image(path, content) as source:
        if source.count != bands:
            raise SourceError(f"{path}: has {source.count} bands; {what} has {bands}.")
        if source.dtypes[0] != dtype:
            raise SourceError(f"{path}: holds {source.dtypes[0]}; {what} holds {dtype}.")
        is_laea = source.crs is not None and source.crs.is_projected and _is_laea(source.crs)
        return source.read(), source.transform if is_laea else None


def _is_laea(crs: Any) -> bool:
    """Whether a CRS is EPSG:3035 in all but name: patches of 2025 call its datum unknown."""
    definition = crs.to_dict()
    parameters = {"proj": "laea", "lat_0": 52, "lon_0": 10, "x_0": 4_321_000, "y_0": 3_210_000}
    return definition.get("init") == "epsg:3035" or all(definition.get(k) == v for k, v in parameters.items())


def read_patch(files: Sequence[Path], contents: Sequence[bytes] | None = None) -> Patch:
    """A patch out of its RGB and its grey NIR file, or of its one GeoTIFF; `contents` are the bytes of the files.

    Raises `SourceError` for damaged files, other bands or numbers than published ones have, and unequal sizes.
    """
    jpeg = ("an RGB patch", 3, "uint8"), ("an NIR patch", 1, "uint8")
    forms = jpeg if len(files) == 2 else (("a GeoTIFF patch", 4, "int16"),)
    contents_by_file: Sequence[bytes | None] = contents or [None] * len(files)
    read = [_read(*file) for file in zip(files, contents_by_file, *zip(*forms, strict=True), strict=True)]
    parts = [values for values, _ in read]
    first_size, last_size = parts[0].shape[1:], parts[-1].shape[1:]
    if first_size != last_size:
        raise SourceError(f"{files[-1]}: is of {last_size} pixels, its RGB patch of {first_size}; fetch both again.")
    return Patch(np.concatenate(parts), read[0][1])


def crop_to_cell(patch: Patch, x: float, y: float, pixels: int) -> Floats:
    """(4, pixels, pixels) reflectance around the 50 m cell that holds the point (x, y) metres, EPSG:3035; NaN beyond.

    `pixels` is an odd multiple of 5. A GeoTIFF says where its pixels lie. Of a JPEG it is known that the pixel of
    the point is the one after the middle (64 of 0..127), on a 10 m grid that nests in ours; this may be a pixel off.
    """
    reflectance = patch.reflectance()
    height, width = reflectance.shape[1:]
    col, row = int(np.floor(x / 10)), -int(np.ceil(y / 10))  # pixels of 10 m, counted from the origin of EPSG:3035
    if patch.transform is not None:
        first_col, first_row = round(patch.transform.c / 10), -round(patch.transform.f / 10)
    else:
        first_col, first_row = col - width // 2, row - height // 2
    # The grid's corner is a multiple of 50 m, so cells begin at multiples of five pixels.
    half = (pixels - 5) // 2
    left = col // 5 * 5 - half - first_col
    top = row // 5 * 5 - half - first_row
    out = np.full((4, pixels, pixels), np.nan, np.float32)
    r0, r1, c0, c1 = max(top, 0), min(top + pixels, height), max(left, 0), min(left + pixels, width)
    if r0 < r1 and c0 < c1:
        out[:, r0 - top : r1 - top, c0 - left : c1 - left] = reflectance[:, r0:r1, c0:c1]
    return out
