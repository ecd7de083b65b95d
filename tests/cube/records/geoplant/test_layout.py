"""A folder is understood whatever the year, spelling, nesting and padding of its names, and without listing its files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cube.errors import SourceError
from cube.records.geoplant.dataset import AbsentError, GeoPlant
from cube.records.geoplant.layout import MAX_ENTRIES, candidates, find_layout
from tests.support.geoplant import NAMES, file_of, write_cube, write_jpeg, write_table, write_tiff

LANDSAT = np.arange(6 * 4 * 21, dtype=np.float32).reshape(6, 4, 21) % 200
CLIMATE = np.arange(4 * 19 * 12, dtype=np.float32).reshape(4, 19, 12)


def image(seed: int, side: int = 64) -> Any:
    return np.random.default_rng(seed).uniform(0, 0.4, (4, side, side)).astype(np.float32)


@pytest.mark.parametrize("year", [2024, 2025, 2026])
@pytest.mark.parametrize("split", ["train", "test"])
def test_files_of_every_year_are_found_by_id(tmp_path: Path, year: int, split: str) -> None:
    names = NAMES[year]
    if names.rgb:
        write_jpeg(tmp_path, year, 3018575, image(0), split)
    else:
        write_tiff(tmp_path, year, 3018575, image(0), 4_700_000, 2_900_000, split)
    write_cube(tmp_path, year, "landsat", 3018575, LANDSAT, split)
    write_cube(tmp_path, year, "climate", 3018575, CLIMATE, split)
    geoplant = GeoPlant(tmp_path)
    assert {f.split for f in geoplant.layout.folders} == {split}
    assert {f.observations for f in geoplant.layout.folders} == {"PA"}
    assert geoplant.patch(3018575, "PA").values.shape == (4, 64, 64)
    np.testing.assert_array_equal(geoplant.landsat(3018575, "PA"), LANDSAT)
    np.testing.assert_array_equal(geoplant.climate(3018575, "PA"), CLIMATE)
    with pytest.raises(AbsentError, match="3018575 has no Landsat series"):
        geoplant.landsat(3018575, "PO")


def test_the_path_of_an_id_is_the_published_one(tmp_path: Path) -> None:
    write_jpeg(tmp_path, 2023, 3018575, image(0))
    found = find_layout(tmp_path).folder_of("rgb")[0]
    assert candidates(found, 3018575) == [tmp_path / "SatelliteImages/rgb/75/85/3018575.jpeg"]


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("number", [5, 42, 123])
def test_short_ids_are_found_padded_or_not(tmp_path: Path, number: int, padded: bool) -> None:
    write_jpeg(tmp_path, 2024, number, image(number), padded=padded)
    assert GeoPlant(tmp_path).patch(number).values.shape == (4, 64, 64)


def test_a_survey_of_one_split_is_not_taken_for_another(tmp_path: Path) -> None:
    for number, split in ((1011, "train"), (2022, "test")):
        write_cube(tmp_path, 2024, "landsat", number, LANDSAT + number % 7, split)
    geoplant = GeoPlant(tmp_path)
    for number in (1011, 2022):
        np.testing.assert_array_equal(geoplant.landsat(number), LANDSAT + number % 7)


def test_tables_of_2026_are_told_apart(tmp_path: Path) -> None:
    for name in ("train", "test_iid", "test_ood", "test_glc25"):
        write_table(tmp_path / f"PresenceAbsenceSurveys/PA_metadata_{name}.csv", {"surveyId": [1], "lon": [1], "lat": [1]})
    write_table(tmp_path / "PresenceAbsenceSurveys/test_labels_iid.csv", {"surveyId": [1], "speciesIds": ["1 2"]})
    write_table(tmp_path / "PresenceOnlyOccurrences/PO_metadata_train.csv", {"surveyId": [1], "lon": [1], "lat": [1]})
    values = tmp_path / "EnvironmentalValues"
    for path in (
        "Climate/PA-test-iid-bioclimatic",
        "Climate/legacy/PA-train-bioclimatic-average",
        "Elevation/PO-train-elevation",
        "SoilGrids/v1/PA-train-soilgrids",
        "SoilGrids/v2/PA-train-soilgrids",
        "LandCover/PA-train-landcover",
        "HumanFootprint/v2/PA-train-human_footprint",
    ):
        write_table(values / f"{path}.csv", {"surveyId": [1], "a": [1]})
    (tmp_path / "SatelliteData").mkdir()
    (tmp_path / "SatelliteData/PA-Train.zip").write_bytes(b"")
    layout = find_layout(tmp_path)
    assert [t.split for t in layout.table("metadata", "PA")] == ["test_glc25", "test_iid", "test_ood", "train"]
    assert [t.observations for t in layout.table("metadata", "PO")] == ["PO"]
    assert layout.table("labels")[0].split == "test_iid"
    assert [re.findall(r"v\d", str(t.path.relative_to(tmp_path))) for t in layout.table("soil")] == [["v2"], ["v1"]]
    assert {t.what for t in layout.tables} == {"metadata", "labels", "bioclim", "elevation", "soil", "landcover", "footprint"}
    assert [p.name for p in layout.archives] == ["PA-Train.zip"]
    # The name of the dataset is not the name of a split.
    write_table(tmp_path / "GLC25_PA_metadata_test.csv", {"surveyId": [1], "lon": [1], "lat": [1]})
    assert find_layout(tmp_path).table("metadata", "PA")[0].split == "test"


def test_folders_of_ids_are_not_entered_and_flat_ones_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jpeg(tmp_path, 2024, 3018575, image(0))
    rgb = file_of(tmp_path, 2024, "rgb", 3018575)
    for i in range(60):  # a folder with many more
        folder = rgb.parents[1] / f"{i:02d}"
        folder.mkdir(exist_ok=True)
    flat = write_cube(tmp_path, 2024, "landsat", 1, LANDSAT).parent
    for i in range(2, 300):
        (flat / f"GLC24-PA-train-landsat-time-series_{i}_cube.pt").touch()
    looked: list[int] = []
    scandir = os.scandir

    class Counted:
        def __init__(self, path: Any) -> None:
            self.entries, self.count = scandir(path), 0

        def __iter__(self) -> Any:
            for entry in self.entries:
                self.count += 1
                yield entry

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: Any) -> None:
            looked.append(self.count)
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Counted)
    monkeypatch.setattr("cube.records.geoplant.layout.MAX_ENTRIES", 50)
    layout = find_layout(tmp_path)
    assert MAX_ENTRIES > 50
    assert max(looked) <= 51
    assert sum(looked) < 400
    assert len(layout.folders) == 3


def test_what_is_no_geoplant_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no such folder"):
        find_layout(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="holds no tables, patches or cubes of GeoPlant"):
        find_layout(tmp_path)
    (tmp_path / "PA-Train-Sentinel2Patches.zip").write_bytes(b"")
    with pytest.raises(SourceError, match=r"PA-Train-Sentinel2Patches\.zip is still packed"):
        find_layout(tmp_path)
