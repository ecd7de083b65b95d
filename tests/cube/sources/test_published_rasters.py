"""Published products read by their rows: the numbers of the publisher, GeoPlant's copies, and wrong names refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine

from cube.config import Config, load_config
from cube.errors import ConfigError, SourceError
from cube.grid import Region, Unit
from cube.layers import legends
from cube.layers.inputs import INPUTS
from cube.sources.open import open_sources
from cube.sources.published_rasters import PRODUCTS
from cube.sources.reader import Reader

REGION = Region(4700, 2850, 4715, 2860, 10)
FIRST, SECOND = REGION.units()


def raster(
    path: Path,
    values: Any,
    size: int = 1000,
    dtype: str = "uint16",
    nodata: float | None = None,
    scale: float = 1.0,
    crs: str | None = "EPSG:3035",
) -> None:
    rows, cols = REGION.shape(size)
    bands = np.broadcast_to(np.asarray(values, dtype), (np.shape(values)[0] if np.ndim(values) == 3 else 1, rows, cols))
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=rows,
        width=cols,
        count=len(bands),
        dtype=dtype,
        crs=crs,
        transform=REGION.transform(size),
        nodata=nodata,
    ) as target:
        target.write(bands)
        target.scales = [scale] * len(bands)


def config_of(folder: Path, *sources: dict[str, Any]) -> Config:
    path = folder / "config.yaml"
    region = {"west_km": 4700, "south_km": 2850, "east_km": 4715, "north_km": 2860}
    path.write_text(yaml.safe_dump({"title": "t", "cube": "c.zarr", "region": region, "unit_km": 10, "sources": list(sources)}))
    return load_config(path)


def reader_of(folder: Path, source: dict[str, Any]) -> Reader:
    return open_sources(config_of(folder, source), REGION)[0]


def read(folder: Path, source: dict[str, Any], unit: Unit = FIRST) -> np.ndarray[Any, Any]:
    reader = reader_of(folder, source)
    layer = INPUTS[source["layer"]]
    return layer.decode(np.asarray(reader.read(REGION, unit)[layer.name]))


def test_chelsa_months_come_in_kelvin_and_millimetres(tmp_path: Path) -> None:
    """Of the 912 files of `test_templates`, 76 here: a year in one file."""
    for v, variable in enumerate(PRODUCTS["chelsa-2.1-monthly"].bands):
        for year in range(2000, 2019):
            values = (0, 2700, 2800, 2600)[v] + 10 * (year - 2000) + np.arange(1, 13)[:, None, None]
            # The file's own scale must not be applied a second time.
            raster(tmp_path / "chelsa" / f"{variable}_{year}.tif", values, size=5000, scale=0.1)
    seen = read(tmp_path, {"layer": "climate", "published": "chelsa-2.1-monthly", "raster": "chelsa/{variable}_{year}.tif"})
    assert seen.shape == (4, 228, 10, 10)
    assert seen[0, 12 * 5 + 2].mean() == pytest.approx(0.5, abs=0.051)  # (10 x 5 + 3) / 100 mm, stored in tenths
    assert seen[3, 12 * 18 + 11].mean() == pytest.approx((2600 + 180 + 12) / 10, abs=1e-3)


def test_bioclim_has_an_offset_where_it_is_a_temperature_and_none_where_it_is_a_difference(tmp_path: Path) -> None:
    numbers = [431 if i in (1, 2, 6) else 2831 for i in range(19)]
    raster(tmp_path / "bio.tif", np.array(numbers)[:, None, None], nodata=65535)
    seen = read(tmp_path, {"layer": "bioclim", "published": "chelsa-2.1-bioclim", "raster": "bio.tif"})
    degrees = [i for i in range(19) if seen[i, 0, 0] == pytest.approx(9.95, abs=1e-3)]
    assert degrees == [0, 4, 5, 7, 8, 9, 10]
    assert [i for i in range(19) if seen[i, 0, 0] == pytest.approx(283.1, abs=1e-3)] == sorted({*range(19)} - {*degrees, 1, 2, 6})
    assert [round(float(seen[i, 0, 0]), 3) for i in (1, 2, 6)] == [43.1] * 3


def test_soil_stays_in_mapped_units_and_its_no_data_is_out_before_it_is_interpolated(tmp_path: Path) -> None:
    values = np.full((9, *REGION.shape(500)), 60)
    values[:, ::2] = -32768  # undeclared in the file
    raster(tmp_path / "soil.tif", values, size=500, dtype="int16")
    seen = read(tmp_path, {"layer": "soil", "published": "soilgrids-2.0", "raster": "soil.tif"})
    assert np.nanmin(seen) == np.nanmax(seen) == 60
    assert np.nanmean(seen[3]) / 10 == 6  # percent: SoilGrids maps g/kg


def test_footprint_pressures_of_geoplant_lose_every_kind_of_no_data(tmp_path: Path) -> None:
    numbers = {"Built1994": 2147483647, "Roads": -2, "Railways": 255, "Lights2009": 127, "NavWater1994": -9999}
    for band in PRODUCTS["human-footprint-detail"].bands:
        values = np.full((1, *REGION.shape(1000)), 4)
        values[0, 0, 0] = numbers.get(band, 4)
        raster(tmp_path / f"{band}_WGS84.tif", values, dtype="int32")
    source = {"layer": "footprint_detail", "published": "human-footprint-detail", "raster": "{band}_WGS84.tif"}
    seen = read(tmp_path, source)
    assert set(np.unique(seen[np.isfinite(seen)])) == {np.float32(4)}
    names = [PRODUCTS["human-footprint-detail"].bands[i] for i in range(14) if np.isnan(seen[i]).any()]
    assert sorted(names) == sorted(numbers)


def test_real_pressures_of_geoplant_are_scores(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "geoplant/glc23/EnvironmentalRasters/HumanFootprint/detailed"
    rows = {"built2009": "Built2009", "lights2009": "Lights2009"}
    paths = {
        label: str(folder / f"{rows.get(label, 'Lights2009')}_WGS84.tif")
        for label in INPUTS["footprint_detail"].labels["footprint_pressure"]
    }
    seen = read(tmp_path, {"layer": "footprint_detail", "published": "human-footprint-detail", "raster": paths})
    assert np.isfinite(seen).mean() > 0.9
    assert 0 <= np.nanmin(seen) <= np.nanmax(seen) <= 10


def corine(folder: Path, codes: bool = False) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(2)
    values = rng.choice([2, 12, 24, 41, 48], REGION.shape(100)).astype(np.int16)
    values[:10] = -128
    table = {v: c for v, c, _, _ in legends.CORINE} | {48: 999, -128: -128}
    raster(folder / "corine.tif", np.vectorize(table.get)(values)[None] if codes else values[None], size=100, dtype="int16")
    return values


@pytest.mark.parametrize("codes", [False, True])
def test_corine_gives_exact_shares_at_1_km_and_its_class_at_50_m(tmp_path: Path, codes: bool) -> None:
    values = corine(tmp_path, codes)[:100, :100]
    shares = read(tmp_path, {"layer": "corine", "published": "corine-2018", "raster": "corine.tif"})
    assert shares.shape == (45, 10, 10)
    assert np.isnan(shares[:, 0]).all()  # a kilometre outside of the map
    blocks = values.reshape(10, 10, 10, 10)
    for value in (2, 12, 24, 41):
        np.testing.assert_allclose(shares[value - 1, 1:], (blocks == value).mean(axis=(1, 3))[1:], rtol=1e-6)
    np.testing.assert_allclose(shares[44, 1:], (blocks == 48).mean(axis=(1, 3))[1:], rtol=1e-6)  # without class
    np.testing.assert_allclose(shares[:, 1:].sum(axis=0), 1, rtol=1e-5)
    classes = read(tmp_path, {"layer": "corine_class", "published": "corine-2018", "raster": "corine.tif"})
    expected = np.where(np.isin(values, [2, 12, 24, 41]), values, np.nan).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(classes, expected)


def test_a_region_that_no_unit_divides_gets_whole_kilometres_at_its_edge(tmp_path: Path) -> None:
    """The second unit reaches 5 km beyond the region: what the raster has there is read, what it has not stays empty."""
    corine(tmp_path)
    shares = read(tmp_path, {"layer": "corine", "published": "corine-2018", "raster": "corine.tif"}, SECOND)
    assert shares.shape == (45, 10, 10)
    surface = {"layer": "surface", "published": "corine-2018", "raster": "corine.tif"}
    stored = np.asarray(reader_of(tmp_path, surface).read(REGION, SECOND)["surface"])
    assert (stored[:, 100:] == 255).all()
    assert set(np.unique(stored[20:, :100])) == {0, 1, 255}  # 48 is no data and no coastline vouches for land


def test_surface_is_the_majority_of_what_the_classes_say_not_what_the_majority_class_says(tmp_path: Path) -> None:
    """7 of 25 pixels are forest, 6 grass, 12 water: water is the largest class, land the largest surface."""
    cell = np.array([10] * 7 + [30] * 6 + [80] * 12).reshape(5, 5)
    rows, cols = REGION.shape(50)
    raster(tmp_path / "wc.tif", np.tile(cell, (rows, cols))[None], size=10, dtype="uint8")
    seen = read(tmp_path, {"layer": "surface", "published": "esa-worldcover-2021", "raster": "wc.tif"})
    assert (seen == legends.LAND).all()


def test_modis_says_surface_and_igbp_from_its_first_band(tmp_path: Path) -> None:
    values = np.ones((13, *REGION.shape(500)))
    values[0], values[0, :4], values[0, 4:8], values[12] = 5, 17, 13, 255
    raster(tmp_path / "m.tif", values, size=500, dtype="uint8")
    source = {"published": "modis-mcd12q1-6.1", "raster": "m.tif"}
    surface = read(tmp_path, {"layer": "surface", **source})
    assert [surface[0, 0], surface[50, 0], surface[100, 0]] == [legends.WATER, legends.SEALED, legends.LAND]
    assert read(tmp_path, {"layer": "igbp", **source})[100, 0] == 5
    assert np.isnan(read(tmp_path, {"layer": "landcover", **source})[12]).all()


def test_elevation_comes_from_those_tiles_that_are_there(tmp_path: Path) -> None:
    row = PRODUCTS["copernicus-dem-glo-30"]
    path = tmp_path / row.file.format(north="N48", east="E015")
    path.parent.mkdir(parents=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=360,
        width=360,
        count=1,
        dtype="float32",
        crs="EPSG:4326",
        transform=Affine(1 / 360, 0, 15, 0, -1 / 360, 49),
    ) as target:
        target.write(np.full((1, 360, 360), 321, np.float32))
    source = {"layer": "elevation", "published": "copernicus-dem-glo-30", "raster": f"{tmp_path}/"}
    seen = read(tmp_path, source)
    assert set(np.unique(seen[np.isfinite(seen)])) == {np.float32(321)}
    assert np.isfinite(seen).any()


def test_licence_and_years_come_from_the_row_unless_the_configuration_says_otherwise(tmp_path: Path) -> None:
    corine(tmp_path)
    source = {"layer": "corine", "published": "corine-2018", "raster": "corine.tif", "attribution": "my own copy"}
    made = reader_of(tmp_path, source).source
    assert made is not None
    assert made.attribution == "my own copy"
    assert made.license == PRODUCTS["corine-2018"].license
    assert made.reference_years == "2018"


def test_scale_of_the_row_may_be_overridden(tmp_path: Path) -> None:
    raster(tmp_path / "s.tif", np.full((9, 1, 1), 40), dtype="int16")
    seen = read(tmp_path, {"layer": "soil", "published": "soilgrids-2.0", "raster": "s.tif", "scale": 2, "nodata": [7]})
    assert (seen == 80).all()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"layer": "soil", "published": "soilgrid-2", "raster": "x.tif"}, ["sources[0]", "soilgrid-2", "soilgrids-2.0"]),
        (
            {"layer": "soil", "published": "corine-2018", "raster": "x.tif"},
            ["corine_class", "not the layer soil", "soilgrids-2.0"],
        ),
        ({"layer": "soil", "raster": "{variabel}.tif"}, ["sources[0]", "{variabel}", "{variable}"]),
        ({"layer": "soil", "raster": "{variable}.tif"}, ["9 of 9 files", "bdod.tif", "cfvo.tif, ..."]),
        ({"layer": "soil", "raster": "one.tif"}, ["has 1 bands", "needs 9"]),
        ({"layer": "srtm", "raster": "bare.tif"}, ["no CRS", "gdal_edit.py"]),
        (
            {"layer": "elevation", "published": "copernicus-dem-glo-30", "raster": "tiles/{north}{east}.tif"},
            ["no such file", "N48E015"],
        ),
        ({"layer": "srtm", "raster": []}, ["sources[0].raster", "is empty"]),
        ({"layer": "srtm", "raster": "one.tif", "coastline": "x.shp"}, ["sources[0]", "belongs to the layer surface"]),
    ],
)
def test_a_wrong_source_is_one_sentence_before_any_work(tmp_path: Path, source: dict[str, Any], words: list[str]) -> None:
    raster(tmp_path / "one.tif", 1)
    raster(tmp_path / "bare.tif", 1, crs=None)
    with pytest.raises((ConfigError, SourceError)) as caught:
        reader_of(tmp_path, source)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not (tmp_path / "c.zarr").exists()
