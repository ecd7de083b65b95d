"""Landsat quarters: EcoDataCube's seasons, what QA_PIXEL leaves, the reflectance of Collection 2, exact means of 30 m pixels."""

from __future__ import annotations

import datetime
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.warp import transform

from cube.config import Source
from cube.engine.build import build
from cube.engine.inspect_config import inspect_config
from cube.engine.plan import plan
from cube.errors import ConfigError, SourceError
from cube.grid import Region
from cube.layers.inputs import INPUTS, LANDSAT_BANDS, QUARTERS
from cube.sources.landsat import LANDSAT, LandsatReader, asset_names, quarter_of
from cube.sources.open import open_sources
from cube.sources.reader import inputs_of
from cube.storage.store import open_cube
from tests.support.builds import write_config
from tests.support.scenes import Array, Scenes, needs_stackstac, open_scenes

REGION = Region(4700, 2850, 4710, 2860, 10)
UNIT = next(REGION.units())
ASSETS = ("red", "green", "blue", "nir08", "swir16", "swir22")
SIDE = 380
CLEAR, CLOUD, SHADOW, DILATED, CIRRUS, SNOW, WATER = 21824, 22280, 23888, 21826, 54596, 30048, 21952


def number(reflectance: float) -> int:
    return round((reflectance + 0.2) / 2.75e-5)


def placed() -> Affine:
    (x,), (y,) = transform("EPSG:3035", "EPSG:32633", [4705000], [2855000])
    return Affine(30, 0, round(x / 30) * 30 + 15 - 190 * 30, 0, -30, round(y / 30) * 30 + 15 + 190 * 30)


def reader(path: str, **search: object) -> LandsatReader:
    catalogue = open_scenes(path, LANDSAT, REGION, **search)
    return LandsatReader(Source(layer="landsat", stac=catalogue.search), catalogue.search, catalogue)


@pytest.mark.parametrize(
    ("day", "name"),
    [
        ("1999-12-02", "2000Q1"),
        ("2000-03-20", "2000Q1"),
        ("2000-03-21", "2000Q2"),
        ("2000-06-24", "2000Q2"),
        ("2000-06-25", "2000Q3"),
        ("2000-09-12", "2000Q3"),
        ("2000-09-13", "2000Q4"),
        ("2000-12-01", "2000Q4"),
        ("2000-12-31", "2001Q1"),
        ("2020-12-02", "2021Q1"),
    ],
)
def test_quarters_are_those_of_ecodatacube(day: str, name: str) -> None:
    assert quarter_of(datetime.datetime.fromisoformat(day)) == name


def test_bands_of_tm_and_oli_files_are_moved_by_one() -> None:
    assert asset_names({"platform": "landsat-5"})["nir"][-1] == "SR_B4"
    assert asset_names({"platform": "LANDSAT_7"})["swir2"][-1] == "SR_B7"
    assert asset_names({"platform": "landsat-8"})["nir"][-1] == "SR_B5"
    assert asset_names({"platform": "landsat-9"})["blue"][-1] == "SR_B2"
    assert "SR_B5" not in asset_names({})["nir"]


@needs_stackstac
def test_a_quarter_is_the_median_of_what_is_clear(tmp_path: Path) -> None:
    scenes = Scenes(tmp_path, "landsat-c2-l2")
    flat = np.ones((SIDE, SIDE))
    # (day, reflectance of red, QA_PIXEL): two clear ones, snow, and what must not count.
    given = [
        ("2010-07-01", 0.10, CLEAR),
        ("2010-08-01", 0.20, WATER),
        ("2010-09-12", 0.60, SNOW),
        ("2010-07-17", 0.9, CLOUD),
        ("2010-07-18", 0.01, SHADOW),
        ("2010-07-19", 0.8, DILATED),
        ("2010-07-20", 0.7, CIRRUS),
        ("2011-01-01", 0.9, CLOUD),
    ]
    for i, (day, red, quality) in enumerate(given):
        bands = {asset: flat * number(red + 0.01 * k) for k, asset in enumerate(ASSETS)}
        scenes.add(f"L{i}", day, "EPSG:32633", placed(), bands, ("qa_pixel", flat * quality, 1), fill=1)
    scenes.add(
        "T2",
        "2010-07-02",
        "EPSG:32633",
        placed(),
        {asset: flat * number(0.5) for asset in ASSETS},
        ("qa_pixel", flat * CLEAR, 1),
        fill=1,
        **{"landsat:collection_category": "T2"},
    )
    layer = INPUTS["landsat"]
    stored = reader(scenes.save()).read(REGION, UNIT)["landsat"]
    assert stored.shape == (6, 84, 200, 200)
    assert stored.dtype == np.uint8
    summer = QUARTERS.index("2010Q3")
    for k in range(6):
        assert set(np.unique(stored[k, summer])) == {round((0.20 + 0.01 * k) / layer.scale)}
    # A quarter of clouds alone is no data, and so is one without a scene.
    assert (np.delete(stored, summer, axis=1) == layer.fill).all()


@needs_stackstac
def test_names_of_files_are_found_by_satellite(tmp_path: Path) -> None:
    scenes = Scenes(tmp_path, "landsat-c2-l2")
    flat = np.ones((SIDE, SIDE))
    files = [("landsat-5", "2005-07-01", (3, 2, 1, 4, 5, 7)), ("landsat-8", "2015-07-01", (4, 3, 2, 5, 6, 7))]
    for name, day, numbers in files:
        bands = {f"SR_B{n}": flat * number(0.1 * (k + 1)) for k, n in enumerate(numbers)}
        scenes.add(name, day, "EPSG:32633", placed(), bands, ("QA_PIXEL", flat * CLEAR, 1), fill=1, platform=name)
    stored = reader(scenes.save()).read(REGION, UNIT)["landsat"]
    for name in ("2005Q3", "2015Q3"):
        seen = stored[:, QUARTERS.index(name), 100, 100] * INPUTS["landsat"].scale
        np.testing.assert_allclose(seen, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], atol=0.002)


@needs_stackstac
def test_a_layer_without_any_clear_pixel_is_an_error_and_says_so(tmp_path: Path) -> None:
    scenes = Scenes(tmp_path, "landsat-c2-l2")
    flat = np.ones((SIDE, SIDE))
    for name, day in (("L1", "2010-07-01"), ("L2", "2012-07-01")):
        bands = dict.fromkeys(ASSETS, flat * number(0.2))
        scenes.add(name, day, "EPSG:32633", placed(), bands, ("qa_pixel", flat * CLOUD, 1), fill=1)
    path = scenes.save()
    with pytest.raises(SourceError, match=r"none of the 2 scenes of 'landsat-c2-l2'.*10kmE470N285.*gaps: accept"):
        reader(path).read(REGION, UNIT)
    assert (reader(path, gaps="accept").read(REGION, UNIT)["landsat"] == 255).all()


@needs_stackstac
def test_a_cell_is_the_mean_of_its_clear_pixels_by_area(tmp_path: Path) -> None:
    """Where a scene lies in EPSG:3035 itself the mean can be worked out: 50 m cells over pixels of 25 m are four each."""
    rng = np.random.default_rng(0)
    dn: Array = rng.integers(8000, 30000, (400, 400))
    quality = rng.choice([CLEAR, CLOUD], (400, 400))
    scenes = Scenes(tmp_path, "landsat-c2-l2")
    scenes.add("L", "2010-07-01", "EPSG:3035", REGION.transform(25), dict.fromkeys(ASSETS, dn), ("qa_pixel", quality, 1), fill=1)
    stored = reader(scenes.save()).read(REGION, UNIT)["landsat"][0, QUARTERS.index("2010Q3")]
    clear = np.where(quality == CLEAR, dn * 2.75e-5 - 0.2, np.nan).reshape(200, 2, 200, 2)
    valid = np.isfinite(clear).sum(axis=(1, 3))
    with np.errstate(invalid="ignore"):
        mean = np.nansum(clear, axis=(1, 3)) / valid
    assert ((stored == 255) == (valid == 0)).all()
    scale = INPUTS["landsat"].scale
    assert np.abs(stored * scale - np.clip(mean, 0, 1))[valid > 0].max() <= scale / 2 + 1e-6
    assert len(LANDSAT_BANDS) == 6


def seasons(folder: Path, years: Sequence[int]) -> str:
    """A catalogue with a scene in the middle of each quarter: reflectance has its peak in summer."""
    scenes, flat = Scenes(folder, "landsat-c2-l2"), np.ones((SIDE, SIDE))
    for year in years:
        for day, red in (("02-01", 0.10), ("05-01", 0.30), ("08-01", 0.50), ("10-20", 0.30)):
            bands = {asset: flat * number(red + 0.02 * k) for k, asset in enumerate(ASSETS)}
            scenes.add(f"L{year}-{day}", f"{year}-{day}", "EPSG:32633", placed(), bands, ("qa_pixel", flat * CLEAR, 1), fill=1)
    return scenes.save()


@needs_stackstac
def test_layers_derived_from_scenes_are_built_like_those_of_a_raster(tmp_path: Path) -> None:
    """Mean, trend, amplitude and phase of what the scenes were made from, and no second reading of them."""
    source = {
        "layer": "landsat",
        "stac": {"catalog": seasons(tmp_path, (2010, 2011, 2012)), "start": "2010-01-01", "end": "2012-12-31"},
        "derive": ["mean", "trend", "amplitude", "phase"],
    }
    config = write_config(tmp_path, sources=[source], region=REGION)
    planned = plan(config)
    assert build(config) == []
    cube = open_cube(config.cube_url)
    assert {row.layer for row in planned.rows} >= {f"landsat_{name}" for name in source["derive"]}
    got = {name: np.asarray(cube.array(f"inputs/50m/landsat_{name}")[...]) for name in source["derive"]}
    step = INPUTS["landsat"].scale
    for k in range(6):
        np.testing.assert_allclose(got["mean"][k], 0.30 + 0.02 * k, atol=step)
        assert np.isnan(got["trend"][k]).all()  # of three years out of twenty-one
        np.testing.assert_allclose(got["amplitude"][k], 0.20, atol=step)
        # The third quarter, 25 June to 12 September, has its middle at 0.59 of the year, give or take how quarters differ.
        turn = np.arctan2(got["phase"][2 * k + 1], got["phase"][2 * k]) / (2 * np.pi) % 1
        np.testing.assert_allclose(turn, 0.57, atol=0.05)
    (row,) = inspect_config(config).sources
    assert row.derived == [f"landsat_{name}" for name in source["derive"]]
    changed = write_config(tmp_path, sources=[{**source, "derive": ["mean"]}], region=REGION)
    assert inputs_of(open_sources(changed, REGION)[0]) != inputs_of(open_sources(config, REGION)[0])


@needs_stackstac
def test_reading_a_unit_with_derived_layers_takes_what_its_reader_says(tmp_path: Path) -> None:
    search = open_scenes(seasons(tmp_path, [2010]), LANDSAT, REGION).search
    plain = reader(search.catalog)
    for derive in ((), ("mean",), ("mean", "trend", "amplitude", "phase")):
        of_scenes = replace(plain, source=Source(layer="landsat", stac=search, derive=derive))
        of_scenes.read(REGION, UNIT)  # compiled code and libraries belong to the process
        tracemalloc.start()
        try:
            of_scenes.read(REGION, UNIT)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < of_scenes.memory(UNIT) < 5 * peak


@needs_stackstac
@pytest.mark.parametrize(
    ("layer", "name", "words"),
    [
        (
            "landsat",
            "slope",
            r"sources\[0\]\.derive: 'slope' is derived from one band of .*, and landsat is a series",
        ),
        ("sentinel2", "mean", r"sources\[0\]\.derive: 'mean' is derived from a series, and sentinel2 is none"),
    ],
)
def test_what_scenes_cannot_give_is_refused_before_the_catalogue_is_read(
    tmp_path: Path, layer: str, name: str, words: str
) -> None:
    source = {"layer": layer, "stac": {"catalog": "none.json", "start": "2010-01-01", "end": "2012-12-31"}, "derive": [name]}
    config = write_config(tmp_path, sources=[source], region=REGION)
    for act in (plan, lambda config: open_sources(config, REGION)):
        with pytest.raises(ConfigError, match=words):
            act(config)


@pytest.mark.parametrize("key", [{"bands": ["red"]}, {"scale": 2}, {"nodata": [0]}, {"resampling": "nearest"}, {"stored": True}])
def test_a_key_of_rasters_beside_scenes_is_refused_not_ignored(key: dict[str, object]) -> None:
    search = {"catalog": "c.json", "start": "2010-01-01", "end": "2012-12-31"}
    with pytest.raises(ValueError, match=f"'{next(iter(key))}' says nothing of scenes"):
        Source.model_validate({"layer": "landsat", "stac": search, **key})
