"""The files that a reader of the tutorial brings along, for a place that is nowhere in this repository.

Their relief, climate and plants follow from formulas, so that what the maps have to show is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import from_origin

Floats = NDArray[np.float64]
BOX: Final = (-3.45, 36.98, -3.20, 37.16)  # degrees; wider than the tutorial's box
UTM: Final = "EPSG:25830"
PLOTS: Final = 360
LOW, HIGH = "Quercus rotundifolia", "Festuca clementei"  # the tutorial names both
SPECIES: Final = {  # name: (optimum in m, breadth in m, most probable)
    LOW: (1300, 250, 0.9),
    "Cistus laurifolius": (1400, 300, 0.7),
    "Berberis hispanica": (1700, 300, 0.6),
    "Genista versicolor": (2000, 300, 0.8),
    "Juniperus sabina": (2100, 250, 0.7),
    "Cytisus galianoi": (2200, 300, 0.6),
    "Arenaria imbricata": (2400, 300, 0.6),
    "Plantago nivalis": (2700, 250, 0.7),
    HIGH: (2800, 250, 0.9),
    "Lavandula latifolia": (1200, 300, 0.6),
    "Thymus serpylloides": (2300, 300, 0.8),
    "Erinacea anthyllis": (1900, 300, 0.7),
}
HABITATS: Final = ((1600, "Holm oak forest"), (2350, "Broom and juniper scrub"), (9999, "High mountain grassland"))


def elevation(lon: Floats, lat: Floats) -> Floats:
    """Metres: a ridge from west to east with side valleys, out of a plain of 200 m."""
    return np.maximum(200, 3000 - 1900 * np.abs(lat - 37.06) / 0.045 + 150 * np.sin((lon + 3.33) * 160))


def write(folder: Path) -> None:
    """Write `data/dem.tif`, `data/surface.tif`, `data/climate/bio1.tif` to `bio19.tif`, `data/plots.csv`, `data/covers.csv`."""
    (folder / "data/climate").mkdir(parents=True)
    _write_dem(folder / "data")
    _write_climate(folder / "data/climate")
    _write_tables(folder / "data")


def _write_dem(folder: Path) -> None:
    to_utm = Transformer.from_crs("OGC:CRS84", UTM, always_xy=True)
    west, south, east, north = to_utm.transform_bounds(*BOX)
    rows, cols = int((north - south) / 25), int((east - west) / 25)
    x, y = np.meshgrid(west + 25 * (np.arange(cols) + 0.5), north - 25 * (np.arange(rows) + 0.5))
    lon, lat = Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True).transform(x, y)
    about = {
        "driver": "GTiff",
        "height": rows,
        "width": cols,
        "count": 1,
        "crs": UTM,
        "transform": from_origin(west, north, 25, 25),
    }
    with rasterio.open(folder / "dem.tif", "w", dtype="float32", nodata=-9999, **about) as target:
        target.write(elevation(lon, lat).astype(np.float32), 1)
    lake = np.hypot(lon + 3.31, (lat - 37.05) * 1.25) < 0.006
    with rasterio.open(folder / "surface.tif", "w", dtype="uint8", nodata=255, **about) as target:
        target.write(lake.astype(np.uint8), 1)


SEASONS = {3: 38, 4: 640}  # bio3 in percent, bio4 as standard deviation x 100


def _write_climate(folder: Path) -> None:
    west, south, east, north = BOX
    step = 1 / 120
    rows, cols = round((north - south) / step), round((east - west) / step)
    lon, lat = np.meshgrid(west + step * (np.arange(cols) + 0.5), north - step * (np.arange(rows) + 0.5))
    height = elevation(lon, lat)
    for number in range(1, 20):
        rain = number >= 12
        values = (400 + height * 0.15) / (1 if number == 12 else 6) if rain else 22 - height * 0.0065 + number
        if number in SEASONS:
            values = SEASONS[number] + height * 0.001
        with rasterio.open(
            folder / f"bio{number}.tif",
            "w",
            driver="GTiff",
            height=rows,
            width=cols,
            count=1,
            dtype="float32",
            crs="EPSG:4326",
            transform=from_origin(west, north, step, step),
            nodata=-9999,
        ) as target:
            target.write(values.astype(np.float32), 1)


def _write_tables(folder: Path) -> None:
    rng = np.random.default_rng(8)
    lon, lat = rng.uniform(-3.378, -3.292, PLOTS), rng.uniform(37.032, 37.098, PLOTS)
    height = elevation(lon, lat)
    ids = [f"SN-{i:04d}" for i in range(PLOTS)]
    habitat = [next(name for top, name in HABITATS if h < top) for h in height]
    table = {
        "plot": ids,
        "lon": lon.round(6),
        "lat": lat.round(6),
        "year": rng.integers(2005, 2022, PLOTS),
        "area_m2": rng.choice([50, 100, 200], PLOTS),
        "habitat": habitat,
    }
    pd.DataFrame(table).to_csv(folder / "plots.csv", index=False)
    rows = [
        (ids[i], name, round(float(rng.uniform(2, 60)), 1))
        for name, (optimum, breadth, most) in SPECIES.items()
        for i in np.flatnonzero(rng.random(PLOTS) < most * np.exp(-0.5 * ((height - optimum) / breadth) ** 2))
    ]
    pd.DataFrame(rows, columns=["plot", "species", "cover"]).to_csv(folder / "covers.csv", index=False)
