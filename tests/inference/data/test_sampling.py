"""Training sees what prediction sees: predictors sampled at a cell are those of the cell in its unit's window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cube.errors import ModelError
from cube.grid import CELL, Region
from cube.layers.inputs import INPUTS
from cube.records.geoplant.dataset import GeoPlant
from cube.records.geoplant.metadata import stream_metadata
from cube.records.geoplant.source import FileSource
from cube.records.places import CubeSource, Places, places_of
from cube.storage.store import CubeStore, create_cube, resolution_of
from inference.cascade.cells import blur
from inference.data import shards
from inference.data.recipe import recipe, recipe_of
from inference.data.sampling import sample, sample_source
from inference.data.shards import SampleStore, is_on_disk
from inference.network.batches import predict_surveys
from inference.network.deep_sdm import ModelSpec
from inference.network.ensemble import Ensemble
from tests.support.dense import embed_cells, read_window
from tests.support.geoplant import write_cube, write_jpeg, write_table

REGION = Region(4700, 2850, 4720, 2870, 10)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    cube = create_cube(str(tmp_path_factory.mktemp("sampling") / "c.zarr"), REGION, "t")
    rng = np.random.default_rng(0)
    for name in ("sentinel2", "landsat", "elevation", "soil", "landcover", "climate", "bioclim"):
        layer = INPUTS[name]
        size = resolution_of(layer)
        cube.ensure_group(layer.group, [layer], size)
        array = cube.array(layer.path)
        if layer.dtype == "float32":
            values = rng.normal(0, 1, array.shape).astype(np.float32)
        else:
            values = rng.integers(1, 200, array.shape).astype(layer.dtype)
        if name == "landcover":
            values = rng.integers(1, 18, array.shape).astype(np.uint8)
        values[..., : values.shape[-1] // 7] = layer.fill  # a part without data
        array[:] = values
    return cube


def test_dense_prediction_equals_prediction_at_sampled_places(cube: CubeStore) -> None:
    what = recipe(cube)
    assert set(what.modalities) == {"satellite", "landsat", "table_50m", "climate", "table_1km"}
    torch.manual_seed(0)
    spec = ModelSpec(
        (*what.modalities, "survey"), 5, what.table_50m_names, what.table_1km_names, d=8, hidden=16, width=8, dilations=(1, 2)
    )
    ensemble = Ensemble(spec, 2, [f"s{i}" for i in range(5)])
    unit = list(REGION.units())[3]
    window = {k: torch.from_numpy(v) for k, v in read_window(cube, unit, what, spec.halo).items()}
    dense = ensemble.probability(embed_cells(ensemble, window, 2020)).numpy()
    rng = np.random.default_rng(1)
    rows = np.r_[rng.integers(0, 200, 40), 0, 0, 199, 199]
    cols = np.r_[rng.integers(0, 200, 40), 0, 199, 0, 199]
    x = unit.west + (cols + rng.uniform(0.01, 0.99, len(cols))) * CELL
    y = unit.north - (rows + rng.uniform(0.01, 0.99, len(rows))) * CELL
    places = sample(cube, what, x, y, spec.receptive_field)
    eta = predict_surveys(ensemble, places, np.full(len(x), 2020.0), np.full(len(x), 100.0))
    seen = 1 - np.exp(-np.exp(eta))
    np.testing.assert_allclose(seen, dense[rows * 200 + cols], atol=1e-5)


@pytest.mark.slow
def test_samples_on_disk_equal_those_in_memory(cube: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of a cube, and out of any source, with all modalities on disk; places in no order, read square by square."""
    monkeypatch.setattr("inference.data.sampling.SWEEP_M", 4_000)
    what = recipe(cube)
    rng = np.random.default_rng(3)
    x, y = 4_700_000 + rng.uniform(0, 20_000, 60), 2_850_000 + rng.uniform(0, 20_000, 60)
    source, places = CubeSource(cube), Places.at(x, y)
    for name, taken in (
        ("cube", lambda sample_store: sample(cube, what, x, y, 3, sample_store=sample_store)),
        ("source", lambda sample_store: sample_source(source, what, places, 3, sample_store=sample_store)),
    ):
        memory, disk = taken(None), taken(SampleStore(tmp_path / name, 0))
        assert is_on_disk(disk)
        for modality in memory.modalities:
            expected, found = memory.values[modality], disk.values[modality]
            np.testing.assert_array_equal(found[np.arange(len(found))], expected)
        np.testing.assert_array_equal(memory.corner, disk.corner)


def test_predictors_are_the_same_from_a_cube_and_from_any_other_source(cube: CubeStore) -> None:
    """The cube as a `SampleSource` gives what `sample` gives; only 1 km layers are of one cell instead of four."""
    what = recipe(cube)
    rng = np.random.default_rng(2)
    x, y = 4_700_000 + rng.uniform(0, 20_000, 40), 2_850_000 + rng.uniform(0, 20_000, 40)
    a = sample(cube, what, x, y, 5)
    b = sample_source(CubeSource(cube), what, Places.at(x, y), 5)
    for name in ("satellite", "landsat", "table_50m"):
        np.testing.assert_array_equal(a.values[name], b.values[name])
    assert (a.table_50m_names, a.table_1km_names, a.modalities) == (b.table_50m_names, b.table_1km_names, b.modalities)
    # Of the four 1 km cells around a place, the heaviest is the one that holds it.
    assert a.corner is not None
    assert a.weight is not None
    nearest = a.corner[np.arange(40), a.weight.argmax(axis=1)]
    for name in ("climate", "table_1km"):
        np.testing.assert_array_equal(a.values[name][nearest], b.values[name])


def test_a_recipe_is_what_a_cube_and_another_source_have_in_common(cube: CubeStore) -> None:
    both = recipe(cube, None, ("landsat", "elevation", "footprint", "bioclim"))
    assert both.modalities == ("landsat", "table_50m", "table_1km")
    assert {m: [layer.name for layer in layers] for m, layers in both.groups.items()} == {
        "landsat": ["landsat"],
        "table_50m": ["elevation"],
        "table_1km": ["bioclim"],
    }


def test_layers_that_tell_nothing_are_no_predictors() -> None:
    assert not any(INPUTS[name].predictor for name in ("surface", "corine_class", "sentinel2_count"))


def test_predictors_come_out_of_a_geoplant_folder(cube: CubeStore, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = pd.DataFrame(
        {
            "longitude": [10.05, 10.06],
            "latitude": [48.5, 48.51],
            "survey": [11, 3018575],
            "patch_id": [11, 3018575],
            "series_id": [11, 3018575],
        }
    )
    for number in rows["survey"]:
        write_jpeg(tmp_path, 2024, int(number), rng.uniform(0, 0.3, (4, 128, 128)).astype(np.float32))
        write_cube(tmp_path, 2024, "landsat", int(number), rng.integers(0, 200, (6, 4, 21)))
        write_cube(tmp_path, 2024, "climate", int(number), rng.integers(2500, 2900, (4, 19, 12)))
    values = tmp_path / "EnvironmentalValues"
    write_table(values / "Elevation/PA-train-elevation.csv", {"surveyId": [3018575, 11], "Elevation": [300, 100]})
    write_table(values / "LandCover/PA-train-landcover.csv", {"surveyId": [11, 3018575], "LandCover": [4, 10]})
    write_table(
        values / "Climate/PA-train-bioclimatic.csv",
        {"surveyId": [11, 3018575], **{f"Bio{i}": [2_800, 2_850] for i in range(1, 20)}},
    )
    files = FileSource(GeoPlant(tmp_path))
    what = recipe(cube, None, files.layers)
    got = sample_source(files, what, places_of(rows, "PA"), 9)
    assert got.modalities == ("satellite", "landsat", "table_50m", "climate", "table_1km")
    assert "satellite" in got.values
    assert got.values["satellite"].shape == (2, 4, 45, 45)
    assert np.isfinite(got.values["satellite"]).all()
    assert "table_50m" in got.values
    assert got.values["table_50m"][:, got.table_50m_names.index("elevation")].tolist() == [100, 300]
    assert got.values["table_50m"][:, got.table_50m_names.index("landcover.igbp10")].tolist() == [0, 1]
    climate, coarse = got.interpolated("climate"), got.interpolated("table_1km")
    assert climate is not None
    assert climate.shape == (2, 4, 228)
    assert 250 <= climate[:, 1].min() <= climate[:, 1].max() <= 290
    assert coarse is not None
    np.testing.assert_allclose(coarse[:, 0], [6.85, 11.85], atol=1e-3)
    assert not files.report.remarks


def test_the_land_cover_is_one_column_a_class(cube: CubeStore) -> None:
    what = recipe(cube, ("table_50m",))
    places = sample(cube, what, np.array([4_715_025.0]), np.array([2_855_025.0]), 1)
    columns = [i for i, n in enumerate(what.table_50m_names) if n.startswith("landcover")]
    assert "table_50m" in places.values
    assert places.values["table_50m"][0, columns].sum() == 1
    assert places.modalities == ("table_50m",)


def test_a_blurred_species_has_one_value_a_square_and_keeps_its_mean() -> None:
    rng = np.random.default_rng(0)
    index = np.sort(rng.choice(200 * 200, 30_000, replace=False))
    p = rng.uniform(0, 1, len(index)).astype(np.float32)
    seen = blur(p, index, 200, 1)
    row, col = np.divmod(index, 200)
    square = row // 20 * 10 + col // 20
    for number in range(0, 100, 7):
        inside = square == number
        np.testing.assert_allclose(seen[inside], p[inside].mean(), rtol=1e-4)
    assert len(np.unique(blur(p, index, 200, 10))) == 1


RECORDS = 5_079_797  # of GeoPlant
CLIMATE, STATIC = 4 * 228 * 2, 45 * 4  # bytes of a record: monthly series in two bytes, columns of tables


def test_geoplants_patches_stay_as_packed_as_they_were_published(real_data: Path, tmp_path: Path) -> None:
    geoplant = GeoPlant(real_data / "geoplant" / "glc23")
    rows = next(stream_metadata(geoplant.layout, "PO"))
    places, files = places_of(rows, "PO"), FileSource(geoplant)
    what = recipe_of([INPUTS["sentinel2"], INPUTS["landsat"]])
    memory = sample_source(files, what, places, 13)
    disk = sample_source(files, what, places, 13, sample_store=SampleStore(tmp_path, 0))
    assert is_on_disk(disk)
    some = np.array([[99, 3], [3, 0]])
    np.testing.assert_array_equal(disk.values["satellite"][some], memory.values["satellite"][some])
    np.testing.assert_array_equal(disk.values["satellite"][:], memory.values["satellite"])
    np.testing.assert_array_equal(disk.values["satellite"][np.arange(100) % 7 == 2], memory.values["satellite"][2::7])
    published = sum(path.stat().st_size for path in geoplant.layout.folder.rglob("SatelliteImages/*/*/*/*"))
    span, length = 16, 4
    assert disk.values["satellite"].nbytes == published + 100 * (span + length)
    # What is written of a hundred records, and what the miniature lacks, at the size of all of GeoPlant.
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.suffix in (".packed", ".spans", ".rows"))
    assert written == disk.values["satellite"].nbytes + disk.values["landsat"].nbytes
    assert RECORDS * (written / 100 + CLIMATE + STATIC) < 60e9
    assert RECORDS * 4 * 125 * 125 * 2 > 600e9  # pixels of one patch by one, two bytes each


def test_packing_that_was_stopped_goes_on(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geoplant = GeoPlant(real_data / "geoplant" / "glc23")
    places, files = places_of(next(stream_metadata(geoplant.layout, "PO")), "PO"), FileSource(geoplant)
    what = recipe_of([INPUTS["sentinel2"]])
    monkeypatch.setattr(shards, "IMAGES", 30)
    real, calls = FileSource.packed_patches, list[int]()

    def stopped(self: FileSource, some: Places) -> list[bytes]:
        calls.append(len(some))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, some)

    monkeypatch.setattr(FileSource, "packed_patches", stopped)
    with pytest.raises(KeyboardInterrupt):
        sample_source(files, what, places, 3, sample_store=SampleStore(tmp_path, 0))
    with (tmp_path / "images" / "images.packed").open("ab") as file:
        file.write(b"half a piece")
    disk = sample_source(files, what, places, 3, sample_store=SampleStore(tmp_path, 0))
    assert calls == [30, 30, 30, 30, 10]
    np.testing.assert_array_equal(disk.values["satellite"][:], sample_source(files, what, places, 3).values["satellite"])
    (tmp_path / "images" / "images.packed").write_bytes(b"")
    with pytest.raises(ModelError, match=r"images\.packed ends before row 0"):
        disk.values["satellite"][np.array([0])]


def test_a_place_without_a_patch_has_none_when_packed(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    write_jpeg(tmp_path, 2024, 11, rng.uniform(0, 0.3, (4, 128, 128)).astype(np.float32))
    write_jpeg(tmp_path, 2024, 3018575, rng.uniform(0, 0.3, (4, 128, 128)).astype(np.float32))
    next(tmp_path.rglob("3018575.jpeg")).write_bytes(b"no image")
    rows = pd.DataFrame(
        {
            "survey": [11, 42, 3018575],
            "longitude": [10.0, 10.1, 10.2],
            "latitude": [50.0, 50.1, 50.2],
            "patch_id": [11, 42, 3018575],
            "series_id": [11, 42, 3018575],
        }
    )
    files = FileSource(GeoPlant(tmp_path))
    disk = sample_source(
        files, recipe_of([INPUTS["sentinel2"]]), places_of(rows, "PA"), 3, sample_store=SampleStore(tmp_path / "scratch", 0)
    )
    known = np.isfinite(disk.values["satellite"][:]).any(axis=(1, 2, 3))
    assert known.tolist() == [True, False, False]
    assert files.report.remarks["places without a satellite patch"] == (1, ["42"])
    assert files.report.remarks["places whose satellite patch cannot be read, taken as missing"][0] == 1
