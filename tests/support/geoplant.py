"""Writes GeoPlant folders as they were published, out of arrays: what a reader of the real download will meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image

from cube.records.geoplant.images import GAMMA


@dataclass(frozen=True)
class Names:
    """Folders and file names of one year, by kind of file; `{s}` is Train or Test, `{t}` train or test."""

    rgb: str
    nir: str
    tiff: str
    landsat: str
    climate: str


NAMES = {
    2023: Names("SatelliteImages/rgb", "SatelliteImages/nir", "", "", ""),
    2024: Names(
        "PA_{s}_SatellitePatches_RGB/pa_{t}_patches_rgb",
        "PA_{s}_SatellitePatches_NIR/pa_{t}_patches_nir",
        "",
        "TimeSeries-Cubes/TimeSeries-Cubes/GLC24-PA-{t}-landsat_time_series/GLC24-PA-{t}-landsat{-}time{-}series_{id}_cube.pt",
        "TimeSeries-Cubes/TimeSeries-Cubes/GLC24-PA-{t}-bioclimatic_monthly/GLC24-PA-{t}-bioclimatic_monthly_{id}_cube.pt",
    ),
    2025: Names(
        "",
        "",
        "SatelitePatches/PA-{t}",
        "SateliteTimeSeries-Landsat/cubes/PA-{t}/GLC25-PA-{t}-landsat{-}time{-}series_{id}_cube.pt",
        "BioclimTimeSeries/cubes/PA-{t}/GLC25-PA-{t}-bioclimatic_monthly_{id}_cube.pt",
    ),
    2026: Names(
        "SatelliteData/Sentinel2Patches-jpeg/PA-{s}-Sentinel2Patches-RGB+NIR/rgb",
        "SatelliteData/Sentinel2Patches-jpeg/PA-{s}-Sentinel2Patches-RGB+NIR/nir",
        "SatelliteData/Sentinel2Patches-tiff/PA-{s}-Sentinel2Patches",
        "TimeSeries/Landsat/cubes/PA-{t}-landsat-time-series/PA-{t}-landsat{-}time{-}series_{id}_cube.pt",
        "TimeSeries/Bioclim/cubes/PA-{t}-bioclimatic-monthly/PA-{t}-bioclimatic_monthly_{id}_cube.pt",
    ),
}


def file_of(root: Path, year: int, what: str, number: int, split: str = "train", padded: bool = False) -> Path:
    """Where that year puts a survey's file of one kind (rgb, nir, tiff, landsat, climate)."""
    template = getattr(NAMES[year], what)
    # Train is spelt with hyphens and test with underscores.
    text = template.replace("{s}", split.capitalize()).replace("{t}", split).replace("{-}", "-" if split == "train" else "_")
    if text.endswith(".pt"):
        return root / text.replace("{id}", str(number))
    digits = str(number).zfill(4) if padded else str(number)
    return root / text / digits[-2:] / digits[-4:-2] / f"{number}.{'tiff' if what == 'tiff' else 'jpeg'}"


def encode_jpeg(reflectance: NDArray[Any]) -> NDArray[np.uint8]:
    """Reflectance to the values that a published JPEG holds, before compression; NaN becomes 0 as published."""
    clipped = np.clip(np.nan_to_num(reflectance), 0.0, 1.0)
    return np.asarray(np.rint(clipped ** (1 / GAMMA) * 255), np.uint8)


def write_jpeg(root: Path, year: int, number: int, reflectance: NDArray[Any], split: str = "train", padded: bool = False) -> None:
    """A patch (4, H, W) of reflectance as an RGB and a grey NIR JPEG: quality 90 and 4:2:0, the tables in the real files."""
    values = encode_jpeg(reflectance)
    for what, image in (("rgb", np.moveaxis(values[:3], 0, -1)), ("nir", values[3])):
        path = file_of(root, year, what, number, split, padded)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=90, subsampling=2)


def write_tiff(
    root: Path, year: int, number: int, reflectance: NDArray[Any], west: float, north: float, split: str = "train"
) -> None:
    """A patch (4, H, W) of reflectance as a four-band int16 GeoTIFF, upper left corner in metres of EPSG:3035."""
    path = file_of(root, year, "tiff", number, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.where(np.isnan(reflectance), -1, np.rint(reflectance * 10_000)).astype(np.int16)
    # As published: the projection is that of EPSG:3035, the datum goes by no name.
    crs = "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80 +units=m +no_defs"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=4,
        height=values.shape[1],
        width=values.shape[2],
        dtype="int16",
        nodata=-1,
        crs=crs,
        transform=Affine(10, 0, west, 0, -10, north),
    ) as out:
        out.write(values)


def write_cube(root: Path, year: int, what: str, number: int, values: NDArray[Any], split: str = "train") -> Path:
    """A cube of landsat or climate as torch saves it, strides and all."""
    path = file_of(root, year, what, number, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch = pytest.importorskip("torch", reason="torch writes the cubes")
    tensor = torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, 0, -1), np.float32)).permute(2, 0, 1)
    torch.save(tensor, path)
    return path


def write_table(path: Path, columns: dict[str, Any], separator: str = ",") -> Path:
    """A table of values or metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False, sep=separator)
    return path
