"""What `inspect` shows of sound and of damaged inputs: each flaw in its row, the other rows all the same."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import yaml
from affine import Affine
from PIL import Image

from cube.config import load_config
from cube.engine import inspect_page, inspect_text
from cube.engine.inspect_config import Understood, inspect_config
from cube.grid import EUROPE, Region
from tests.support.rasters import Array, write_bands
from tests.support.scenes import Scenes, needs_stackstac
from tests.system.conftest import floracube

REGION = Region(4700, 2850, 4720, 2860, 10)
WINDOW = {"west_km": 4700, "south_km": 2850, "east_km": 4720, "north_km": 2860}
COLUMNS = {"survey": "plot", "longitude": "lon", "latitude": "lat", "species": "species"}


def write(folder: Path, name: str, values: Array, size: int = 1000, **options: Any) -> None:
    write_bands(folder / name, values, REGION.transform(size), **options)


def plain(folder: Path, bands: int = 1, size: int = 1000) -> Array:
    rows, cols = REGION.shape(size)
    return np.random.default_rng(0).uniform(100, 900, (bands, rows, cols)).astype(np.float32)


def sound(folder: Path) -> dict[str, Any]:
    """A configuration without a flaw; its files are in `folder`."""
    write(folder, "dem.tif", plain(folder))
    write(folder, "frost.tif", plain(folder, 2), names=("days", "nights"))
    rng = np.random.default_rng(1)
    lon, lat = EUROPE.unproject(4_700_000 + rng.uniform(0, 20_000, 20), 2_850_000 + rng.uniform(0, 10_000, 20))
    plots = [f"{i},{a:.6f},{b:.6f}" for i, (a, b) in enumerate(zip(lon, lat, strict=True))]
    (folder / "plots.csv").write_text("\n".join(["plot,lon,lat", *plots]) + "\n")
    (folder / "species.csv").write_text("\n".join(["plot,species", *(f"{i},Poa annua" for i in range(20))]) + "\n")
    return {
        "title": "t",
        "cube": "c.zarr",
        "region": WINDOW,
        "unit_km": 10,
        "sources": [{"layer": "srtm", "raster": "dem.tif"}, {"layer": "frost", "raster": "frost.tif", "units": "d"}],
        "surveys": {"table": "plots.csv", "occurrences": "species.csv", "columns": dict(COLUMNS)},
    }


def told(folder: Path, document: dict[str, Any]) -> Understood:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    before = sorted(folder.iterdir())
    found = inspect_config(load_config(path))
    assert sorted(folder.iterdir()) == before
    return found


def test_sound_inputs_show_what_they_are(tmp_path: Path) -> None:
    found = told(tmp_path, sound(tmp_path))
    assert (found.problems, inspect_text.notes(found)) == ([], [])
    srtm, frost = found.sources
    assert (srtm.kind, srtm.resolution, srtm.crs, srtm.pixel_m, srtm.covered) == ("continuous", "1km", "EPSG:3035", 1000, 1)
    assert [(band.name, band.units) for band in frost.bands] == [("days", "d"), ("nights", "d")]
    assert srtm.bands[0].low == pytest.approx(100, abs=10)
    assert srtm.bands[0].plausible == (-500, 6000)
    assert "20 surveys" in inspect_text.text(found)
    assert json.loads(json.dumps(found.document()))["sources"][0]["layer"] == "srtm"


@needs_stackstac
def test_scenes_are_counted_by_day_and_by_unit(tmp_path: Path) -> None:
    """One scene over the western unit of two, and one far from both, which the search leaves out."""
    document = sound(tmp_path)
    scenes = Scenes(tmp_path, "sentinel-2-l2a")
    values = np.full((100, 100), 900)
    bands = {f"B{number:02d}": values for number in (2, 3, 4, 8)}
    for name, day, east in (
        ("west", "2021-06-03", 4_700_000),
        ("late", "2022-07-01", 4_700_000),
        ("far", "2021-07-01", 4_900_000),
    ):
        scenes.add(name, day, "EPSG:3035", Affine(80, 0, east, 0, -80, 2_860_000), bands, ("SCL", values * 0 + 4, 1))
    stac = {"catalog": scenes.save(), "start": "2021-01-01", "end": "2022-12-31"}
    document["sources"].append({"layer": "sentinel2", "stac": stac})
    found = told(tmp_path, document)
    row = found.sources[-1]
    assert (row.problem, row.scenes, row.units_without_data) == ("", "2 scenes, 2021-06-03 to 2022-07-01", ["10kmE471N285"])
    assert "2 scenes, 2021-06-03 to 2022-07-01" in inspect_text.text(found)
    assert inspect_text.notes(found) == ["sources[2]: 1 units have no scene (10kmE471N285)."]


Damage = Callable[[Path, dict[str, Any]], None]
DAMAGES: list[tuple[Damage, str]] = []


def shows(words: str) -> Callable[[Damage], Damage]:
    """Mark a damage to the sound inputs with what has to stand in the answer."""

    def marked(damage: Damage) -> Damage:
        DAMAGES.append((damage, words))
        return damage

    return marked


@shows("sources[0]: 1 units have no value at any point (10kmE471N285)")
def raster_covers_half(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "dem.tif", plain(folder)[..., :10])


@shows("m 50 % 1 of 2")
def units_without_data_are_counted(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "dem.tif", plain(folder)[..., :10])


@shows("dem.tif: the raster has no CRS")
def no_crs(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "dem.tif", plain(folder), crs=None)


@shows("no value anywhere in the region in nights")
def empty_band(folder: Path, document: dict[str, Any]) -> None:
    values = plain(folder, 2)
    values[1] = np.nan
    write(folder, "frost.tif", values, names=("days", "nights"))


@shows("lie outside [-500, 6000] m of the layer srtm")
def implausible_units(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "dem.tif", plain(folder) * 33)


@shows("lie outside [0, 890] d of the layer frost")
def beyond_the_given_range(folder: Path, document: dict[str, Any]) -> None:
    document["sources"][1]["valid_range"] = [0, 890]


@shows("are -9999, which many programs write for no data; declare `nodata: [-9999]`")
def nodata_that_is_not_declared(folder: Path, document: dict[str, Any]) -> None:
    values = plain(folder, 2)
    values[:, :3] = -9999
    write(folder, "frost.tif", values, names=("days", "nights"))


@shows("dem.tif: there is no such file")
def no_file(folder: Path, document: dict[str, Any]) -> None:
    (folder / "dem.tif").unlink()


@shows("have a number that is no class of the layer rock (first value 3)")
def class_without_a_name(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "rock.tif", np.full((10, 20), 3, np.uint8))
    document["sources"].append({"layer": "rock", "raster": "rock.tif", "names": {1: "chalk", 2: "marl"}})


@shows("in which units of the band days its numbers are; add `units: m`")
def no_units(folder: Path, document: dict[str, Any]) -> None:
    del document["sources"][1]["units"]


@shows("dem.tif: does not touch the region")
def elsewhere(folder: Path, document: dict[str, Any]) -> None:
    write_bands(folder / "dem.tif", plain(folder), Region(3000, 2000, 3020, 2010, 10).transform(1000))


@shows("the layer srtm is given twice")
def given_twice(folder: Path, document: dict[str, Any]) -> None:
    document["sources"].append({"layer": "srtm", "raster": "dem.tif"})


@shows("dem.tif: cannot be read as a raster")
def not_a_raster(folder: Path, document: dict[str, Any]) -> None:
    (folder / "dem.tif").write_text("no raster")


def months(folder: Path, document: dict[str, Any], numbers: Sequence[int]) -> None:
    for month in numbers:
        write(folder, f"green-{month:02d}.tif", plain(folder))
    document["sources"].append({"layer": "green", "raster": "green-{month}.tif", "units": "1"})


@shows("green-{month}.tif: there is no file of 07; fetch them")
def missing_month(folder: Path, document: dict[str, Any]) -> None:
    months(folder, document, [*range(1, 7), *range(8, 13)])


@shows("green-05.tif: has 2 bands")
def month_of_two_bands(folder: Path, document: dict[str, Any]) -> None:
    months(folder, document, range(1, 13))
    write(folder, "green-05.tif", plain(folder, 2))


@shows("has the scale 0.1 of its own, which counts already")
def scaled_twice(folder: Path, document: dict[str, Any]) -> None:
    with rasterio.open(folder / "frost.tif", "r+") as file:
        file.scales = (0.1, 0.1)
    document["sources"][1]["scale"] = 0.1


@shows("EPSG:2263 in US survey foot, pixels of 500 m")
def crs_in_feet(folder: Path, document: dict[str, Any]) -> None:
    """New York's plane in feet, far away: the table says what it is."""
    foot = 1200 / 3937
    write_bands(folder / "dem.tif", plain(folder), Affine(500 / foot, 0, 9e5, 0, -500 / foot, 3e5), crs="EPSG:2263")


@shows("its rows run from south to north, and are read so")
def upside_down(folder: Path, document: dict[str, Any]) -> None:
    west, south, _, _ = REGION.bounds
    write_bands(folder / "dem.tif", plain(folder)[:, ::-1], Affine(1000, 0, west, 0, 1000, south))


@shows("its longitudes count beyond 180 degrees east, and are read so")
def longitudes_to_360(folder: Path, document: dict[str, Any]) -> None:
    values = np.random.default_rng(0).uniform(100, 900, (180, 360)).astype(np.float32)
    write_bands(folder / "dem.tif", values, Affine(1, 0, 0, 0, -1, 90), crs="EPSG:4326")


@shows("seem swapped")
def swapped_coordinates(folder: Path, document: dict[str, Any]) -> None:
    document["surveys"]["columns"] |= {"longitude": "lat", "latitude": "lon"}


@shows("20 of 20 occurrences match no survey")
def ids_that_do_not_join(folder: Path, document: dict[str, Any]) -> None:
    (folder / "species.csv").write_text("plot,species\n" + "".join(f"A{i},Poa annua\n" for i in range(20)))


@shows("21 read = 20 used + 1 surveys given twice, first kept")
def survey_given_twice(folder: Path, document: dict[str, Any]) -> None:
    rows = (folder / "plots.csv").read_text()
    (folder / "plots.csv").write_text(rows + rows.splitlines()[3] + "\n")


@shows("there is no column 'taxon'")
def no_such_column(folder: Path, document: dict[str, Any]) -> None:
    document["surveys"]["columns"]["species"] = "taxon"


@shows("1 rows with 3 cells where the header has 2")
def wrong_separator(folder: Path, document: dict[str, Any]) -> None:
    with (folder / "species.csv").open("a") as file:
        file.write("4,Poa annua,12\n")


@shows("species.csv: table read as cp1252")
def latin_1(folder: Path, document: dict[str, Any]) -> None:
    rows = (folder / "species.csv").read_text() + "3,Isoëtes lacustris\n"
    (folder / "species.csv").write_bytes(rows.encode("latin-1"))


@shows("20 years outside 1700 to")
def impossible_years(folder: Path, document: dict[str, Any]) -> None:
    lines = (folder / "plots.csv").read_text().splitlines()
    (folder / "plots.csv").write_text("\n".join([lines[0] + ",year", *(f"{line},20150" for line in lines[1:])]) + "\n")
    document["surveys"]["columns"]["year"] = "year"


@shows("1 occurrences with a cover of zero or less")
def negative_cover(folder: Path, document: dict[str, Any]) -> None:
    lines = (folder / "species.csv").read_text().splitlines()
    rows = [f"{line},{-5 if i == 7 else 20}" for i, line in enumerate(lines[1:])]
    (folder / "species.csv").write_text("\n".join([lines[0] + ",cover", *rows]) + "\n")
    document["surveys"]["columns"]["cover"] = "cover"


@shows("10 occurrences without the name of a species")
def half_of_the_names_are_empty(folder: Path, document: dict[str, Any]) -> None:
    rows = "".join(f"{i},{'Poa annua' if i % 2 else ''}\n" for i in range(20))
    (folder / "species.csv").write_text("plot,species\n" + rows)


@shows("a name that is of no species")
def only_a_genus(folder: Path, document: dict[str, Any]) -> None:
    with (folder / "species.csv").open("a") as file:
        file.write("3,Carex sp.\n")


@shows("nearly spelt like a more frequent one; correct the table where they are one species (Poa anua (1): Poa annua (20))")
def misspelt_name(folder: Path, document: dict[str, Any]) -> None:
    with (folder / "species.csv").open("a") as file:
        file.write("3,Poa anua\n")


@shows("frost.tif: cannot be read (")
def pixels_that_are_damaged(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "frost.tif", plain(folder, 2, 100), 100, names=("days", "nights"), compress="deflate")
    data = bytearray((folder / "frost.tif").read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    (folder / "frost.tif").write_bytes(data)


@shows("behind.tif: No such file or directory); the file may be damaged (sources[1].raster)")
def virtual_raster_without_its_file(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "behind.tif", plain(folder))
    rasterio.shutil.copy(folder / "behind.tif", folder / "frost.vrt", driver="VRT")
    (folder / "behind.tif").unlink()
    document["sources"][1]["raster"] = "frost.vrt"


@shows("it declares 0 as no data, so that no cell is of the class water; if it is a class, write `gdal_edit.py -unsetnodata")
def class_that_is_no_data(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "rock.tif", (plain(folder) > 500).astype(np.uint8), nodata=0)
    document["sources"].append({"layer": "rock", "raster": "rock.tif", "names": {0: "water", 1: "chalk"}})


@shows("of the points are 255, the largest number of its type")
def bytes_up_to_255(folder: Path, document: dict[str, Any]) -> None:
    write(folder, "cover.tif", np.where(plain(folder) > 700, 255, 40).astype(np.uint8))
    document["sources"].append({"layer": "cover", "raster": "cover.tif", "units": "percent"})


def said(found: Understood) -> str:
    """All that a person is shown, blanks drawn together."""
    return " ".join(" ".join([inspect_text.text(found), *inspect_text.notes(found), *found.problems]).split())


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_each_damage_is_shown_and_the_rest_all_the_same(tmp_path: Path, damage: Damage, words: str) -> None:
    document = sound(tmp_path)
    assert words not in said(told(tmp_path, document))
    damage(tmp_path, document)
    found = told(tmp_path, document)
    assert words in said(found)
    assert any(row.covered == 1 for row in found.sources)
    for report in found.tables:
        report.check()
    page = inspect_page.page(found)
    assert all(escape(problem) in page for problem in found.problems)


def test_values_of_a_raster_that_counts_longitudes_to_360_are_found_west_of_greenwich(tmp_path: Path) -> None:
    document = sound(tmp_path)
    document["region"] = {"bbox": [-5.1, 40.0, -4.9, 40.1]}
    longitudes_to_360(tmp_path, document)
    document["sources"] = document["sources"][:1]
    del document["surveys"]
    assert told(tmp_path, document).sources[0].covered == 1


def test_a_band_that_is_absent_has_the_value_that_its_source_gives(tmp_path: Path) -> None:
    document = sound(tmp_path)
    values = plain(tmp_path, 2)
    values[1, :, :15] = np.nan
    write(tmp_path, "frost.tif", values, names=("days", "nights"))
    assert told(tmp_path, document).sources[1].bands[1].covered == 0.25
    document["sources"][1]["absent"] = 0
    nights = told(tmp_path, document).sources[1].bands[1]
    assert (nights.covered, nights.low) == (1, 0)


def test_an_upside_down_raster_is_pictured_as_it_lies(tmp_path: Path) -> None:
    straight = told(tmp_path, sound(tmp_path)).sources[0]
    document = sound(tmp_path)
    upside_down(tmp_path, document)
    turned = told(tmp_path, document).sources[0]
    assert straight.picture is not None
    np.testing.assert_array_equal(turned.picture, straight.picture)


def test_the_page_is_one_document_with_a_map_thumbnails_and_histograms(tmp_path: Path) -> None:
    document = sound(tmp_path)
    document["title"] = "Hay & <meadow>"
    document["sources"][0]["derive"] = ["topographic_position_2000m"]
    few = plain(tmp_path)
    few[0, 0, 0] = 9000
    write(tmp_path, "dem.tif", few)
    found = told(tmp_path, document)
    page = inspect_page.page(found)
    root = ElementTree.fromstring(re.sub(r"<!doctype html>|<meta[^>]*>", "", closed(page)))
    assert root.tag == "html"
    assert "http" not in page
    assert "<script" not in page
    assert "Hay &amp; &lt;meadow&gt;" in page
    assert "srtm_topographic_position_2000m" in page
    assert len(re.findall(r"M[\d.]+ [\d.]+h0", page)) == 20
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 2
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))).convert("RGBA"))
    assert image.shape == (10, 20, 4)
    assert (image[..., 3] == 255).all()
    assert page.count('aria-label="Histogram of') == 3
    assert '<td class="wrong">' in page
    assert sum(found.sources[0].bands[0].histogram) == 200


def closed(page: str) -> str:
    """The page as XML: cells and rows of tables, pictures and breaks need no end in HTML."""
    page = re.sub(r"<br>", "<br/>", re.sub(r"(<img [^>]*)>", r"\1/>", page))
    page = re.sub(r"(<t[dh][^>]*>)(.*?)(?=<t[dh]|</tr>)", lambda m: f"{m[1]}{m[2]}</{m[1][1:3]}>", page, flags=re.DOTALL)
    return page


def test_the_command_ends_with_2_where_a_build_would_refuse(tmp_path: Path) -> None:
    document = sound(tmp_path)
    told(tmp_path, document)
    assert not floracube("inspect", str(tmp_path / "config.yaml")).returncode
    floracube("inspect", str(tmp_path / "config.yaml"), "--html", str(tmp_path / "inputs.html"))
    assert "<title>t</title>" in (tmp_path / "inputs.html").read_text()
    nowhere = floracube("inspect", str(tmp_path / "config.yaml"), "--html", str(tmp_path / "no/inputs.html"), check=False)
    assert nowhere.returncode == 2
    assert "cannot be written (No such file or directory)" in " ".join(nowhere.stderr.split())
    no_units(tmp_path, document)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
    ended = floracube("inspect", str(tmp_path / "config.yaml"), "--json", check=False)
    assert ended.returncode == 2
    assert "in which units" in json.loads(ended.stdout)["problems"][0]
    raster_covers_half(tmp_path, document)
    ended = floracube("inspect", str(tmp_path / "config.yaml"), "--json", check=False)
    assert json.loads(ended.stdout)["notes"] == ["sources[0]: 1 units have no value at any point (10kmE471N285)."]


def test_layers_that_stand_in_the_way_of_each_other_are_refused_before_a_build(tmp_path: Path) -> None:
    document = sound(tmp_path)
    document["sources"].append({"layer": "frost_band", "raster": "dem.tif", "units": "m"})
    assert any(
        "the layer frost_band has the name of an axis of the layer frost" in text for text in told(tmp_path, document).problems
    )
    document = sound(tmp_path)
    document["sources"] = [
        {"layer": "elevation", "raster": "dem.tif", "derive": ["slope"]},
        {"layer": "slope", "raster": "dem.tif", "scale": 0.01},
    ]
    assert any("the layer slope is given twice" in text for text in told(tmp_path, document).problems)


def test_a_usual_number_for_no_data_among_predictors_of_the_table_is_told(tmp_path: Path) -> None:
    document = sound(tmp_path)
    lines = (tmp_path / "plots.csv").read_text().splitlines()
    cells = ["temp", "-9999", *(str(i) for i in range(19))]
    (tmp_path / "plots.csv").write_text("\n".join(f"{a},{b}" for a, b in zip(lines, cells, strict=True)) + "\n")
    document["surveys"]["columns"]["predictors"] = ["temp"]
    assert "1 surveys whose predictor 'temp' is -9999 or lower" in inspect_text.text(told(tmp_path, document))
    document["surveys"]["columns"]["predictors_nodata"] = [-9999]
    assert "-9999 or lower" not in inspect_text.text(told(tmp_path, document))
