"""Strangers' rasters: the right value, or one sentence with the file, the numbers and the fix; nothing wrong in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from affine import Affine
from pyproj import Transformer
from rasterio.enums import ColorInterp

from cube.config import Config, load_config
from cube.errors import ConfigError, SourceError
from cube.grid import Region
from cube.layers.inputs import INPUTS
from cube.sources.open import open_sources
from cube.sources.raster_files import local_problems
from cube.sources.reader import UnitValues
from tests.support.rasters import Array, layer_values, names_of, write_bands

REGION = Region(4700, 2850, 4710, 2860, 10)
UNIT = next(REGION.units())
BANDS = ("red", "green", "blue", "nir")


def config_of(folder: Path, source: dict[str, Any], region: Region = REGION) -> Config:
    path = folder / "config.yaml"
    window = dict(zip(("west_km", "south_km", "east_km", "north_km"), (b // 1000 for b in region.bounds), strict=True))
    path.write_text(yaml.safe_dump({"title": "t", "cube": "c.zarr", "region": window, "unit_km": 10, "sources": [source]}))
    return load_config(path)


def read(folder: Path, region: Region = REGION, **source: Any) -> UnitValues:
    """The one unit of a region, as a build would store it."""
    reader = open_sources(config_of(folder, source, region), region)[0]
    values = reader.read(region, next(region.units()))
    return values if isinstance(values, UnitValues) else UnitValues(values)


def bands_read(folder: Path, **source: Any) -> tuple[int, ...]:
    """The bands of a source's only file, in the layer's order."""
    reader: Any = open_sources(config_of(folder, source), REGION)[0]
    return tuple(reader.files[0].bands)


def decoded(folder: Path, region: Region = REGION, **source: Any) -> Array:
    return INPUTS[source["layer"]].decode(np.asarray(read(folder, region, **source)[source["layer"]]))


def cells(path: Path, values: Array, size: int = 1000, **options: Any) -> str:
    return write_bands(path, values, REGION.transform(size), **options)


# Numbers that no elevation is, undeclared.


@pytest.mark.parametrize("fill", [-9999.0, -32768.0, 1e20, -3.4e38, np.inf, -np.inf, 65535.0])
@pytest.mark.parametrize(("layer", "size"), [("elevation", 50), ("srtm", 1000)])
def test_an_undeclared_fill_value_is_refused_and_the_sentence_has_the_fix(
    tmp_path: Path, fill: float, layer: str, size: int
) -> None:
    values = layer_values(layer, *REGION.shape(size))
    values[:, : len(values[0]) // 4] = fill
    cells(tmp_path / "dem.tif", values, size, nodata=np.nan)
    with pytest.raises(SourceError, match=r"dem\.tif: 2[05] % of the pixels of band 1 .* lie outside \[-500, 6000\] m") as caught:
        read(tmp_path, layer=layer, raster="dem.tif")
    advice = str(caught.value).split("declare `")[1].split("`")[0]
    given = yaml.safe_load(f"{{{advice}}}")
    seen = decoded(tmp_path, layer=layer, raster="dem.tif", **given)
    expected = np.where(values == np.float32(fill), np.nan, values)[0]
    np.testing.assert_allclose(seen, expected, atol=0.126)


def test_a_few_such_pixels_become_no_data_are_counted_and_warned_about(tmp_path: Path) -> None:
    values = layer_values("elevation", 200, 200)
    values[0, 7, 9] = -9999
    cells(tmp_path / "dem.tif", values, 50)
    seen = read(tmp_path, layer="elevation", raster="dem.tif", derive=["slope"])
    stored = INPUTS["elevation"].decode(seen["elevation"])
    assert np.isnan(stored[7, 9])
    assert np.isfinite(stored).sum() == 200 * 200 - 1
    assert np.argwhere(seen.refused["elevation"]).tolist() == [[7, 9]]
    assert len(seen.warnings) == 1
    assert "(1 of 40,000) lie outside [-500, 6000] m of the layer elevation (first value -9999)" in seen.warnings[0]
    assert "declare `nodata: [-9999]`" in seen.warnings[0]


@pytest.mark.parametrize("size", [10, 50, 350])
def test_a_refused_pixel_never_reaches_a_mean_or_a_neighbour(tmp_path: Path, size: int) -> None:
    side = 10_000 // size + 1
    values = np.full((side, side), 300, np.float32)
    values[3, 3] = -9999
    cells(tmp_path / "dem.tif", values, size)
    seen = decoded(tmp_path, layer="elevation", raster="dem.tif")
    assert set(np.unique(seen[np.isfinite(seen)])) == {300}


def test_signed_numbers_in_an_unsigned_file_are_refused(tmp_path: Path) -> None:
    signed = np.rint(layer_values("elevation", 200, 200)).clip(-100, 900)
    cells(tmp_path / "dem.tif", signed.astype(np.int16).astype(np.uint16), 50)
    with pytest.raises(SourceError, match=r"first value 654\d\d\)"):
        read(tmp_path, layer="elevation", raster="dem.tif")


def test_values_beyond_the_type_of_a_layer_are_refused_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(1, 38_552, 9 * 100).reshape(9, 10, 10).astype(np.uint16)
    cells(tmp_path / "soil.tif", values, names=names_of("soil"))
    with pytest.raises(SourceError, match=r"band 1 .* outside \[1, 265\].*layer soil"):
        read(tmp_path, layer="soil", raster="soil.tif")


@pytest.mark.parametrize(("factor", "fix"), [(10, "`scale: 0.1`"), (1, None)])
def test_another_unit_is_recognised_by_its_numbers(tmp_path: Path, factor: int, fix: str | None) -> None:
    values = layer_values("bioclim", 10, 10)
    values[0] = 9.5  # degree Celsius
    values[0] *= factor
    cells(tmp_path / "bio.tif", values, names=names_of("bioclim"))
    if fix is None:
        np.testing.assert_allclose(decoded(tmp_path, layer="bioclim", raster="bio.tif"), values, rtol=1e-6)
        return
    with pytest.raises(SourceError, match=rf"band 1 .*first value 95\); declare {fix} if the file stores its numbers so"):
        read(tmp_path, layer="bioclim", raster="bio.tif")


def test_kelvin_times_ten_finds_its_scale_and_offset(tmp_path: Path) -> None:
    values = layer_values("bioclim", 10, 10)
    values[[0, 4, 5, *range(7, 11)]] = 2831
    cells(tmp_path / "bio.tif", values, names=names_of("bioclim"))
    with pytest.raises(SourceError, match=r"declare `scale: 0\.1` and `offset: -273\.15`"):
        read(tmp_path, layer="bioclim", raster="bio.tif")


def test_no_data_of_a_single_band_and_scale_tags_of_the_file_count(tmp_path: Path) -> None:
    """int8 and uint32 files too: whatever GDAL reads."""
    for dtype, number in (("int8", 100), ("uint32", 3000)):
        values = np.full((10, 10), number, dtype)
        values[0, 0] = 1
        path = cells(tmp_path / f"{dtype}.tif", values, nodata=1)
        seen = decoded(tmp_path, layer="srtm", raster=path)
        assert np.isnan(seen[0, 0])
        assert seen[1, 1] == number


def test_stored_values_of_a_layer_have_its_own_no_data(tmp_path: Path) -> None:
    """255 of a file that holds stored values is no data, not a value of 1.004 that is clipped to 1."""
    layer = INPUTS["footprint"]
    values = np.full((2, 200, 200), 40, np.uint8)
    values[:, 0] = 255
    cells(tmp_path / "hfp.tif", values, 50, names=names_of("footprint"))
    seen = read(tmp_path, layer="footprint", raster="hfp.tif", stored=True)
    np.testing.assert_array_equal(seen["footprint"], values)
    assert layer.fill == 255


# Bands.


def reflectance(
    folder: Path,
    name: str,
    order: tuple[int, ...],
    names: tuple[str, ...],
    factor: float = 1.0,
    offset: float = 0.0,
    dtype: str = "float32",
    extra: int = 0,
) -> Array:
    """Four bands of constant reflectance .1 .2 .3 .4 (red green blue nir), written in another order and scale."""
    truth = np.array([0.1, 0.2, 0.3, 0.4], np.float32)[:, None, None] + np.zeros((1, 100, 100), np.float32)
    bands = np.concatenate([truth[list(order)], np.full((extra, 100, 100), 0.7, np.float32)])
    stored = (bands + offset) * factor
    cells(folder / name, (stored if dtype == "float32" else np.rint(stored)).astype(dtype), 100, names=names)
    return np.asarray([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("order", "names", "extra"),
    [
        ((0, 1, 2, 3), ("red", "green", "blue", "nir"), 0),
        ((2, 1, 0, 3), ("B02", "B03", "B04", "B08"), 0),
        ((2, 1, 0, 3), ("b2", "b3", "b4", "b8"), 0),
        ((2, 1, 0, 3), ("Blue band", "Green band", "Red band", "NIR band"), 0),
        ((3, 0, 1, 2), ("Near-infrared", "RED", "Green", "BLUE (B2)"), 0),
        ((2, 1, 0, 3), ("B2 - Blue", "B3 - Green", "B4 - Red", "B8 - NIR", "B5 - Vegetation red edge 1", "B8A", "SCL"), 3),
        ((2, 1, 0, 3), ("S2_B02_10m", "S2_B03_10m", "S2_B04_10m", "S2_B08_10m", "S2_B8A_20m"), 1),
    ],
)
def test_names_decide_which_band_is_which(tmp_path: Path, order: tuple[int, ...], names: tuple[str, ...], extra: int) -> None:
    reflectance(tmp_path, "s2.tif", order, names, extra=extra)
    assert bands_read(tmp_path, layer="sentinel2", raster="s2.tif") == tuple(order.index(label) + 1 for label in range(4))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "has 4 bands without names"),
        (("Band 1", "Band 2", "Band 3", "Band 4"), "has 4 bands without names"),
        (("red", "green", "blue", "depth"), "no band's name says that it is nir (its bands are 1 red, 2 green, 3 blue, 4 depth)"),
        (("red", "green", "blue", "B8A"), "no band's name says that it is nir"),
        (("red", "red", "blue", "nir"), "no band's name says that it is green"),
        (("red", "green", "blue", "nir", "Red (copy)"), "bands 1 and 5 are both named red"),
    ],
)
def test_bands_that_names_do_not_tell_apart_are_refused(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    reflectance(tmp_path, "s2.tif", (0, 1, 2, 3), names, extra=int(len(names) == 5))
    with pytest.raises(SourceError) as caught:
        read(tmp_path, layer="sentinel2", raster="s2.tif")
    assert words in str(caught.value)
    assert "by `bands:` with 4 numbers counted from 1 (sources[0].raster)" in str(caught.value)
    assert bands_read(tmp_path, layer="sentinel2", raster="s2.tif", bands=[4, 3, 2, 1]) == (4, 3, 2, 1)


def test_real_stacks_of_climate_terrain_and_land_cover_are_read_by_name(real_data: Path, tmp_path: Path) -> None:
    region = Region(4700, 2850, 4710, 2860, 10)
    for layer, name, options in (
        ("bioclim", "eobs_bioclim_1987_2017.tif", {}),
        ("terrain", "eu_dem_p11deg.tif", {}),
        ("corine", "corine2018_fractions_p44deg.tif", {"absent": 0.0, "scale": 0.01}),
    ):
        path = str(real_data / "europe" / name)
        reader: Any = open_sources(config_of(tmp_path, {"layer": layer, "raster": path, **options}), region)[0]
        assert reader.files[0].bands == tuple(range(1, len(names_of(layer)) + 1))
    with pytest.raises(SourceError, match=r"corine.*outside \[0, 1\].*declare `scale: 0\.01`"):
        read(tmp_path, layer="corine", raster=path, absent=0.0)


@pytest.mark.parametrize("name", ["wc2.1_30s_bio_{}", "BIO{:02d}", "CHELSA_bio{}_1981-2010_V.2.1", "bio_{}"])
def test_names_of_published_climates_are_understood_in_any_order(tmp_path: Path, name: str) -> None:
    values = layer_values("bioclim", 10, 10)
    order = np.random.default_rng(3).permutation(19)
    cells(tmp_path / "bio.tif", values[order], names=tuple(name.format(i + 1) for i in order))
    np.testing.assert_allclose(decoded(tmp_path, layer="bioclim", raster="bio.tif"), values, rtol=1e-6)


def test_a_raster_of_many_bands_for_a_layer_of_one_needs_a_name_or_a_number(tmp_path: Path) -> None:
    values = layer_values("srtm", 10, 10).repeat(3, 0)
    cells(tmp_path / "dem.tif", values)
    with pytest.raises(SourceError, match=r"has 3 bands without names.*`bands: \[n\]`"):
        read(tmp_path, layer="srtm", raster="dem.tif")
    assert decoded(tmp_path, layer="srtm", raster="dem.tif", bands=[2]).shape == (10, 10)


@pytest.mark.parametrize(
    ("factor", "offset", "dtype", "given"),
    [
        (1.0, 0.0, "float32", {}),
        (10_000.0, 0.0, "uint16", {"scale": 1e-4}),
        (10_000.0, 0.1, "uint16", {"scale": 1e-4, "offset": -0.1}),
        (255.0, 0.0, "float32", {"scale": 1 / 255}),
    ],
)
def test_reflectance_of_any_scale_is_right_or_refused(
    tmp_path: Path, factor: float, offset: float, dtype: str, given: dict[str, float]
) -> None:
    truth = reflectance(tmp_path, "s2.tif", (0, 1, 2, 3), BANDS, factor, offset, dtype)
    if given:
        with pytest.raises(SourceError, match=r"100 % of the pixels.*outside \[-0\.1, 1\.6\] of the layer sentinel2"):
            read(tmp_path, layer="sentinel2", raster="s2.tif")
    if offset:  # a unit of 10 m takes seconds; the others are opened and believed
        seen = decoded(tmp_path, layer="sentinel2", raster="s2.tif", **given)
        np.testing.assert_allclose(seen[:, 0, 0], truth, atol=1e-4)
    assert bands_read(tmp_path, layer="sentinel2", raster="s2.tif", **given) == (1, 2, 3, 4)


def test_dark_water_below_zero_is_clipped_and_counted_and_zeros_are_no_data(tmp_path: Path) -> None:
    values = np.full((4, 1000, 1000), 0.2, np.float32)
    values[:, :10] = 0  # outside of the tile
    values[0, 20:30] = -0.02
    cells(tmp_path / "s2.tif", values, 10, names=BANDS)
    seen = read(tmp_path, layer="sentinel2", raster="s2.tif")
    assert (seen["sentinel2"][:, :10] == 65535).all()
    assert (seen["sentinel2"][0, 20:30] == 0).all()
    assert int(seen.clipped["sentinel2"].sum()) == 10 * 1000
    assert not seen.refused


# Longitudes.


@pytest.mark.parametrize("corner", [0.0, -180.0, 180.0, -0.25, 350.0])
@pytest.mark.parametrize("region", [Region(3620, 3200, 3630, 3210, 10), Region(3280, 3200, 3290, 3210, 10)])
def test_longitudes_are_wrapped_wherever_a_file_begins_to_count(tmp_path: Path, corner: float, region: Region) -> None:
    """Over Greenwich (E 3,629 km at this latitude) and west of it: a file of its own longitudes says where cells lie."""
    step = 0.25
    count = 1440 if corner != 350.0 else 80
    lon = (corner + (np.arange(count) + 0.5) * step + 180) % 360 - 180
    values = np.broadcast_to(lon.astype(np.float32) * 10, (80, count)).copy()
    write_bands(tmp_path / "lon.tif", values, Affine(step, 0, corner, 0, -step, 60), crs="EPSG:4326", nodata=-9999)
    seen = decoded(tmp_path, region, layer="srtm", raster="lon.tif")
    y, x = region.coordinates(1000)
    expected, _ = Transformer.from_crs(3035, 4326, always_xy=True).transform(*np.meshgrid(x, y))
    np.testing.assert_allclose(seen, expected * 10, atol=0.02)


# Classes.


def classes(folder: Path, *extra: int, dtype: str = "uint8", **options: Any) -> Array:
    values = np.random.default_rng(4).choice([0, 1, 2], (200, 200)).astype(dtype)
    values[5, : len(extra)] = extra
    cells(folder / "surface.tif", values, 50, **options)
    return values


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_a_number_outside_of_the_legend_is_refused_or_mapped(tmp_path: Path, dtype: str) -> None:
    values = classes(tmp_path, 7, 99, dtype=dtype)
    with pytest.raises(SourceError, match=r"no class of the layer surface \(first value 7\); say what .*`classes: \{7: ...\}`"):
        read(tmp_path, layer="surface", raster="surface.tif")
    with pytest.raises(SourceError, match="first value 99"):
        read(tmp_path, layer="surface", raster="surface.tif", classes={7: 1})
    seen = read(tmp_path, layer="surface", raster="surface.tif", classes={7: "permanent water", 99: None})["surface"]
    expected = np.where(values == 7, 1, np.where(values == 99, 255, values))
    np.testing.assert_array_equal(seen, expected)


def test_a_legend_of_its_own_leaves_no_number_to_chance(tmp_path: Path) -> None:
    """Once 1 means land, a 2 that is not listed is not believed to be sealed ground."""
    values = classes(tmp_path)
    with pytest.raises(SourceError, match=r"first value 2\)"):
        read(tmp_path, layer="surface", raster="surface.tif", classes={1: 0, 0: 1})
    seen = read(tmp_path, layer="surface", raster="surface.tif", classes={1: 0, 0: 1, 2: 2})["surface"]
    np.testing.assert_array_equal(seen, np.array([1, 0, 2])[values])


def test_wrong_meanings_of_classes_are_refused_when_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'classes' gives 'lake', which is no class of surface; its classes are 0 land"):
        config_of(tmp_path, {"layer": "surface", "raster": "x.tif", "classes": {1: "lake"}})
    with pytest.raises(ConfigError, match=r"'classes' belongs to the layers with a legend: surface, igbp"):
        config_of(tmp_path, {"layer": "srtm", "raster": "x.tif", "classes": {1: 2}})
    with pytest.raises(ConfigError, match="would invent classes"):
        config_of(tmp_path, {"layer": "surface", "raster": "x.tif", "resampling": "average"})


def test_a_picture_of_classes_is_refused_and_a_palette_is_no_picture(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 3, (3, 200, 200)).astype(np.uint8)
    cells(tmp_path / "surface.tif", picture, 50, photometric="RGB")
    with pytest.raises(SourceError, match="is a picture"):
        read(tmp_path, layer="surface", raster="surface.tif")
    values = classes(tmp_path, photometric="palette")
    np.testing.assert_array_equal(read(tmp_path, layer="surface", raster="surface.tif")["surface"], values)
    assert ColorInterp.palette


def test_published_numbers_that_no_legend_has_are_refused_too(tmp_path: Path) -> None:
    """0 of an older MODIS version is water; it must not become land because 0 is land in our layer."""
    values = np.full((200, 200), 5, np.uint8)
    values[3] = 0
    cells(tmp_path / "m.tif", values, 50)
    with pytest.raises(SourceError, match=r"no class of the layer surface \(first value 0\)"):
        read(tmp_path, layer="surface", published="modis-mcd12q1-6.1", raster="m.tif")
    seen = read(tmp_path, layer="surface", published="modis-mcd12q1-6.1", raster="m.tif", classes={0: 1})["surface"]
    assert (seen[3] == 1).all()
    with pytest.raises(SourceError, match=r"outside \[1, 17\]|no class of the layer igbp"):
        read(tmp_path, layer="igbp", raster="m.tif")


# No CRS.


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (Affine(0.01, 0, 15.0, 0, -0.01, 48.8), "as degrees do: write it with `gdal_edit.py -a_srs EPSG:4326"),
        (REGION.transform(1000), "-a_srs EPSG:3035"),
        (Affine(100, 0, 500_000, 0, -100, 5_400_000), "EPSG:32633"),
        (Affine(100, 0, 9e6, 0, -100, 9e6), "metres of a projection that its documentation names"),
    ],
)
def test_advice_for_a_missing_crs_fits_the_numbers(tmp_path: Path, transform: Affine, words: str) -> None:
    write_bands(tmp_path / "bare.tif", np.ones((300, 300), np.float32), transform, crs=None)
    with pytest.raises(SourceError, match="the raster has no CRS; its coordinates run from") as caught:
        read(tmp_path, layer="srtm", raster="bare.tif")
    assert words in str(caught.value)
    assert ("4326" in str(caught.value)) == ("degrees" in words)


def test_a_format_that_cannot_be_changed_in_place_is_to_be_written_anew(tmp_path: Path) -> None:
    """`gdal_edit.py` opens a file for update, which GDAL refuses for an ASCII grid; a blank in a path needs quotes."""
    west, north = REGION.bounds[0], REGION.bounds[3]
    head = f"ncols 30\nnrows 30\nxllcorner {west}\nyllcorner {north - 30_000}\ncellsize 1000\nNODATA_value -9999\n"
    (tmp_path / "dem 1.asc").write_text(head + "\n".join([" ".join(["500.5"] * 30)] * 30) + "\n")
    with pytest.raises(SourceError, match=r"`gdal_translate -a_srs EPSG:3035 '.*/dem 1\.asc' new\.tif`"):
        read(tmp_path, layer="srtm", raster="dem 1.asc")


def test_a_raster_elsewhere_says_where_it_is_and_where_the_region_is(tmp_path: Path) -> None:
    write_bands(tmp_path / "far.tif", np.ones((30, 30), np.float32), Affine(1000, 0, 2690_000, 0, -1000, 2870_000))
    with pytest.raises(SourceError, match=r"does not touch the region \(it covers 2690000, 2840000 to 2720000, 2870000 of"):
        read(tmp_path, layer="srtm", raster="far.tif")


# What a file says of itself, and what it does not mean.


@pytest.mark.parametrize(("scale", "offset"), [(0.0, 0.0), (np.nan, 0.0), (1.0, np.nan), (np.inf, 0.0)])
def test_a_scale_that_leaves_no_value_is_refused(tmp_path: Path, scale: float, offset: float) -> None:
    with rasterio.open(cells(tmp_path / "dem.tif", layer_values("srtm", 10, 10)), "r+") as target:
        target.scales, target.offsets = (scale,), (offset,)
    with pytest.raises(SourceError, match=r"dem\.tif: says that band 1 has the scale .* leave no value; .*gdal_edit"):
        read(tmp_path, layer="srtm", raster="dem.tif")


def test_the_scale_of_a_file_says_nothing_of_its_classes_and_that_of_a_source_is_refused(tmp_path: Path) -> None:
    with rasterio.open(cells(tmp_path / "igbp.tif", np.full((200, 200), 5, np.uint8), 50), "r+") as target:
        target.scales = (0.1,)
    assert set(np.unique(read(tmp_path, layer="igbp", raster="igbp.tif")["igbp"])) == {5}
    with pytest.raises(ConfigError, match=r"would change the classes of igbp; say what its numbers mean by 'classes'"):
        read(tmp_path, layer="igbp", raster="igbp.tif", scale=2)


@pytest.mark.parametrize(("key", "number"), [("scale", 1e-4), ("offset", -0.1)])
def test_a_scale_or_offset_of_file_and_source_alike_is_never_used_twice(tmp_path: Path, key: str, number: float) -> None:
    values = np.rint(1e4 * layer_values("sentinel2", 10, 10)).clip(1).astype(np.uint16)
    with rasterio.open(cells(tmp_path / "s2.tif", values, names=BANDS), "r+") as target:
        target.scales, target.offsets = (1e-4,) * 4, (-0.1,) * 4
    with pytest.raises(SourceError, match=rf"s2\.tif: has the {key} {number:g} of its own.*take `{key}` out of the source"):
        read(tmp_path, layer="sentinel2", raster="s2.tif", **{key: number})


@pytest.mark.parametrize(("key", "number"), [("scale", np.nan), ("scale", np.inf), ("offset", np.inf)])
def test_a_scale_or_offset_is_a_number(tmp_path: Path, key: str, number: float) -> None:
    with pytest.raises(ConfigError, match=rf"'{key}' .*{number:g}.*; give the factor"):
        read(tmp_path, layer="srtm", raster="dem.tif", **{key: number})


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    cells(tmp_path / "dem.tif", layer_values("srtm", 10, 10).astype(np.complex64))
    with pytest.raises(SourceError, match=r"dem\.tif: band 1 holds complex numbers"):
        read(tmp_path, layer="srtm", raster="dem.tif")


@pytest.mark.parametrize("kind", ["internal", "beside", "alpha"])
def test_no_data_is_what_the_number_or_the_mask_says(tmp_path: Path, kind: str) -> None:
    values = np.full((200, 200), 2, np.uint8)
    values[:50] = 1  # water to the layer, no data to the file
    mask = np.full((200, 200), 255, np.uint8)
    mask[:, :20] = 0
    bands = np.stack([values, mask]) if kind == "alpha" else values
    path = cells(tmp_path / "s.tif", bands, 50, nodata=1)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "internal"), rasterio.open(path, "r+") as target:
        if kind == "alpha":
            target.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
        else:
            target.write_mask(mask)
    seen = np.asarray(read(tmp_path, layer="surface", raster="s.tif")["surface"])
    np.testing.assert_array_equal(seen, np.where((values == 1) | (mask == 0), 255, 2))


@pytest.mark.parametrize("coarse_first", [True, False])
def test_tiles_of_two_pixel_sizes_each_have_their_own_method(tmp_path: Path, coarse_first: bool) -> None:
    fine = layer_values("elevation", 100, 100)
    write_bands(tmp_path / "fine.tif", fine, Affine(10, 0, 4_705_000, 0, -10, 2_860_000))
    cells(tmp_path / "coarse.tif", np.full((50, 50), 300, np.float32), 200)
    tiles = ["coarse.tif", "fine.tif"] if coarse_first else ["fine.tif", "coarse.tif"]
    seen = decoded(tmp_path, layer="elevation", raster=tiles)
    expected = np.full((200, 200), 300, np.float32)
    expected[:20, 100:120] = fine[0].reshape(20, 5, 20, 5).mean(axis=(1, 3))
    np.testing.assert_allclose(seen, expected, atol=0.126)


@pytest.mark.parametrize("bands", [[0], [-1], [1, 1], []])
def test_bands_are_counted_from_1_and_named_once(tmp_path: Path, bands: list[int]) -> None:
    with pytest.raises(
        ConfigError, match=r"sources\[0\]\.bands: 'bands' are names, or numbers counted from 1, each of them once"
    ):
        read(tmp_path, layer="srtm", raster="dem.tif", bands=bands)


def test_an_only_band_that_is_named_as_another_one_is_refused(tmp_path: Path) -> None:
    values = layer_values("soil", 10, 10)
    names = dict(zip(names_of("soil"), names_of("soil"), strict=True)) | {
        "cec": "Cation exchange capacity at pH 7",
        "clay": "clay_5-15cm_mean",
        "phh2o": "pH",
    }
    for n, (label, name) in enumerate(names.items()):
        cells(tmp_path / f"{label}.tif", values[n], names=(name,))
    read(tmp_path, layer="soil", raster="{variable}.tif")
    cells(tmp_path / "clay.tif", values[3], names=("sand_5-15cm_mean",))
    with pytest.raises(SourceError, match=r"clay\.tif: its band is named 'sand_5-15cm_mean', which is sand and not clay"):
        read(tmp_path, layer="soil", raster="{variable}.tif")


# NetCDF and places.


def netcdf(path: Path, names: tuple[str, ...] = ("elevation",), turn: float = 0, **attributes: Any) -> Array:
    """South first, as climatologists write it: int16 in steps of 0.5 m, fill values in the first rows."""
    lat, lon = np.arange(48.4, 49, 0.01), np.arange(14.9, 15.6, 0.01)
    stored = np.rint(2 * (500 + 100 * (lat[:, None] - 48) + 0 * lon[None])).astype(np.int16)
    stored[:30] = -9999  # south of 48.695
    axes = {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon + turn, {"units": "degrees_east"})}
    packed = {"_FillValue": np.int16(-9999), "scale_factor": 0.5, "add_offset": 0.0, **attributes}
    xr.Dataset(dict.fromkeys(names, (("lat", "lon"), stored, packed)), axes).to_netcdf(path, engine="scipy")
    return stored


@pytest.mark.parametrize("turn", [0, 360])
def test_a_netcdf_of_degrees_needs_no_crs_and_its_packing_counts(tmp_path: Path, turn: float) -> None:
    netcdf(tmp_path / "dem.nc", turn=turn)
    seen = decoded(tmp_path, layer="srtm", raster="dem.nc")
    x, y = np.meshgrid(4_700_500 + 1000 * np.arange(10), 2_859_500 - 1000 * np.arange(10))
    _, lat = Transformer.from_crs(3035, 4326, always_xy=True).transform(x, y)
    valid = lat > 48.70
    assert 0.2 < valid.mean() < 0.8
    np.testing.assert_allclose(seen[valid], (500 + 100 * (lat - 48))[valid], atol=0.3)
    assert np.isnan(seen[lat < 48.68]).all()


def test_a_layer_of_another_name_may_be_a_netcdf_without_crs(tmp_path: Path) -> None:
    netcdf(tmp_path / "dem.nc")
    named = read(tmp_path, layer="height", raster="dem.nc", units="m", resolution="1km")["height"]
    np.testing.assert_array_equal(named, decoded(tmp_path, layer="srtm", raster="dem.nc"))


def test_a_netcdf_of_another_axis_or_of_many_variables_is_refused_with_the_fix(tmp_path: Path) -> None:
    netcdf(tmp_path / "dem.nc", coordinates="longitude latitude")
    with pytest.raises(SourceError, match=r"dem\.nc: the raster has no CRS"):
        read(tmp_path, layer="srtm", raster="dem.nc")
    netcdf(tmp_path / "two.nc", ("elevation", "slope"))
    with pytest.raises(SourceError, match=r"two\.nc: holds several variables \(elevation, slope\); .*gdal_translate"):
        read(tmp_path, layer="srtm", raster="two.nc")


@pytest.mark.parametrize(
    ("transform", "crs", "words"),
    [
        (Affine(1000, 0, 4_690_000, 0, -1000, 2_860_000), "EPSG:3035", "does not touch the region"),  # side by side
        (Affine(0.1, 0, 15, 0, -0.1, 49), "EPSG:3035", "its numbers are degrees rather: write `gdal_edit.py -a_srs EPSG:4326"),
        (REGION.transform(1000), 'LOCAL_CS["site",UNIT["metre",1]]', "says neither degrees nor a projection of the Earth"),
        (REGION.transform(1000), "EPSG:4978", "says neither degrees nor a projection of the Earth"),
    ],
)
def test_a_place_that_is_none_is_one_sentence(tmp_path: Path, transform: Affine, crs: str, words: str) -> None:
    write_bands(tmp_path / "dem.tif", layer_values("srtm", 10, 10), transform, crs=crs)
    with pytest.raises(SourceError, match=words):
        read(tmp_path, layer="srtm", raster="dem.tif")


VRT = """<VRTDataset rasterXSize="10" rasterYSize="10"><SRS>EPSG:3035</SRS>
<GeoTransform>4700000,1000,0,2860000,0,-1000</GeoTransform><VRTRasterBand dataType="Float32" band="1">
<SimpleSource><SourceFilename relativeToVRT="1">dem.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>
</VRTDataset>"""


def test_a_virtual_raster_depends_on_the_files_behind_it_and_names_those_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "dem.vrt").write_text(VRT)
    cells(tmp_path / "dem.tif", layer_values("srtm", 10, 10))
    reader = open_sources(config_of(tmp_path, {"layer": "srtm", "raster": "dem.vrt"}), REGION)[0]
    before = reader.depends_on()
    (tmp_path / "dem.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")  # as programs that show a raster leave it
    (tmp_path / "dem.vrt.aux.xml").write_text("<PAMDataset></PAMDataset>")
    assert reader.depends_on() == before
    cells(tmp_path / "dem.tif", layer_values("srtm", 10, 10, seed=1).astype(np.float64))
    assert reader.depends_on() != before
    (tmp_path / "dem.tif").unlink()
    with pytest.raises(SourceError, match=r"dem\.vrt: cannot be read \(.*dem\.tif: No such file"):
        reader.read(REGION, UNIT)


def test_a_band_that_the_file_does_not_have_is_named_by_plan_and_build_alike(tmp_path: Path) -> None:
    cells(tmp_path / "two.tif", np.repeat(layer_values("elevation", *REGION.shape(50)), 2, axis=0), 50)
    config = config_of(tmp_path, {"layer": "elevation", "raster": "two.tif", "bands": [3]})
    with pytest.raises(SourceError, match=r"has 2 bands"):
        open_sources(config, REGION)
    assert "has 2 bands" in " ".join(local_problems(config, config.sources[0], "sources[0].raster", REGION)[0])


def test_a_scale_that_is_not_needed_is_to_be_left_out(tmp_path: Path) -> None:
    cells(tmp_path / "metres.tif", 1000 + layer_values("elevation", *REGION.shape(50)), 50)
    with pytest.raises(SourceError, match=r"fit as they are: leave out the scale 10 and the offset 0"):
        read(tmp_path, layer="elevation", raster="metres.tif", scale=10)
