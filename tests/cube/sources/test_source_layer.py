"""Layers of names that no code knows: made from file and keys, asked for in one sentence where both say too little."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.enums import ColorInterp

from cube.config import Config, load_config
from cube.engine.build import build
from cube.engine.inspect_config import inspect_config
from cube.engine.plan import plan
from cube.errors import ConfigError, SourceError
from cube.export.cog import export
from cube.grid import Region
from cube.layers import Layer
from cube.sources.open import open_sources
from cube.storage.store import open_cube
from tests.support.rasters import Array, write_bands

REGION = Region(4700, 2850, 4710, 2860, 10)
WINDOW = {"west_km": 4700, "south_km": 2850, "east_km": 4710, "north_km": 2860}


def config_of(folder: Path, *sources: dict[str, Any]) -> Config:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"title": "t", "cube": "c.zarr", "region": WINDOW, "unit_km": 10, "sources": list(sources)}))
    return load_config(path)


def layer_of(folder: Path, **source: Any) -> Layer:
    return open_sources(config_of(folder, source), REGION)[0].layers[0]


def noise(bands: int, size: int, low: float = 0, high: float = 100, dtype: str = "float32") -> Array:
    rows, cols = REGION.shape(size)
    return np.random.default_rng(bands).uniform(low, high, (bands, rows, cols)).astype(dtype)


def write(folder: Path, name: str, values: Array, size: int, *names: str, **options: Any) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    write_bands(folder / name, values, REGION.transform(size), names, **options)


def test_units_and_band_names_of_the_file_are_those_of_the_layer(tmp_path: Path) -> None:
    write(tmp_path, "snow.tif", noise(2, 1000), 1000, "Snow days", "Depth of snow")
    with rasterio.open(tmp_path / "snow.tif", "r+") as file:
        file.units = ("d", "cm")
    layer = layer_of(tmp_path, layer="snow", raster="snow.tif")
    assert (layer.path, layer.dtype, layer.dims) == ("inputs/1km/snow", "float32", ("snow_band",))
    assert [(band.name, band.long_name, band.units) for band in layer.bands] == [
        ("snow_days", "Snow days", "d"),
        ("depth_of_snow", "Depth of snow", "cm"),
    ]


def test_bands_chosen_by_name_keep_their_own_titles_and_units(tmp_path: Path) -> None:
    write(tmp_path, "snow.tif", noise(3, 1000), 1000, "Fog", "Snow days", "Snow-depth")
    with rasterio.open(tmp_path / "snow.tif", "r+") as file:
        file.units = ("h", "d", "cm")
    layer = layer_of(tmp_path, layer="snow", raster="snow.tif", bands=["snow_depth", "snow_days"])
    assert [(b.name, b.long_name, b.units) for b in layer.bands] == [
        ("snow_depth", "Snow-depth", "cm"),
        ("snow_days", "Snow days", "d"),
    ]


def test_bands_chosen_by_a_part_of_their_name_bring_values_titles_and_units_of_the_same_band(tmp_path: Path) -> None:
    rows, cols = REGION.shape(1000)
    values = np.broadcast_to(np.array([1, 2], np.float32)[:, None, None], (2, rows, cols))
    write(tmp_path, "snow.tif", values, 1000, "Frost days", "Snow depth")
    with rasterio.open(tmp_path / "snow.tif", "r+") as file:
        file.units = ("d", "cm")
    config = config_of(tmp_path, {"layer": "snow", "raster": "snow.tif", "bands": ["depth", "days"]})
    assert build(config) == []
    cube = open_cube(str(tmp_path / "c.zarr"))
    assert [(b.name, b.long_name, b.units) for b in cube.layers()["snow"].bands] == [
        ("depth", "Snow depth", "cm"),
        ("days", "Frost days", "d"),
    ]
    assert cube.array("inputs/1km/snow")[:, 0, 0].tolist() == [2, 1]
    assert layer_of(tmp_path, layer="snow", raster="snow.tif", bands=["depth"]).bands[0].units == "cm"


def write_in(folder: Path, name: str, units: str, size: int = 1000, **options: Any) -> None:
    write(folder, name, noise(1, size), size, **options)
    with rasterio.open(folder / name, "r+") as file:
        file.units = (units,)


def test_of_a_file_for_each_band_each_has_its_own_units(tmp_path: Path) -> None:
    write_in(tmp_path, "t.tif", "degC")
    write_in(tmp_path, "p.tif", "mm")
    layer = layer_of(tmp_path, layer="weather", raster={"temperature": "t.tif", "rain": "p.tif"})
    assert {band.name: band.units for band in layer.bands} == {"temperature": "degC", "rain": "mm"}


def test_files_of_one_band_in_different_units_are_refused(tmp_path: Path) -> None:
    write_in(tmp_path, "a.tif", "m")
    write_in(tmp_path, "b.tif", "ft")
    sentence = r"b\.tif: says that band 1 is in ft, where other files of the layer depth are in m; bring all of them"
    with pytest.raises(SourceError, match=sentence):
        layer_of(tmp_path, layer="depth", raster=["a.tif", "b.tif"])
    for month in range(1, 13):
        write_in(tmp_path, f"t/{month:02d}.tif", "K" if month < 12 else "degC")
    with pytest.raises(SourceError, match=r"12\.tif: says that band 1 is in degC, where other files of the layer heat are in K"):
        layer_of(tmp_path, layer="heat", raster="t/{month}.tif")


def test_an_image_of_a_file_for_each_band_is_stored_in_steps_only_where_all_files_have_them(tmp_path: Path) -> None:
    write(tmp_path, "a.tif", noise(1, 10, 0, 200, "uint8"), 10, nodata=255)
    write(tmp_path, "b.tif", noise(1, 10, 0, 3000, "uint16"), 10, nodata=65535)
    assert layer_of(tmp_path, layer="image", raster={"a": "a.tif", "b": "b.tif"}, units="m").dtype == "float32"


def test_bands_of_one_name_chosen_by_number_are_named_with_it(tmp_path: Path) -> None:
    write(tmp_path, "frost.tif", noise(3, 1000), 1000, "Frost days", "frost-days", "Fog")
    layer = layer_of(tmp_path, layer="frost", raster="frost.tif", units="d", bands=[2, 1, 3])
    assert layer.labels["frost_band"] == ("frost_days_2", "frost_days_1", "fog")


def test_a_number_of_a_band_that_the_file_lacks_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "frost.tif", noise(2, 1000), 1000)
    with pytest.raises(SourceError, match=r"has 2 bands, and bands of sources\[0\]\.raster names band 3"):
        layer_of(tmp_path, layer="frost", raster="frost.tif", units="d", bands=[3])


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([f"2018-{m:02d}" for m in (2, 1, *range(3, 13))], r"band 1 of its file is 2018-02 where 2018-01 should be"),
        ([f"{2018 + (m > 6)}-{m:02d}" for m in range(1, 13)], r"band 7 of its file is 2019-07 where 2018-07 should be"),
    ],
)
def test_a_series_in_one_file_with_a_gap_or_out_of_order_is_refused(tmp_path: Path, steps: list[str], sentence: str) -> None:
    write(tmp_path, "lst.tif", noise(12, 1000), 1000, *steps)
    with pytest.raises(ConfigError, match=sentence):
        layer_of(tmp_path, layer="lst", raster="lst.tif", kind="series", units="K")


def test_two_files_of_one_month_and_a_thirteenth_month_are_refused(tmp_path: Path) -> None:
    for month in (*range(1, 12), 13):
        write(tmp_path, f"ndvi/{month:02d}.tif", noise(1, 1000), 1000)
    with pytest.raises(SourceError, match=r"there is no file of 12; fetch them"):
        layer_of(tmp_path, layer="ndvi", raster="ndvi/{month}.tif", units="1")
    write(tmp_path, "ndvi/1.tif", noise(1, 1000), 1000)
    with pytest.raises(SourceError, match=r"is the file of 01, as .*; keep one of them"):
        layer_of(tmp_path, layer="ndvi", raster="ndvi/{month}.tif", units="1")


@pytest.mark.parametrize("ends", [[10, 5], [0, float("nan")]])
def test_a_range_without_a_lowest_and_a_highest_value_is_refused(tmp_path: Path, ends: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"'valid_range' is .*; give the lowest value, then the highest"):
        config_of(tmp_path, {"layer": "depth", "raster": "d.tif", "units": "m", "valid_range": ends})


def test_a_layer_named_like_an_axis_of_another_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "frost.tif", noise(2, 1000), 1000, "days", "nights")
    write(tmp_path, "d.tif", noise(1, 1000), 1000)
    config = config_of(
        tmp_path,
        {"layer": "frost", "raster": "frost.tif", "units": "d"},
        {"layer": "frost_band", "raster": "d.tif", "units": "m"},
    )
    with pytest.raises(ConfigError, match=r"the layer frost_band has the name of an axis of the layer frost; choose another"):
        open_sources(config, REGION)


def test_an_image_is_stored_in_the_steps_of_its_file_where_these_leave_room_for_no_data(tmp_path: Path) -> None:
    write(tmp_path, "chm.tif", noise(1, 10, 0, 200, "uint8"), 10, nodata=255)
    with rasterio.open(tmp_path / "chm.tif", "r+") as file:
        file.scales = (0.2,)
    layer = layer_of(tmp_path, layer="canopy", raster="chm.tif", units="m", long_name="Canopy height")
    assert (layer.path, layer.dtype, layer.fill, layer.scale) == ("inputs/10m/canopy", "uint8", 255, 0.2)
    write(tmp_path, "all.tif", noise(1, 10, 0, 200, "uint8"), 10)
    assert layer_of(tmp_path, layer="canopy", raster="all.tif", units="m").dtype == "float32"


@pytest.mark.parametrize("table", [True, False])
def test_classes_are_named_by_a_table_or_in_the_configuration(tmp_path: Path, table: bool) -> None:
    write(tmp_path, "rock.tif", noise(1, 50, 1, 3.99, "int16"), 50)
    (tmp_path / "rock.csv").write_text("value;name;colour\n1;granite;#ff0000\n2;red sandstone;\n3;chalk;#0000ff\n")
    names = "rock.csv" if table else {1: "granite", 2: "red sandstone", 3: "chalk"}
    layer = layer_of(tmp_path, layer="rock", raster="rock.tif", names=names)
    assert (layer.kind, layer.dtype) == ("class", "uint8")
    assert [(value, name) for value, name, _ in layer.flags] == [(1, "granite"), (2, "red sandstone"), (3, "chalk")]
    assert len({colour for _, _, colour in layer.flags}) == 3


@pytest.mark.parametrize("table", [True, False])
def test_classes_that_the_file_names_need_no_names_of_the_configuration(tmp_path: Path, table: bool) -> None:
    """As GDAL's category names, and as the attribute table that terra and ArcGIS write beside a raster."""
    write(tmp_path, "rock.tif", noise(1, 50, 1, 3.99, "int16"), 50)
    names = ["", "granite", "red sandstone", "chalk"]
    fields = [("VALUE", 0, 5), ("COUNT", 0, 1), ("rock", 2, 2), ("R", 0, 6), ("G", 0, 7), ("B", 0, 8)]
    definitions = "".join(
        f'<FieldDefn index="{i}"><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>'
        for i, (name, kind, usage) in enumerate(fields)
    )
    rows = [(1, 9, "granite", 255, 0, 0), (2, 9, "red sandstone", 0, 128, 0), (3, 9, "chalk", 0, 0, 255)]
    cells = [f'<Row index="{i}">{"".join(f"<F>{cell}</F>" for cell in row)}</Row>' for i, row in enumerate(rows)]
    content = (
        f"<GDALRasterAttributeTable>{definitions}{''.join(cells)}</GDALRasterAttributeTable>"
        if table
        else f"<CategoryNames>{''.join(f'<Category>{name}</Category>' for name in names)}</CategoryNames>"
    )
    (tmp_path / "rock.tif.aux.xml").write_text(f'<PAMDataset><PAMRasterBand band="1">{content}</PAMRasterBand></PAMDataset>')
    layer = layer_of(tmp_path, layer="rock", raster="rock.tif")
    assert layer.kind == "class"
    assert [(value, name) for value, name, _ in layer.flags] == list(enumerate(names))[1:]
    if table:
        assert [colour for *_, colour in layer.flags] == ["#ff0000", "#008000", "#0000ff"]
    ours = layer_of(tmp_path, layer="rock", raster="rock.tif", names={1: "a", 2: "b", 3: "c"})
    assert [name for _, name, _ in ours.flags] == ["a", "b", "c"]
    assert layer_of(tmp_path, layer="rock", raster="rock.tif", kind="continuous", units="1").kind == "continuous"


def test_names_of_classes_in_a_file_older_than_utf_8_are_read(tmp_path: Path) -> None:
    write(tmp_path, "rock.tif", noise(1, 50, 1, 2.99, "uint8"), 50)
    names = "<Category></Category><Category>Süßwasserkalk</Category><Category>grès</Category>"
    content = f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>'
    (tmp_path / "rock.tif.aux.xml").write_text(content, encoding="latin-1")
    layer = layer_of(tmp_path, layer="rock", raster="rock.tif")
    assert [name for _, name, _ in layer.flags] == ["Süßwasserkalk", "grès"]


def test_a_class_of_the_file_that_no_layer_can_have_is_refused_with_both_keys(tmp_path: Path) -> None:
    write(tmp_path, "rock.tif", noise(1, 50, -1, 1.99, "int16"), 50)
    fields = '<FieldDefn index="0"><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>'
    fields += '<FieldDefn index="1"><Name>rock</Name><Type>2</Type><Usage>2</Usage></FieldDefn>'
    rows = '<Row index="0"><F>-1</F><F>chalk</F></Row><Row index="1"><F>1</F><F>granite</F></Row>'
    table = f"<GDALRasterAttributeTable>{fields}{rows}</GDALRasterAttributeTable>"
    (tmp_path / "rock.tif.aux.xml").write_text(f'<PAMDataset><PAMRasterBand band="1">{table}</PAMRasterBand></PAMDataset>')
    with pytest.raises(ConfigError, match=r"the file names the class -1, .*`classes: \{-1: 0\}`, and name them by `names:`"):
        layer_of(tmp_path, layer="rock", raster="rock.tif")
    names = {0: "chalk", 1: "granite"}
    assert layer_of(tmp_path, layer="rock", raster="rock.tif", classes={-1: 0}, names=names).kind == "class"


def test_classes_of_an_exported_file_are_those_of_the_cube(tmp_path: Path) -> None:
    write(tmp_path, "rock.tif", noise(1, 50, 1, 3.99, "uint8"), 50)
    source = {"layer": "rock", "raster": "rock.tif", "names": {1: "granite", 2: "red sandstone", 3: "chalk"}}
    assert build(config_of(tmp_path, source)) == []
    export(str(tmp_path / "c.zarr"), "rock", tmp_path / "export.tif")
    flags = open_cube(str(tmp_path / "c.zarr")).layers()["rock"].flags
    assert layer_of(tmp_path, layer="rock", raster="export.tif").flags == flags


def test_names_of_classes_with_any_blanks_are_those_of_the_cube(tmp_path: Path) -> None:
    write(tmp_path, "rock.tif", noise(1, 50, 1, 3.99, "int16"), 50)
    names = {1: "Kalk\u00a0stein", 2: " red\tsandstone ", 3: "chalk"}
    assert build(config_of(tmp_path, {"layer": "rock", "raster": "rock.tif", "names": names})) == []
    flags = open_cube(str(tmp_path / "c.zarr")).layers()["rock"].flags
    assert [(value, name) for value, name, _ in flags] == [(1, "Kalk stein"), (2, "red sandstone"), (3, "chalk")]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (b"value,name\n1.5,granite\n", "line 2 of .* has no whole number in the column value"),
        (b"value,name\ninf,granite\n", "line 2 of .* has no whole number in the column value"),
        (b"value,name\n1,granite\n1,chalk\n", "has the value 1 twice, again in line 3"),
        (b"\n\nvalue,name\n\n1,granite\n\n\n1.5,chalk\n", "line 8 of .* has no whole number in the column value"),
        (b"value,name\n1,Kr\xe4uter\n", "is not UTF-8; save it in this encoding"),
        (b"value,name\n1,granite\n2\n", "has no name for the class 2; write one"),
        (b"value,name\n1,\n2,granite\n", "has no name for the class 1; write one"),
        (
            b'value,name\n1,"granite\n2,chalk\n',
            "line 2 of .* is no row of a table .unexpected end of data.; check its quotation marks",
        ),
        (b'value,"name\n1,granite\n', "has no line of column names .unexpected end of data.; check its quotation marks"),
        (b"value,name\n1,granite\n2," + b"x" * 200_000, "line 3 of .* is no row of a table .field larger than field limit"),
        (
            b"value,name,colour\n1,granite,#f00\n2,chalk,grey\n",
            "line 2 of .* has the colour '#f00'; write it as #rrggbb, or leave it empty",
        ),
    ],
)
def test_a_table_of_classes_that_could_be_misread_is_refused(tmp_path: Path, table: bytes, sentence: str) -> None:
    write(tmp_path, "rock.tif", noise(1, 50, 1, 2.99, "int16"), 50)
    (tmp_path / "rock.csv").write_bytes(table)
    with pytest.raises(ConfigError, match=r"sources\[0\]\.names.*" + sentence):
        layer_of(tmp_path, layer="rock", raster="rock.tif", names="rock.csv")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_a_table_of_classes_is_read_whatever_ends_its_lines(tmp_path: Path, end: str) -> None:
    write(tmp_path, "rock.tif", noise(1, 50, 1, 2.99, "int16"), 50)
    (tmp_path / "rock.csv").write_bytes(end.join(("value,name", '1,"Gneis, ""alt"""', "2,Süßwasserkalk", "")).encode())
    layer = layer_of(tmp_path, layer="rock", raster="rock.tif", names="rock.csv")
    assert [name for _, name, _ in layer.flags] == ['Gneis, "alt"', "Süßwasserkalk"]


def test_a_class_without_a_name_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "rock.tif", noise(1, 50, 1, 3.99, "int16"), 50)
    with pytest.raises(SourceError, match=r"no class of the layer rock .*`classes: \{3: \.\.\.\}`"):
        layer_of(tmp_path, layer="rock", raster="rock.tif", names={1: "granite", 2: "chalk"})


def test_a_series_is_the_files_that_fit_its_template_in_order_of_time(tmp_path: Path) -> None:
    for year in (2018, 2019):
        for month in range(1, 13):
            write(tmp_path, f"ndvi/{year}-{month:02d}.tif", np.full((1, 200, 200), month / 12, np.float32), 50)
    layer = layer_of(tmp_path, layer="ndvi", raster="ndvi/{year}-{month}.tif", units="1")
    assert (layer.dims, layer.period) == (("ndvi_band", "ndvi_step"), 12)
    assert layer.labels["ndvi_step"][:2] == ("2018-01", "2018-02")
    assert build(config_of(tmp_path, {"layer": "ndvi", "raster": "ndvi/{year}-{month}.tif", "units": "1"})) == []
    stored = open_cube(str(tmp_path / "c.zarr")).array("inputs/50m/ndvi")[0, :, 0, 0]
    np.testing.assert_allclose(stored, np.tile(np.arange(1, 13) / 12, 2), atol=1e-6)
    with pytest.raises(ConfigError, match=r"`period` is 6, but the steps are named 2018-01 and so on, 12 a year"):
        layer_of(tmp_path, layer="ndvi", raster="ndvi/{year}-{month}.tif", units="1", period=6)
    (tmp_path / "ndvi/2018-05.tif").unlink()
    with pytest.raises(SourceError, match=r"there is no file of 2018-05"):
        layer_of(tmp_path, layer="ndvi", raster="ndvi/{year}-{month}.tif", units="1")


def test_a_series_in_one_file_says_how_many_steps_make_a_year(tmp_path: Path) -> None:
    write(tmp_path, "lst.tif", noise(8, 1000), 1000)
    given = {"layer": "lst", "raster": "lst.tif", "kind": "series", "units": "K"}
    with pytest.raises(ConfigError, match=r"sources\[0\]: nothing says how many steps .* add `period: 12`"):
        layer_of(tmp_path, **given)
    with pytest.raises(ConfigError, match=r"8 steps, which are no whole number of years of 12"):
        layer_of(tmp_path, **given, period=12)
    with pytest.raises(ConfigError, match=r"resolution is 10m, and a series is kept at 50m or 1km"):
        layer_of(tmp_path, **given, period=4, resolution="10m")
    assert layer_of(tmp_path, **given, period=4).labels["lst_step"] == tuple("12345678")


@pytest.mark.parametrize(
    ("dtype", "keys", "sentence"),
    [
        ("float32", {}, r"'depth' is no preset, and nothing says in which units its numbers are; add `units: m`"),
        ("int16", {}, r"whole numbers are measurements or classes; add `kind: continuous` with `units:`, or `kind: class`"),
        ("int16", {"kind": "class"}, r"nothing says what the classes of depth are; add `names: \{1: name1, 2: name2\}`"),
        ("int16", {"names": {1: "a"}, "scale": 2.0}, r"'scale' and 'offset' would change the classes of depth"),
        ("float32", {"units": "ft", "derive": ["slope"]}, r"'slope' is derived from one band of elevation in metres"),
        ("float32", {"published": "soilgrids-2.0"}, r"'published' belongs to presets, and 'depth' is none"),
        ("float32", {"units": {"deep": "m"}}, r"units names 'deep', which is no band; the bands are depth"),
        ("int16", {"names": {1: "a", 2: "b"}, "units": "m"}, r"\.units says nothing of classes, which depth has"),
        ("int16", {"names": {1: "a", 2: "b"}, "valid_range": [0, 2]}, r"\.valid_range says nothing of classes"),
        ("int16", {"kind": "class", "names": {1: "a"}, "period": 12}, r"\.period says nothing of classes"),
        ("float32", {"kind": "continuous", "units": "m", "period": 12}, r"\.period says nothing of measurements"),
        ("float32", {"units": "m", "kind": "continuous", "names": {1: "a"}}, r"\.names says nothing of measurements"),
        ("float32", {"units": "m", "period": 1, "names": {1: "a"}}, r"\.names says nothing of a series"),
    ],
)
def test_what_cannot_be_inferred_is_asked_for_with_the_line_to_add(
    tmp_path: Path, dtype: str, keys: dict[str, Any], sentence: str
) -> None:
    write(tmp_path, "d.tif", noise(1, 50, 1, 2.99, dtype), 50)
    with pytest.raises(ConfigError, match=r"sources\[0\].*" + sentence):
        layer_of(tmp_path, layer="depth", raster="d.tif", **keys)


def test_bands_without_names_are_named_by_the_configuration(tmp_path: Path) -> None:
    write(tmp_path, "d.tif", noise(2, 50), 50)
    with pytest.raises(ConfigError, match=r"the 2 bands of its file have no names; .* `bands: \[name1, name2\]`"):
        layer_of(tmp_path, layer="depth", raster="d.tif", units="m")
    layer = layer_of(tmp_path, layer="depth", raster="d.tif", units="m", bands=["upper", "lower"])
    assert layer.labels == {"depth_band": ("upper", "lower")}


def test_bands_named_in_another_script_are_chosen_by_number_and_keep_their_titles(tmp_path: Path) -> None:
    write(tmp_path, "d.tif", noise(2, 50), 50, "Температура", "Осадки")
    with pytest.raises(ConfigError, match=r"the band 'Температура' of its file has no letter from a to z .* `bands: \[1, 2\]`"):
        layer_of(tmp_path, layer="weather", raster="d.tif", units="1")
    layer = layer_of(tmp_path, layer="weather", raster="d.tif", units="1", bands=[1, 2])
    assert [(band.name, band.long_name) for band in layer.bands] == [("band_1", "Температура"), ("band_2", "Осадки")]


@pytest.mark.parametrize(
    ("bands", "sentence"),
    [
        (["Hähe", "Höhe"], r"the bands 'Hähe' and 'Höhe' are both 'h_he' in ids; rename one of them"),
        (["высота", "depth"], r"the band 'высота' has no letter from a to z and no digit"),
    ],
)
def test_labels_that_ids_could_not_tell_apart_are_refused(tmp_path: Path, bands: list[str], sentence: str) -> None:
    write(tmp_path, "d.tif", noise(2, 50), 50)
    with pytest.raises(ConfigError, match=rf"sources\[0\].*{sentence}"):
        layer_of(tmp_path, layer="measured", raster="d.tif", units="m", bands=bands)
    write(tmp_path, "one.tif", noise(1, 50), 50)
    with pytest.raises(ConfigError, match=rf"sources\[0\].*{sentence}"):
        layer_of(tmp_path, layer="measured", raster=dict.fromkeys(bands, "one.tif"), units="m")


def test_a_misspelt_preset_is_told_without_the_rest_of_its_source(tmp_path: Path) -> None:
    write(tmp_path, "d.tif", noise(1, 50), 50)
    with pytest.raises(ConfigError) as found:
        layer_of(tmp_path, layer="elevatoin", raster="d.tif")
    assert str(found.value).endswith("did you mean elevation? A layer of your own needs 'units' or 'kind'.")


@pytest.mark.parametrize("name", ["Depth", "2depth", "depth-of", "table_50m", "table_1km", "quarter", "weight", "noise"])
def test_a_name_that_could_not_be_told_from_another_thing_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, "d.tif", noise(1, 50), 50)
    with pytest.raises(ConfigError, match=rf"sources\[0\].*'{name}'"):
        layer_of(tmp_path, layer=name, raster="d.tif", units="m")


def test_an_undeclared_fill_value_of_a_layer_of_any_name_is_refused(tmp_path: Path) -> None:
    values = noise(1, 50)
    values[0, :50] = -9999
    write(tmp_path, "d.tif", values, 50)
    with pytest.raises(SourceError, match=r"are -9999, which many programs write for no data; declare `nodata: \[-9999\]`"):
        layer_of(tmp_path, layer="depth", raster="d.tif", units="m")
    with pytest.raises(SourceError, match=r"lie outside \[0, 50\] m"):
        layer_of(tmp_path, layer="depth", raster="d.tif", units="m", valid_range=[0, 50], nodata=[-9999])


def test_some_bands_of_a_preset_are_enough_and_keep_their_meaning(tmp_path: Path) -> None:
    values = np.stack([np.full((10, 10), v, np.float32) for v in (8.5, 700.0, 650.0)])
    write(tmp_path, "wc.tif", values, 1000, "wc2.1_30s_bio_1", "wc2.1_30s_bio_4", "wc2.1_30s_bio_12")
    source = {"layer": "bioclim", "raster": "wc.tif", "bands": ["bio12", "bio1"]}
    layer = layer_of(tmp_path, **source)
    assert layer.labels == {"bioclim_variable": ("bio12", "bio1")}
    assert [band.units for band in layer.bands] == ["mm", "degC"]
    config = config_of(tmp_path, source)
    assert any(row.layer == "bioclim" for row in plan(config).rows)
    assert build(config) == []
    assert open_cube(str(tmp_path / "c.zarr")).array("inputs/1km/bioclim")[:, 3, 3].tolist() == [650, 8.5]
    with pytest.raises(ConfigError, match=r"bands names 'bio20', which is no band of the layer bioclim; its bands are bio1,"):
        layer_of(tmp_path, layer="bioclim", raster="wc.tif", bands=["bio20"])


def test_a_layer_that_is_defined_anew_replaces_the_former_one(tmp_path: Path) -> None:
    write(tmp_path, "wc.tif", np.stack([np.full((10, 10), 5.0 + v, np.float32) for v in range(2)]), 1000, "warm", "cold")
    source = {"layer": "heat", "raster": "wc.tif", "units": "K"}
    build(config_of(tmp_path, source))
    assert build(config_of(tmp_path, {**source, "bands": ["cold"], "resolution": "50m"})) == []
    cube = open_cube(str(tmp_path / "c.zarr"))
    assert cube.layers()["heat"].path == "inputs/50m/heat"
    assert not cube.has("inputs/1km/heat")
    assert float(cube.array("inputs/50m/heat")[0, 9, 9]) == 6.0


@pytest.mark.parametrize(
    ("dtype", "number", "written"),
    [
        ("uint16", 65535, "65535"),
        ("int16", 32767, "32767"),
        ("int16", -32768, "-32768"),
        ("int16", -9999, "-9999"),
        ("int32", 2**31 - 1, r"2147483600\.0"),
        ("uint32", 2**32 - 1, r"4294967300\.0"),
        ("int8", -128, "-128"),
        ("float32", -9999, "-9999"),
    ],
)
@pytest.mark.parametrize("scaled", ["", "file", "source"])
def test_a_number_for_no_data_that_no_header_declares_is_refused_whatever_the_scale(
    tmp_path: Path, dtype: str, number: int, written: str, scaled: str
) -> None:
    values = noise(1, 50, dtype=dtype)
    values[0, :50] = number
    write(tmp_path, "d.tif", values, 50)
    if scaled == "file":
        with rasterio.open(tmp_path / "d.tif", "r+") as file:
            file.scales = [0.001]
    source = {"layer": "depth", "raster": "d.tif", "units": "m"} | ({"scale": 0.001} if scaled == "source" else {})
    with pytest.raises(SourceError, match=rf"25 % of .* are .*many programs write for no data; declare `nodata: \[{written}\]`"):
        layer_of(tmp_path, **source)
    for declared in (number, float(written.replace("\\", ""))):  # what the sentence says means the same number
        reader = open_sources(config_of(tmp_path, {**source, "nodata": [declared]}), REGION)[0]
        assert np.isfinite(reader.layers[0].decode(reader.read(REGION, next(REGION.units()))["depth"])).mean() == 0.75
    if abs(number) < 1e6:  # someone who measures it says so
        layer_of(tmp_path, **source, valid_range=[-40000, 70000])


def test_the_top_of_bytes_is_believed_and_inspect_says_so(tmp_path: Path) -> None:
    values = noise(1, 50, dtype="uint8")
    values[0, :50] = 255
    write(tmp_path, "d.tif", values, 50)
    source = {"layer": "cover", "raster": "d.tif", "units": "percent"}
    note = inspect_config(config_of(tmp_path, source)).sources[0].notes[0]
    assert note.startswith("20 % of the points are 255")
    assert note.endswith("add `nodata: [255]`")
    for keys in ({"nodata": [255]}, {"valid_range": [0, 255]}):
        assert not inspect_config(config_of(tmp_path, {**source, **keys})).sources[0].notes


@pytest.mark.parametrize(
    ("filed", "source", "fix"),
    [
        ("ft", {"layer": "elevation"}, "says that band 1 is in ft, and the layer elevation is in m; give `scale: 0.3048`, or"),
        ("feet", {"layer": "lidar", "units": "m"}, "band 1 is in feet, and the layer lidar is in m; give `scale: 0.3048`, or"),
        ("K", {"layer": "warmth", "units": "degC"}, "is in K, and the layer warmth is in degC; give `offset: -273.15`, or"),
        ("degF", {"layer": "warmth", "units": "degC"}, "give `scale: 0.5555555556` and `offset: -17.77777778`, or"),
        ("m", {"layer": "rain", "units": "mm"}, "give `scale: 1000`, or `scale: 1` if the file is wrong"),
        ("m", {"layer": "warmth", "units": "K"}, "is in m, and the layer warmth is in K; give a file in K, or"),
    ],
)
def test_a_file_in_other_units_than_its_layer_is_refused_with_the_conversion(
    tmp_path: Path, filed: str, source: dict[str, Any], fix: str
) -> None:
    write(tmp_path, "d.tif", noise(1, 50), 50)
    with rasterio.open(tmp_path / "d.tif", "r+") as file:
        file.units = [filed]
    with pytest.raises(SourceError, match=re.escape(fix)):
        layer_of(tmp_path, raster="d.tif", **source)
    layer_of(tmp_path, raster="d.tif", **source, scale=1)


@pytest.mark.parametrize(("filed", "units"), [("metre", "m"), ("Celsius", "degC"), ("kg m-2", "mm"), ("", "m"), ("m/s", "m s-1")])
def test_units_that_are_the_same_or_unknown_are_no_contradiction(tmp_path: Path, filed: str, units: str) -> None:
    write(tmp_path, "d.tif", noise(1, 50), 50)
    with rasterio.open(tmp_path / "d.tif", "r+") as file:
        file.units = [filed]
    assert layer_of(tmp_path, layer="depth", raster="d.tif", units=units).units == units


def test_the_fourth_band_of_bytes_is_no_mask_of_the_others(tmp_path: Path) -> None:
    """GDAL declares it as an alpha band unless it is told otherwise: where it is 0 the other bands would have no data."""
    values = noise(4, 50, dtype="uint8")
    values[3, :, :100] = 0
    sentence = r"band 4(, four,)? is declared as an alpha band, .*`gdal_edit.py -colorinterp_4 undefined .*d\.tif`"
    ways: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("one", "two", "three", "four"), {}),
        (("one", "two", "three", "four"), {"bands": ["one", "two"]}),
        ((), {"bands": [1, 2, 3, 4]}),
        ((), {"kind": "series", "period": 4}),
        ((), {"bands": [1]}),
    ]
    for names, keys in ways:
        write(tmp_path, "d.tif", values, 50, *names)
        with pytest.raises(SourceError, match=sentence):
            layer_of(tmp_path, layer="wet", raster="d.tif", units="1", **keys)
    write(tmp_path, "d.tif", values, 50, "one", "two", "three", "four", photometric="MINISBLACK", alpha="NO")
    reader = open_sources(config_of(tmp_path, {"layer": "wet", "raster": "d.tif", "units": "1"}), REGION)[0]
    np.testing.assert_array_equal(reader.read(REGION, next(REGION.units()))["wet"], values)


def test_a_band_that_is_a_mask_needs_no_name(tmp_path: Path) -> None:
    values = noise(2, 50, dtype="uint8")
    values[1] = 255
    values[1, :50] = 0
    write(tmp_path, "d.tif", values, 50)
    with rasterio.open(tmp_path / "d.tif", "r+") as file:
        file.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
    reader = open_sources(config_of(tmp_path, {"layer": "wet", "raster": "d.tif", "units": "1"}), REGION)[0]
    stored = reader.read(REGION, next(REGION.units()))["wet"]
    assert stored.ndim == 2
    assert (np.isnan(stored) == (values[1] == 0)).all()


def test_a_gap_in_years_or_in_the_months_of_a_year_is_named(tmp_path: Path) -> None:
    for name in [f"m/{month:02d}.tif" for month in range(1, 13) if month != 7] + [f"y/{year}.tif" for year in (2018, 2020)]:
        write(tmp_path, name, noise(1, 1000), 1000)
    given = {"layer": "ndvi", "units": "1"}
    with pytest.raises(SourceError, match=r"there is no file of 07; fetch them"):
        layer_of(tmp_path, raster="m/{month}.tif", **given)
    with pytest.raises(SourceError, match=r"there is no file of 2019; fetch them"):
        layer_of(tmp_path, raster="y/{year}.tif", **given)
    assert layer_of(tmp_path, raster="m/{month}.tif", period=11, **given).period == 11


def test_the_one_band_without_a_name_is_named(tmp_path: Path) -> None:
    write(tmp_path, "d.tif", noise(3, 50), 50, "upper", "", "lower")
    with pytest.raises(ConfigError, match=r"bands 2 of its file have no names; name all 3 in their order by `bands:`"):
        layer_of(tmp_path, layer="depth", raster="d.tif", units="m")


def test_classes_below_zero_are_renumbered_by_the_key_that_the_refusal_names(tmp_path: Path) -> None:
    values = np.where(noise(1, 50) > 50, -1, 3).astype(np.int16)
    write(tmp_path, "d.tif", values, 50)
    source: dict[str, Any] = {"layer": "rock", "raster": "d.tif", "kind": "class"}
    with pytest.raises(ConfigError, match=r"from 0 to 65534; say which .* by `classes:`, such as `classes: \{-1: 0\}`"):
        layer_of(tmp_path, **source, names={-1: "none", 3: "chalk"})
    reader = open_sources(config_of(tmp_path, {**source, "names": {0: "none", 3: "chalk"}, "classes": {-1: 0}}), REGION)[0]
    np.testing.assert_array_equal(reader.read(REGION, next(REGION.units()))["rock"], np.where(values[0] == -1, 0, 3))
