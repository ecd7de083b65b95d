"""Exports: a valid COG whose values, names, colours and licence GDAL reads back equal to the cube's; whole or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate
from typer.testing import CliRunner

import floracube
from cube.errors import CubeError
from cube.export import cog as module
from cube.export.cog import export
from cube.grid import EUROPE, Region
from cube.layers import BOUNDS, habitat_level, indicator
from cube.layers.inputs import INPUTS
from cube.storage import releases
from cube.storage.store import CubeStore, create_cube
from inference.cascade import products
from server.reading import catalogue
from tests.support.good_cube import HABITATS, SPECIES, STEPS, copy_of

WINDOW = (16.62, 48.97, 16.64, 48.98)  # degrees, within the good cube
GDALINFO = shutil.which("gdalinfo")


def stored(cube: CubeStore, path: str) -> np.ndarray[Any, Any]:
    """Stored values of the region alone; the arrays of the cube reach beyond it, to whole units."""
    values = np.asarray(cube.array(path)[...])
    y, x = (np.asarray(cube.array(f"{path.rsplit('/', 1)[0]}/{axis}")[:]) for axis in "yx")
    half = abs(x[1] - x[0]) / 2
    west, south, east, north = cube.region.bounds
    rows, cols = (y + half > south) & (y - half < north), (x + half > west) & (x - half < east)
    return values[..., rows, :][..., cols]


@pytest.mark.parametrize(
    ("layer", "path", "level"),
    [
        ("inputs.sentinel2", "inputs/10m/sentinel2", 0),
        ("inputs.sentinel2", "inputs/overviews/10m/1/sentinel2", 1),
        ("inputs.bioclim", "inputs/1km/bioclim", 0),
        ("inputs.elevation", "inputs/50m/elevation", 0),
        ("indicators.richness", "products/indicators/v1/0/richness", 0),
        ("indicators.richness", "products/indicators/v1/1/richness", 1),
        ("composition.species_id", "products/composition/v1/species_id", 0),
    ],
)
def test_every_band_of_a_layer_is_in_a_valid_cog_with_the_values_of_the_cube(
    good_cube: CubeStore, tmp_path: Path, layer: str, path: str, level: int
) -> None:
    out = tmp_path / "out.tif"
    document = export(good_cube.url, layer, out, level)
    assert cog_validate(str(out), strict=True) == (True, [], [])
    array = good_cube.array(path)
    values = stored(good_cube, path)
    with rasterio.open(out) as source:
        np.testing.assert_array_equal(source.read(), values.reshape(-1, *values.shape[-2:]))
        fill = np.asarray(array.fill_value).item()
        assert source.nodata == fill or (np.isnan(source.nodata) and np.isnan(fill))
        resolution = {"10m": 10, "1km": 1000}.get(path.split("/")[1 if "overviews" not in path else 2], 50)
        side = resolution * 2**level
        assert (source.transform.a, source.transform.e) == (side, -side)
        west, _, _, north = good_cube.region.bounds
        assert (source.transform.c, source.transform.f) == (west, north)
        assert source.crs.to_epsg() == 3035
        bands = [band["units"] for band in array.attrs.get("bands", ())]
        assert list(source.units) == (bands or [array.attrs["units"]] * source.count)
        assert source.scales[0] == array.attrs.get("scale_factor", 1.0)
        assert source.tags()["license"] == "CC-BY-4.0"
        assert list(source.descriptions) == document["bands"]
    assert document["shape"] == list(values.shape[-2:])


def test_bands_are_named_by_their_labels_and_an_axis_may_be_fixed(good_cube: CubeStore, tmp_path: Path) -> None:
    export(good_cube.url, "inputs.sentinel2", tmp_path / "a.tif")
    export(good_cube.url, "inputs.sentinel2.nir", tmp_path / "b.tif")
    with rasterio.open(tmp_path / "a.tif") as four, rasterio.open(tmp_path / "b.tif") as one:
        assert four.descriptions == ("red", "green", "blue", "nir")
        assert one.descriptions == ("nir",)
        np.testing.assert_array_equal(four.read(4), one.read(1))
    export(good_cube.url, "inputs.footprint.HFP2009", tmp_path / "c.tif")
    with pytest.raises(CubeError, match="sentinel2_band 'purple' is not there; choose one of red, green, blue, nir"):
        export(good_cube.url, "inputs.sentinel2.purple", tmp_path / "d.tif")


def test_the_probability_of_a_species_is_its_own_step_times_the_value(good_cube: CubeStore, tmp_path: Path) -> None:
    export(good_cube.url, "species.adonis_vernalis", tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as source:
        assert source.scales == (float(STEPS[2]),)
        assert source.descriptions == (SPECIES[2],)
        np.testing.assert_array_equal(source.read(1), stored(good_cube, "products/species/v1/0/occurrence")[2])


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("Adonis vernalis", "species.adonis_vernalis"),
        ("species.Adonis vernalis", "species.adonis_vernalis"),
        ("ADONIS  vernalis ", "species.adonis_vernalis"),
        ("richness", "indicators.richness"),
        ("Elevation", "inputs.elevation"),
        ("level3", "habitats.level3"),
    ],
)
def test_a_name_is_as_good_as_an_id(good_cube: CubeStore, tmp_path: Path, name: str, layer: str) -> None:
    assert export(good_cube.url, name, tmp_path / "a.tif", bbox=WINDOW)["layer"] == layer


def test_all_species_are_the_bands_of_one_file(good_cube: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BAND_BLOCK", 3)
    document = export(good_cube.url, "species", tmp_path / "all.tif")
    assert document["bands"] == list(SPECIES)
    assert cog_validate(str(tmp_path / "all.tif"), strict=True)[0]
    values = stored(good_cube, "products/species/v1/0/occurrence")
    with rasterio.open(tmp_path / "all.tif") as source:
        assert source.descriptions == SPECIES
        np.testing.assert_allclose(source.scales, STEPS)
        np.testing.assert_array_equal(source.read(), values)
        assert source.tags()["license"] == "CC-BY-4.0"


def test_species_whose_names_differ_in_a_sign_have_ids_of_their_own(tmp_path: Path) -> None:
    names = ("Salix rubens", "Salix x rubens", "Salix × rubens")
    cube = create_cube(str(tmp_path / "c.zarr"), Region(4450, 2650, 4460, 2660, 10), "t")
    products.make_species(cube, "v1", names, np.full(3, 0.004, np.float32), 100.0, {})
    releases.ensure_table(cube, "species", "v1", {"scientific_name": np.asarray(names, object)})
    releases.write_release(cube, "r", {"species": "v1"}, {})
    releases.publish(cube, "r")
    ids = ("species.salix_rubens", "species.salix_x_rubens", "species.salix_x_rubens_2")
    for name, layer_id in zip(names, ids, strict=True):
        for asked in (name, layer_id):
            assert export(cube.url, asked, tmp_path / "x.tif", bbox=None)["layer"] == layer_id
            with rasterio.open(tmp_path / "x.tif") as source:
                assert source.descriptions == (name,)
    served = catalogue.build(cube, releases.current(cube))
    assert {layer.title: layer.id for layer in served.layers} == dict(zip(names, ids, strict=True))


def test_a_product_of_a_part_of_the_cube_is_cut_to_its_release_and_coarse_pixels_cover_it(tmp_path: Path) -> None:
    region = Region(4442, 2643, 4479, 2690, 40)  # 37 x 47 km in units of 40 km
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    cube.ensure_group("inputs/50m", [INPUTS["slope"]])
    cube.ensure_group(
        "products/indicators/v1/0",
        [indicator("richness", "", "Richness", "1", 0.01, 650, "viridis")],
        labels={"bound": np.asarray(BOUNDS, object)},
    )
    releases.write_release(cube, "r", {"indicators": "v1"}, {"region_km": [4450, 2650, 4460, 2671]})
    releases.publish(cube, "r")
    assert export(cube.url, "inputs.slope", tmp_path / "a.tif")["bounds"] == [4_442_000, 2_643_000, 4_479_000, 2_690_000]
    document = export(cube.url, "indicators.richness.estimate", tmp_path / "b.tif")
    assert (document["bounds"], document["shape"]) == ([4_450_000, 2_650_000, 4_460_000, 2_671_000], [420, 200])


def assert_legend(out: Path, classes: list[tuple[int, str, str]]) -> None:
    with rasterio.open(out) as source:
        table = source.colormap(1)
        tags = source.tags(1)
    assert [int(v) for v in tags["flag_values"].split()] == [v for v, _, _ in classes]
    assert [n.replace("_", " ") for n in tags["flag_meanings"].split()] == [n for _, n, _ in classes]
    for value, _, colour in classes:
        assert table[value] == (*(int(colour[i : i + 2], 16) for i in (1, 3, 5)), 255)
    if GDALINFO:
        run = subprocess.run([GDALINFO, "-json", str(out)], capture_output=True, text=True, check=True)
        document = json.loads(run.stdout)
        rows = document["rat"]["row"]
        columns = [field["name"] for field in document["rat"]["fieldDefn"]]
        seen = [dict(zip(columns, row["f"], strict=True)) for row in rows]
        assert [(r["Value"], r["Class"]) for r in seen] == [(v, n) for v, n, _ in classes]
        assert [(r["Red"], r["Green"], r["Blue"]) for r in seen] == [
            tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for _, _, c in classes
        ]
        # Only the text form prints category names.
        text = subprocess.run([GDALINFO, str(out)], capture_output=True, text=True, check=True).stdout
        lines = [line.strip() for line in text.splitlines()]
        for value, name, _ in classes:
            assert f"{value}: {name}" in lines


def test_classes_carry_their_colours_and_names(good_cube: CubeStore, tmp_path: Path) -> None:
    out = tmp_path / "level3.tif"
    document = export(good_cube.url, "habitats.level3", out)
    assert cog_validate(str(out), strict=True)[0]
    assert (document["dtype"], document["nodata"], document["classes"]) == ("uint8", 255, 3)
    assert_legend(out, [(i, f"{c} {n}", colour) for i, (c, n, at, _, colour) in enumerate(HABITATS) if at == "level3"])
    values = stored(good_cube, "products/habitats/v1/0/level3")
    with rasterio.open(out) as source:
        seen = source.read(1, masked=True)
    np.testing.assert_array_equal(seen.mask, values == 65535)
    np.testing.assert_array_equal(seen.compressed(), values[values != 65535])


def test_the_legend_of_an_earlier_file_goes_with_it(good_cube: CubeStore, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    export(good_cube.url, "habitats.level3", out)
    assert (tmp_path / "out.tif.aux.xml").is_file()
    assert b'label="T17 Beech forest"' in (tmp_path / "out.qml").read_bytes()
    export(good_cube.url, "inputs.slope", out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.qml", "out.tif"]
    assert b"Beech" not in (tmp_path / "out.qml").read_bytes()
    export(good_cube.url, "composition.species_id", out)  # numbers of species, which have no colours
    assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]


def test_a_style_that_somebody_saved_is_kept(good_cube: CubeStore, tmp_path: Path) -> None:
    out, style = tmp_path / "out.tif", tmp_path / "out.qml"
    style.write_text("<!DOCTYPE qgis><qgis>mine</qgis>")
    assert export(good_cube.url, "inputs.slope", out)["style"] == str(style)
    assert "mine" in style.read_text()


@pytest.mark.parametrize(
    ("layer", "kind", "low", "high"),
    [
        ("species.fagus_sylvatica", "singlebandpseudocolor", 0.0, 0.8),
        ("habitats.probability", "singlebandpseudocolor", 0.0, 1.0),
        ("inputs.sentinel2", "multibandcolor", None, None),
        ("inputs.bioclim", "singlebandpseudocolor", None, None),
    ],
)
def test_the_style_has_the_range_of_the_map_in_units(
    good_cube: CubeStore, tmp_path: Path, layer: str, kind: str, low: float | None, high: float | None
) -> None:
    export(good_cube.url, layer, tmp_path / "out.tif")
    (renderer,) = ElementTree.parse(tmp_path / "out.qml").iter("rasterrenderer")
    assert renderer.get("type") == kind
    first, last = renderer.get("classificationMin"), renderer.get("classificationMax")
    if kind == "multibandcolor":
        assert [renderer.get(f"{colour}Band") for colour in ("red", "green", "blue")] == ["1", "2", "3"]
        first, last = (renderer.findtext(f"redContrastEnhancement/{end}Value") for end in ("min", "max"))
    with rasterio.open(tmp_path / "out.tif") as source:
        shown = source.read(1, masked=True).compressed() * source.scales[0] + source.offsets[0]
    span = (float(first or "nan"), float(last or "nan"))
    assert span == (pytest.approx(low), pytest.approx(high)) if low is not None else span[0] < np.median(shown) < span[1]


def test_a_damaged_shard_is_named_and_no_file_is_left(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    shard = next(p for p in (tmp_path / "copy.zarr/inputs/50m/slope/c").rglob("*") if p.is_file())
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(CubeError, match="inputs/50m/slope: cannot be read"):
        export(cube.url, "inputs.slope", tmp_path / "out.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["copy.zarr"]


def test_hundreds_of_classes_stay_uint16_with_a_colour_table(tmp_path: Path) -> None:
    region = Region(4450, 2650, 4460, 2660, 10)
    cube = create_cube(str(tmp_path / "c.zarr"), region, "many")
    flags = tuple((i, f"X{i} Habitat no {i}", f"#{i % 256:02x}{(7 * i) % 256:02x}{i // 2:02x}") for i in range(300))
    group = "products/habitats/v1/0"
    cube.ensure_group(group, [habitat_level("level3", group, flags, "Habitat")])
    values = np.random.default_rng(0).integers(0, 300, (200, 200)).astype(np.uint16)
    values[:20] = 65535
    cube.array(f"{group}/level3")[:] = values
    releases.ensure_table(cube, "habitats", "v1", {"code": np.asarray([f"X{i}" for i in range(300)], object)})
    releases.write_release(cube, "r", {"habitats": "v1"}, {})
    releases.publish(cube, "r")
    out = tmp_path / "many.tif"
    assert export(cube.url, "habitats.level3", out)["dtype"] == "uint16"
    assert cog_validate(str(out), strict=True)[0]
    assert_legend(out, list(flags))
    with rasterio.open(out) as source:
        np.testing.assert_array_equal(source.read(1), values)
        assert source.nodata == 65535


def test_overviews_are_averages_of_valid_pixels_and_modes_of_classes(tmp_path: Path) -> None:
    region = Region(4450, 2650, 4510, 2710, 10)
    cube = create_cube(str(tmp_path / "c.zarr"), region, "large")
    for name in ("slope", "surface"):
        cube.ensure_group("inputs/50m", [INPUTS[name]])
    quarters = np.array([[100, 200], [300, 65535]], np.uint16)
    cube.array("inputs/50m/slope")[:] = np.tile(quarters, (600, 600))
    cube.array("inputs/50m/surface")[:] = np.tile(np.array([[2, 2], [2, 0]], np.uint8), (600, 600))
    for name, expected in (("slope", 200), ("surface", 2)):
        out = tmp_path / f"{name}.tif"
        export(cube.url, f"inputs.{name}", out)
        assert cog_validate(str(out), strict=True)[0]
        with rasterio.open(out) as source:
            assert source.overviews(1) == [2, 4]
        with rasterio.open(out, OVERVIEW_LEVEL=0) as source:
            assert (source.read(1) == expected).all()


def test_a_window_in_degrees_is_grown_to_whole_pixels(good_cube: CubeStore, tmp_path: Path) -> None:
    region = good_cube.region
    x = np.array([4803_120.0, 4806_330.0, 4803_120.0, 4806_330.0])
    y = np.array([2895_060.0, 2895_060.0, 2897_940.0, 2897_940.0])
    lon, lat = EUROPE.unproject(x, y)
    bbox = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
    out = tmp_path / "window.tif"
    export(good_cube.url, "inputs.slope", out, bbox=bbox)
    whole = np.asarray(good_cube.array("inputs/50m/slope")[...])
    with rasterio.open(out) as source:
        west, south, east, north = source.bounds
        assert (west <= x.min(), south <= y.min(), east >= x.max(), north >= y.max()) == (True,) * 4
        assert (east - west) < 3_210 + 2 * 400  # a degree rectangle is a little turned in the projection
        (row,), (col,) = region.index(np.array([west + 1]), np.array([north - 1]))
        np.testing.assert_array_equal(source.read(1), whole[row : row + source.height, col : col + source.width])
    with pytest.raises(CubeError, match=r"lies outside the region of inputs\.slope in .*; choose a box that touches"):
        export(good_cube.url, "inputs.slope", out, bbox=(-9, 38, -8, 39))
    with pytest.raises(CubeError, match="W,S,E,N in degrees"):
        export(good_cube.url, "inputs.slope", out, bbox=(5, 38, 4, 39))


def test_what_fails_leaves_nothing_and_what_was_there_stays(
    good_cube: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.tif"
    out.write_bytes(b"before")

    def broken(*arguments: Any, **options: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(module.rasterio.shutil, "copy", broken)
    with pytest.raises(CubeError, match=r"out\.tif: cannot be written \(No space left on device\)"):
        export(good_cube.url, "inputs.slope", out)
    assert out.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]


@pytest.mark.parametrize(
    ("layer", "level", "words"),
    [
        ("nothing", 0, r"there is no layer 'nothing'; layers are named like species\.\w+, indicators\.\w+, habitats\."),
        ("species.planta_nova", 0, r"there is no species 'planta_nova'; there are species\."),
        ("species.fagus_silvatica", 0, r"did you mean species\.fagus_sylvatica\?"),
        ("Fagus silvatica", 0, r"there is no layer 'Fagus silvatica'; did you mean species\.fagus_sylvatica\?"),
        ("fagus", 0, r"did you mean species\.fagus_sylvatica\?"),
        ("indicators.richnes", 0, r"did you mean indicators\.richness\?"),
        ("habitats.formation", 0, r"there are habitats\.entropy, habitats\.level1, .*habitats\.top3_probability\."),
        ("inputs.slop", 0, r"did you mean inputs\.slope\?"),
        ("probability", 0, r"is the name of 2 layers; name one of composition\.probability, habitats\.probability\."),
        ("", 0, r"there is no layer ''"),
        ("inputs.slope.red", 0, "name one of each at most"),
        ("indicators.richness", 7, "no pyramid level 7"),
        ("composition.species_id", 1, "no pyramid level 1"),
    ],
)
def test_what_is_not_there_is_named(good_cube: CubeStore, tmp_path: Path, layer: str, level: int, words: str) -> None:
    with pytest.raises(CubeError, match=words):
        export(good_cube.url, layer, tmp_path / "x.tif", level)


@pytest.mark.parametrize("layer", ["richness", "inputs.slope"])
def test_a_cube_without_layers_says_what_to_do(tmp_path: Path, layer: str) -> None:
    cube = create_cube(str(tmp_path / "c.zarr"), Region(4450, 2650, 4460, 2660, 10), "t")
    with pytest.raises(CubeError, match="the cube has none yet; run `floracube build` first"):
        export(cube.url, layer, tmp_path / "x.tif")


def test_memory_does_not_grow_with_the_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_BYTES", 2**19)
    peaks = []
    for km in (30, 90):
        region = Region(4450, 2650, 4450 + km, 2650 + km, 10)
        cube = create_cube(str(tmp_path / f"{km}.zarr"), region, "t")
        cube.ensure_group("inputs/50m", [INPUTS["slope"]])
        cube.array("inputs/50m/slope")[:] = np.tile(np.arange(region.shape()[1], dtype=np.uint16), (region.shape()[0], 1))
        tracemalloc.start()
        export(cube.url, "inputs.slope", tmp_path / f"{km}.tif")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks


def test_the_command_says_what_it_wrote_as_json(good_cube: CubeStore, tmp_path: Path) -> None:
    out = tmp_path / "e.tif"
    run = CliRunner().invoke(floracube.app, ["export", good_cube.url, "inputs.elevation", str(out), "--level", "1", "--json"])
    assert run.exit_code == 0, run.output
    document = json.loads(run.stdout)
    assert (document["level"], document["resolution_m"], document["scale"]) == (1, 100.0, 0.25)
    assert document["bytes"] == out.stat().st_size


def test_an_export_is_of_one_release_while_another_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = create_cube(str(tmp_path / "c.zarr"), Region(4440, 2640, 4480, 2680, 10), "t")
    for version, value, edge in (("v1", 10.0, 4460), ("v2", 20.0, 4470)):
        layer = indicator("richness", f"products/indicators/{version}/0", "Richness", "1", 0.01, 650, "viridis")
        cube.ensure_group(layer.group, [layer], labels={"bound": np.asarray(BOUNDS, object)})
        cube.array(layer.path)[...] = layer.encode(np.full((3, *cube.region.shape()), value))
        releases.write_release(cube, version, {"indicators": version}, {"region_km": [4450, 2650, edge, 2670]})
    releases.publish(cube, "v1")
    export(cube.url, "richness", tmp_path / "truth.tif")
    read, calls = releases.current, iter(range(99))

    def overtaken(store: CubeStore) -> dict[str, Any]:
        """Another release is published after each look at what is current."""
        seen = read(store)
        releases.publish(cube, ("v2", "v1")[next(calls) % 2])
        return seen

    monkeypatch.setattr(releases, "current", overtaken)
    export(cube.url, "richness", tmp_path / "one.tif")
    for suffix in ("tif", "qml"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"truth.{suffix}").read_bytes()
