"""File names: one line stands for 912 files, tiles are named by their corner, and a wrong name is one sentence."""

from __future__ import annotations

import pytest

from cube.errors import ConfigError
from cube.grid import Region, bounds_in
from cube.layers.inputs import CLIMATE_MONTHS, INPUTS
from cube.sources.published_rasters import PRODUCTS
from cube.sources.templates import RasterFile, expand


def test_one_line_names_the_912_files_of_chelsa_in_the_order_of_the_layer() -> None:
    row = PRODUCTS["chelsa-2.1-monthly"]
    files = expand(f"chelsa/{row.file}", INPUTS["climate"], row.bands)
    assert len(files) == 912
    assert files[0] == RasterFile("chelsa/CHELSA_pr_01_2000_V.2.1.tif", (1,))
    assert files[-1].path == "chelsa/CHELSA_tasmin_12_2018_V.2.1.tif"
    assert files[len(CLIMATE_MONTHS)].path == "chelsa/CHELSA_tas_01_2000_V.2.1.tif"


def test_what_a_template_leaves_out_lies_in_one_file_as_bands() -> None:
    by_variable = expand("{variable}.tif", INPUTS["climate"])
    assert [len(f.bands) for f in by_variable] == [228] * 4
    by_year = expand("{variable}_{year}.tif", INPUTS["climate"])
    assert [f.bands for f in by_year] == [tuple(range(1, 13))] * 76
    assert expand("all.tif", INPUTS["landsat"]) == [RasterFile("all.tif", tuple(range(1, 505)))]
    quarters = expand("{variable}_{year}_{quarter}.tif", INPUTS["landsat"])
    assert quarters[83].path == "red_2020_4.tif"
    published = expand("{band}_WGS84.tif", INPUTS["footprint_detail"], PRODUCTS["human-footprint-detail"].bands)
    assert published[6].path == "NavWater1994_WGS84.tif"


def test_every_row_names_a_file_for_every_layer_that_it_fills_and_a_band_for_every_label() -> None:
    for name, row in PRODUCTS.items():
        for layer in (INPUTS[n] for n in row.layers):
            assert expand(row.file, layer, row.bands, row.tile), name
            if layer.dims and name != "corine-2018":
                assert len(row.bands) == len(layer.labels[layer.dims[0]]), name
        assert {len(row.scale), len(row.offset)} <= {1, len(row.bands)}, name
        assert all((row.license, row.attribution, row.references, row.reference_years, row.lookup)), name


def test_tiles_are_named_by_their_lower_left_corner() -> None:
    row = PRODUCTS["copernicus-dem-glo-30"]
    (file,) = expand(row.file, INPUTS["elevation"], row.bands, row.tile)
    moravia = file.paths(Region(4800, 2900, 4810, 2910, 10).degrees)
    assert moravia == [row.file.format(north=north, east="E016") for north in ("N48", "N49")]
    (map_file,) = expand("{north}{east}.tif", INPUTS["surface"], tile=3)
    assert map_file.paths(Region(4800, 2900, 4810, 2910, 10).degrees) == ["N48E015.tif"]
    ireland = map_file.paths(bounds_in(4326, (2_900_000, 3_300_000, 3_300_000, 3_700_000), 3035))
    assert "N51W012.tif" in ireland
    assert "N54W009.tif" in ireland


def test_an_unknown_placeholder_names_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"names \{jear\}.*\{month\}.*\{variable\}.*\{year\}"):
        expand("{variable}_{jear}.tif", INPUTS["climate"])
    with pytest.raises(ConfigError, match=r"names \{year\}; for the layer soil"):
        expand("{variable}_{year}.tif", INPUTS["soil"])
    with pytest.raises(ConfigError, match="not a file name template"):
        expand("{variable:02d}.tif", INPUTS["soil"])
