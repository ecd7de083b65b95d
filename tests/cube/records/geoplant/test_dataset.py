"""Every modality loads as published: the real miniatures of three years, and what damaged files say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cube.errors import SourceError, TableError
from cube.grid import EUROPE
from cube.records.geoplant.dataset import AbsentError, GeoPlant
from cube.records.geoplant.images import decode_jpeg
from cube.records.geoplant.metadata import stream_metadata
from cube.records.geoplant.published_inputs import climate, landsat
from tests.support.geoplant import encode_jpeg, file_of, write_cube, write_jpeg, write_table


def test_all_records_of_2023_have_their_patches_and_series(real_data: Path) -> None:
    geoplant = GeoPlant(real_data / "geoplant" / "glc23")
    records = next(stream_metadata(geoplant.layout, "PO"))
    assert len(records) == 100
    patches = [geoplant.patch(int(i), "PO") for i in records["patch_id"]]
    assert {(p.values.shape, p.values.dtype.name) for p in patches} == {((4, 128, 128), "uint8")}
    series, known = geoplant.landsat_rows(records["series_id"].to_numpy(), "PO")
    assert known.sum() == 100
    assert series.shape == (100, 6, 4, 21)
    assert series.dtype == np.float32
    # `eos` ends a series: from there on, and nowhere before, there is nothing.
    flat = landsat(series)
    missing = np.isnan(flat).all(axis=1)
    assert (np.diff(missing.astype(int), axis=1) >= 0).all()
    assert missing[:, -1].any()
    assert not missing[:, 0].any()
    assert 0 <= np.nanmin(series) <= np.nanmax(series) < 255
    np.testing.assert_array_equal(series[0, 0, :, 0], [12, 11, 14, 11])  # the red of 2000, as printed


def test_surveys_of_2023_are_days_in_patches(real_data: Path) -> None:
    geoplant = GeoPlant(real_data / "geoplant" / "glc23")
    surveys = next(stream_metadata(geoplant.layout, "PA", ("train",)))
    assert len(surveys) == 100
    assert surveys["patch_id"].nunique() == 99
    assert surveys["area_m2"].isna().all()  # 2023 gives none


def test_the_published_raster_of_2023_is_read_at_points(real_data: Path) -> None:
    geoplant = GeoPlant(real_data / "geoplant" / "glc23")
    paths = {p.stem: p for p in geoplant.layout.rasters}
    assert set(paths) == {"Built2009_WGS84", "Lights2009_WGS84"}
    import rasterio

    for path in paths.values():
        with rasterio.open(path) as source:
            whole = source.read(1, masked=True)
            lon, lat = np.array([2.35, 14.42, -30.0]), np.array([48.85, 50.09, 60.0])  # Paris, Prague, the sea
            rows, cols = zip(*(source.index(x, y) for x, y in zip(lon, lat, strict=True)), strict=True)
            truth = np.ma.filled(whole[list(rows), list(cols)].astype(np.float32), np.nan)
        np.testing.assert_array_equal(geoplant.raster_values(path, lon, lat)[:, 0], truth)


@pytest.mark.parametrize(
    ("year", "number", "image", "dtype"), [("glc24", 1322301, 128, np.uint8), ("glc25", 5000108, 64, np.int16)]
)
def test_a_survey_of_2024_and_of_2025_loads_as_published(
    real_data: Path, year: str, number: int, image: int, dtype: type[np.generic]
) -> None:
    geoplant = GeoPlant(real_data / "geoplant" / year)
    patch = geoplant.patch(number, "PA")
    assert patch.values.shape == (4, image, image)
    assert patch.values.dtype == dtype
    for what, shape in (("landsat", (6, 4, 21)), ("climate", (4, 19, 12))):
        values = getattr(geoplant, what)(number, "PA")
        assert values.shape == shape
        assert values.dtype == np.float32
        path = next(
            p
            for p in (real_data / "geoplant" / year).rglob(
                f"*{what[:3]}*{number}*.pt" if what == "landsat" else f"*bioclim*{number}*.pt"
            )
        )
        torch = pytest.importorskip("torch")
        np.testing.assert_array_equal(values, torch.load(path, weights_only=True).numpy())
    series = climate(geoplant.climate(number, "PA")[None])[0]
    assert series.shape == (4, 228)
    assert series[0].min() >= 0
    assert series[0].max() < 500  # mm a month
    assert 240 < series[1].min() < series[1].max() < 310  # K
    assert (series[2] >= series[1]).all()
    assert (series[1] >= series[3]).all()
    rows = next(stream_metadata(geoplant.layout, "PA", ("train", "test")))
    assert (rows["survey"] == number).any()
    assert np.isneginf(rows["area_m2"]).any()


def test_the_patch_of_2025_lies_around_its_survey(real_data: Path) -> None:
    geoplant = GeoPlant(real_data / "geoplant" / "glc25")
    rows = next(stream_metadata(geoplant.layout, "PA", ("test",)))
    place = rows[rows["survey"] == 5000108].iloc[0]
    x, y = EUROPE.project(place["longitude"], place["latitude"])
    transform = geoplant.patch(5000108).transform
    assert transform is not None
    col, row = ~transform @ (float(x), float(y))
    assert abs(col - 32) <= 1
    assert abs(row - 32) <= 1


def test_jpeg_values_are_reflectance_raised() -> None:
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_allclose(10_000 * decode_jpeg(values), 10_000 * (values / 255) ** 2.5, rtol=1e-6)
    np.testing.assert_array_equal(encode_jpeg(decode_jpeg(values)), values)


def test_the_reader_of_jpeg_agrees_with_pillow(real_data: Path) -> None:
    folder = real_data / "geoplant" / "glc24"
    patch = GeoPlant(folder).patch(1322301)
    rgb = np.moveaxis(np.asarray(Image.open(next(folder.rglob("*rgb/01/23/1322301.jpeg")))), -1, 0)
    nir = np.asarray(Image.open(next(folder.rglob("*nir/01/23/1322301.jpeg"))))
    apart = np.abs(patch.values.astype(int) - np.concatenate([rgb, nir[None]]))
    assert apart.max() <= 6  # two builds of libjpeg
    assert apart.mean() < 0.2


def test_a_link_that_was_unpacked_as_text_is_named(tmp_path: Path) -> None:
    """As some archive tools leave it: the path of the target is what the file holds."""
    path = write_cube(tmp_path, 2024, "landsat", 1011, np.zeros((6, 4, 21)))
    path.write_text("../GLC24-PA-train-landsat_time_series/GLC24-PA-train-landsat-time-series_1322301_cube.pt")
    with pytest.raises(SourceError, match="a symbolic link that was unpacked as a file"):
        GeoPlant(tmp_path).landsat(1011)


PATCH = np.random.default_rng(0).uniform(0, 0.4, (4, 128, 128)).astype(np.float32)


def test_missing_and_damaged_files_are_one_sentence_each(tmp_path: Path) -> None:
    write_jpeg(tmp_path, 2024, 1011, PATCH)
    write_cube(tmp_path, 2024, "landsat", 1011, np.zeros((6, 4, 20)))
    geoplant = GeoPlant(tmp_path)
    with pytest.raises(
        AbsentError, match=r"77 has no satellite patch \(expected .*pa_train_patches_rgb/77/00/77\.jpeg|/77/77\.jpeg"
    ):
        geoplant.patch(77)
    with pytest.raises(SourceError, match=r"shape \(6, 4, 20\); a published Landsat cube has \(6, 4, 21\)"):
        geoplant.landsat(1011)
    with pytest.raises(AbsentError, match="no climate series"):
        geoplant.climate(1011)
    rgb = file_of(tmp_path, 2024, "rgb", 1011)
    whole = rgb.read_bytes()
    rgb.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"1011\.jpeg: is truncated or no image"):
        geoplant.patch(1011)
    rgb.write_bytes(b"")
    with pytest.raises(SourceError, match=r"1011\.jpeg: is truncated or no image"):
        geoplant.patch(1011)
    Image.fromarray(np.zeros((128, 128), np.uint8)).save(rgb)
    with pytest.raises(SourceError, match="has 1 bands; an RGB patch has 3"):
        geoplant.patch(1011)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(rgb)
    with pytest.raises(SourceError, match="fetch both again"):
        geoplant.patch(1011)


def test_values_of_several_tables_are_joined_by_id_and_the_newest_version_counts(tmp_path: Path) -> None:
    soil = tmp_path / "EnvironmentalValues" / "SoilGrids"
    write_table(soil / "v1" / "PA-train-soilgrids.csv", {"surveyId": [1, 2, 3], "Soilgrid-clay": [10, 20, 30]})
    write_table(soil / "v2" / "PA-train-soilgrids.csv", {"": [0, 1], "surveyId": [3.0, 1.0], "Soilgrid-clay": [33, ""]})
    write_table(soil / "v2" / "PO-train-soilgrids.csv", {"surveyId": [1], "Soilgrid-clay": [99]})
    geoplant = GeoPlant(tmp_path)
    ids = np.array([3, 1, 2, 4])
    values, known = geoplant.values("soil", ["Soilgrid-clay", "Soilgrid-silt"], ids, "PA")
    np.testing.assert_array_equal(values[:, 0], [33, np.nan, 20, np.nan])
    np.testing.assert_array_equal(known, [True, True, True, False])
    assert np.isnan(values[:, 1]).all()
    np.testing.assert_array_equal(geoplant.values("soil", ["Soilgrid-clay"], ids, "PO")[0][:, 0], [np.nan, 99, np.nan, np.nan])


def test_a_table_of_values_that_is_cut_or_has_no_ids_says_so(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "EnvironmentalValues/Elevation/PA-train-elevation.csv", {"surveyId": [1, 2], "Elevation": [5, 6]}
    )
    whole = path.read_text()
    assert GeoPlant(tmp_path).values("elevation", ["Elevation"], np.array([1]))[0][0, 0] == 5
    for damaged, cause in ((whole[:-3], "Expected 2 columns, got 1"), (whole.replace("6", "six"), "invalid value 'six'")):
        path.write_text(damaged)
        with pytest.raises(TableError, match=f"PA-train-elevation.csv: is no whole table of numbers .*{cause}"):
            GeoPlant(tmp_path).values("elevation", ["Elevation"], np.array([1]))
    write_table(path, {"plot": [1], "Elevation": [5]})
    with pytest.raises(TableError, match=r"none of its columns .* is an id such as surveyId"):
        GeoPlant(tmp_path).values("elevation", ["Elevation"], np.array([1]))
