"""Builds: every source checked before work, units that fail are named and the rest is built, a second run resumes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml

from cube.check import check
from cube.config import Config, load_config
from cube.engine.build import build
from cube.errors import ConfigError, SourceError
from cube.grid import Region
from cube.sources.open import open_sources
from cube.sources.rasters import RasterReader
from cube.sources.reader import inputs_of
from cube.storage import ledger
from cube.storage.ledger import Ledger
from cube.storage.progress import require_complete
from cube.storage.store import open_cube
from tests.support.rasters import write_layer

REGION = Region(4700, 2850, 4715, 2860, 10)


def raster(path: Path, bands: int = 1, size: int = 1000, seed: int = 0) -> None:
    write_layer(path, {1: "srtm", 19: "bioclim"}[bands], size, REGION, seed)


def config_of(folder: Path, sources: list[dict[str, Any]]) -> Config:
    path = folder / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "title": "t",
                "cube": "cube.zarr",
                "region": {"west_km": 4700, "south_km": 2850, "east_km": 4715, "north_km": 2860},
                "unit_km": 10,
                "sources": sources,
            }
        )
    )
    return load_config(path)


def test_values_of_a_matching_grid_come_through_unchanged(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    assert build(config_of(tmp_path, [{"layer": "bioclim", "raster": "bio.tif"}])) == []
    cube = open_cube(str(tmp_path / "cube.zarr"))
    with rasterio.open(tmp_path / "bio.tif") as source:
        np.testing.assert_array_equal(cube.array("inputs/1km/bioclim")[:], source.read())


def test_without_a_land_mask_the_region_and_nothing_else_is_land(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    build(config_of(tmp_path, [{"layer": "bioclim", "raster": "bio.tif"}]))
    surface = np.asarray(open_cube(str(tmp_path / "cube.zarr")).array("inputs/50m/surface")[:])
    assert (surface[:, :300] == 0).all()
    assert (surface[:, 300:] == 255).all()


def test_a_second_run_does_only_what_is_missing_and_a_changed_source_is_built_again(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    config = config_of(tmp_path, [{"layer": "bioclim", "raster": "bio.tif"}])
    build(config)
    seen: list[tuple[int, int]] = []
    build(config, lambda done, total, what: seen.append((done, total)))
    assert set(seen) == {(6, 6)} | {(done, 6) for done in (4, 5)}  # two layers of two units and one square
    receipt = tmp_path / "cube.zarr/ledger/inputs/bioclim/10kmE470N285.json"
    receipt.unlink()
    seen.clear()
    build(config, lambda done, total, what: seen.append((done, total)))
    assert seen[0] == (3, 6)
    raster(tmp_path / "bio.tif", 19, seed=1)
    seen.clear()
    build(config, lambda done, total, what: seen.append((done, total)))
    assert seen[0] == (2, 6)


def test_every_source_is_checked_before_any_work(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    good = {"layer": "bioclim", "raster": "bio.tif"}
    with pytest.raises(SourceError, match=r"lost\.tif: there is no such file; check sources\[1\]\.raster"):
        build(config_of(tmp_path, [good, {"layer": "srtm", "raster": "lost.tif"}]))
    with pytest.raises(SourceError, match="has 19 bands"):
        build(config_of(tmp_path, [{"layer": "corine", "raster": "bio.tif"}]))
    with pytest.raises(ConfigError, match="given twice"):
        build(config_of(tmp_path, [good, good]))
    with pytest.raises(ConfigError, match="one file for each of hfp1993, hfp2009"):
        build(config_of(tmp_path, [{"layer": "footprint", "raster": {"hfp1993": "bio.tif"}}]))
    assert not (tmp_path / "cube.zarr").exists()


def test_a_damaged_file_is_named_and_everything_else_is_built(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    raster(tmp_path / "srtm.tif")
    data = (tmp_path / "srtm.tif").read_bytes()
    (tmp_path / "srtm.tif").write_bytes(data[: len(data) - 300])
    failures = build(config_of(tmp_path, [{"layer": "srtm", "raster": "srtm.tif"}, {"layer": "bioclim", "raster": "bio.tif"}]))
    assert failures
    assert all("srtm" in f for f in failures)
    cube = open_cube(str(tmp_path / "cube.zarr"))
    assert len(cube.list_json("ledger/inputs/bioclim")) == 2
    assert len(cube.list_json("ledger/inputs/srtm")) < 2


def hashes(config: Config) -> dict[str, str]:
    return {reader.layers[0].name: inputs_of(reader) for reader in open_sources(config, REGION)}


def test_what_changes_no_value_builds_nothing_anew(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    raster(tmp_path / "one/bio.tif", 19)
    source = {"layer": "bioclim", "raster": "bio.tif", "nodata": [-9999]}
    before = hashes(config_of(tmp_path / "one", [source]))
    shutil.move(tmp_path / "one", tmp_path / "two")
    terms = {"attribution": "Somebody", "license": "CC0-1.0", "references": "a book", "reference_years": "1990"}
    others = terms | {"min_coverage": 0.5, "scale": 1, "nodata": [-9999.0]}
    assert hashes(config_of(tmp_path / "two", [source | others])) == before


@pytest.mark.parametrize(
    "change", [{"scale": 0.99}, {"offset": 0.01}, {"nodata": [0]}, {"resampling": "nearest"}, {"absent": 0.0}]
)
def test_what_changes_values_builds_them_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    raster(tmp_path / "bio.tif", 19)
    source = {"layer": "bioclim", "raster": "bio.tif"}
    before = hashes(config_of(tmp_path, [source]))
    after = hashes(config_of(tmp_path, [source | change]))
    assert after["bioclim"] != before["bioclim"]
    assert after["surface"] == before["surface"]


def test_a_corrected_algorithm_builds_its_layers_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raster(tmp_path / "bio.tif", 19)
    config = config_of(tmp_path, [{"layer": "bioclim", "raster": "bio.tif"}])
    build(config)
    old = inputs_of(open_sources(config, REGION)[0])
    monkeypatch.setattr(RasterReader, "ALGORITHM", RasterReader.ALGORITHM + 1)
    seen: list[tuple[int, int]] = []
    assert build(config, lambda done, total, what: seen.append((done, total))) == []
    assert seen[0] == (2, 6)  # the surface's units alone are as they were
    ledger = Ledger(open_cube(config.cube_url), "inputs/bioclim", inputs_of(open_sources(config, REGION)[0]))
    assert ledger.inputs != old
    assert ledger.missing(list(REGION.units())) == []


def test_receipts_in_blocks_are_believed_and_replaced_like_single_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "COMPACT_FROM", 1)
    raster(tmp_path / "bio.tif", 19)
    config = config_of(tmp_path, [{"layer": "bioclim", "raster": "bio.tif"}])
    assert build(config) == []
    cube = open_cube(config.cube_url, writable=True)
    for stage in ("inputs/bioclim", "inputs/bioclim/overviews", "inputs/surface"):
        assert cube.list_json(f"ledger/{stage}") == []
        assert len(cube.list_json(f"ledger/{stage}/blocks")) == 1
    require_complete(cube, ["bioclim", "surface"], list(REGION.units()))
    assert all(row["kept"] is not False or row["name"] == "documented" for row in check(config.cube_url, values=True)["promises"])
    seen: list[tuple[int, int]] = []
    assert build(config, lambda done, total, what: seen.append((done, total))) == []
    assert seen[0] == (4, 6)  # four units; the two squares are looked at
    cube.write_json("ledger/inputs/bioclim/10kmE470N285.json", {})  # as `check` advises
    seen.clear()
    assert build(config, lambda done, total, what: seen.append((done, total))) == []
    assert seen[0] == (3, 6)
    raster(tmp_path / "bio.tif", 19, seed=1)
    build_half(config)
    with pytest.raises(SourceError, match="lacks 1 of 2"):
        require_complete(open_cube(config.cube_url), ["bioclim"], list(REGION.units()))
    assert build(config) == []
    assert all(row["kept"] is not False or row["name"] == "documented" for row in check(config.cube_url, values=True)["promises"])


def build_half(config: Config) -> None:
    """A build that is interrupted after its first unit."""

    def interrupt(done: int, total: int, what: str) -> None:
        if what.startswith("bioclim"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(config, interrupt)


def stored(config: Config, name: str) -> np.ndarray[Any, Any]:
    """The stored values of a 50 m layer within the region."""
    return np.asarray(open_cube(config.cube_url).array(f"inputs/50m/{name}")[:, :300])


def test_a_layer_whose_source_changes_back_and_forth_holds_the_values_of_the_present_one(tmp_path: Path) -> None:
    write_layer(tmp_path / "elevation.tif", "srtm", 50, REGION)
    write_layer(tmp_path / "slope.tif", "slope", 50, REGION, seed=3)
    raster_of_slope = [{"layer": "slope", "raster": "slope.tif"}]
    elevation = {"layer": "elevation", "raster": "elevation.tif"}
    derived = [{**elevation, "derive": ["slope"]}]
    expected = {}
    for sources in (raster_of_slope, derived):
        folder = tmp_path / f"alone-{len(expected)}"
        folder.mkdir()
        for file in tmp_path.glob("*.tif"):
            shutil.copy(file, folder)
        config = config_of(folder, sources)
        build(config)
        expected[str(sources)] = stored(config, "slope")
    for sources in (raster_of_slope, derived, raster_of_slope, derived, [elevation, *raster_of_slope], derived):
        config = config_of(tmp_path, sources)
        assert build(config) == []
        np.testing.assert_array_equal(stored(config, "slope"), expected[str(sources[-1:])])
        rules = {row["name"]: row["findings"] for row in check(config.cube_url, values=True)["promises"]}
        assert rules["checksums"] == rules["stored_shards"] == []


def test_terms_and_title_follow_the_configuration(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    source = {"layer": "bioclim", "raster": "bio.tif"}
    build(config_of(tmp_path, [{**source, "attribution": "Nobody", "license": "secret", "min_coverage": 0.5}]))
    path = tmp_path / "config.yaml"
    config = config_of(tmp_path, [source])
    path.write_text(path.read_text().replace("title: t", "title: another"))
    build(load_config(path))
    cube = open_cube(config.cube_url)
    for array in ("inputs/1km/bioclim", "inputs/overviews/1km/1/bioclim"):
        assert not {"attribution", "license", "floracube_min_coverage"} & set(cube.array(array).attrs)
    assert (cube.attributes["title"], cube.root.attrs["title"]) == ("another", "another")


def test_attributes_that_an_older_version_left_become_those_of_now(tmp_path: Path) -> None:
    write_layer(tmp_path / "elevation.tif", "srtm", 50, REGION)
    config = config_of(tmp_path, [{"layer": "elevation", "raster": "elevation.tif"}])
    build(config)
    cube = open_cube(config.cube_url, writable=True)
    for path in ("inputs/50m/elevation", "inputs/overviews/50m/1/elevation"):
        array = cube.array(path)
        array.attrs.put({k: v for k, v in array.attrs.items() if k != "standard_name"} | {"flag_meanings": "old"})
    build(config)
    rules = {row["name"]: row["findings"] for row in check(config.cube_url)["promises"]}
    assert rules["metadata"] == rules["consolidated"] == rules["flags"] == []


def test_a_layer_that_no_source_makes_any_more_is_refused_with_what_brings_it_back(tmp_path: Path) -> None:
    write_layer(tmp_path / "elevation.tif", "srtm", 50, REGION)
    elevation = {"layer": "elevation", "raster": "elevation.tif"}
    build(config_of(tmp_path, [{**elevation, "derive": ["slope"]}]))
    config = config_of(tmp_path, [elevation])
    assert build(config) == []
    cube = open_cube(config.cube_url)
    with pytest.raises(SourceError, match=r"no source of the last build makes the input slope.*'derive'"):
        require_complete(cube, ["slope"], list(REGION.units()))
    rules = {row["name"]: row["findings"] for row in check(config.cube_url)["promises"]}
    assert [found["expected"] for found in rules["receipts"]] == ["what its values are made from"]
    assert "derive" in str(rules["receipts"])
    assert rules["overviews"] == []
