"""What a layer means is in its array's attributes: written once, read by one function, in units that UDUNITS knows."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cube.layers import COMPOSITION, Layer, habitat_entropy, habitat_level, indicator, occurrence
from cube.layers.inputs import INPUTS
from cube.storage.store import CubeStore, create_cube, layer_of, resolution_of
from server.reading import catalogue
from tests.cube.layers.test_conventions import REGION

PRODUCTS = (
    *COMPOSITION,
    indicator("richness", "", "Richness", "1", 0.01, 300, "viridis", "Somebody 2020", 3),
    habitat_entropy(""),
    habitat_level("level1", "", ((0, "dry grassland", "#aabbcc"), (1, "T", "#112233")), "EUNIS"),
    occurrence("", 100),
)
UNITS = {"1", "%", "0.1", "m", "km", "mm", "cm", "dm", "K", "degC", "degree", "kg", "g", "cg", "dg", "mmol", "month"}


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    cube = create_cube(str(tmp_path_factory.mktemp("layers") / "c.zarr"), REGION, "t", {"license": "CC-BY-4.0"})
    for group in sorted({layer.group for layer in INPUTS.values()}):
        layers = [layer for layer in INPUTS.values() if layer.group == group]
        cube.ensure_group(group, layers, resolution_of(layers[0]))
    return cube


def stored(layer: Layer) -> Layer:
    """What can stand in attributes of a layer, with the range as it is after rounding to stored steps."""
    low, high = layer.valid_range or (0.0, 0.0)
    return replace(layer, labels={}, valid_range=layer.valid_range and (low, high))


def test_a_layer_reads_back_as_it_was_written(cube: CubeStore) -> None:
    for layer in INPUTS.values():
        found, wanted = layer_of(cube.array(layer.path)), stored(layer)
        if wanted.valid_range is not None:
            assert found.valid_range == pytest.approx(wanted.valid_range, abs=layer.scale / 2)
        same = replace(wanted, valid_range=None, fill=0) if layer.fill != layer.fill else replace(wanted, valid_range=None)
        assert replace(found, valid_range=None, fill=same.fill) == same
        assert found.fill == layer.fill or (np.isnan(found.fill) and np.isnan(layer.fill))


def test_a_cube_lists_its_layers_with_the_labels_of_their_axes(cube: CubeStore) -> None:
    found = cube.layers()
    assert list(found) == list(INPUTS)
    for name, layer in INPUTS.items():
        assert (found[name].labels, found[name].predictor) == (layer.labels, layer.predictor)


@pytest.mark.parametrize("layer", PRODUCTS, ids=lambda layer: layer.name)
def test_a_layer_of_a_product_reads_back_from_its_attributes(layer: Layer) -> None:
    found = Layer.from_metadata(f"g/{layer.name}", layer.dtype, layer.fill, (*layer.dims, "y", "x"), layer.attributes())
    assert replace(found, group="", valid_range=None) == replace(stored(layer), group="", valid_range=None)


@pytest.mark.parametrize("layer", [*INPUTS.values(), *PRODUCTS], ids=lambda layer: layer.name)
def test_units_are_spelled_as_udunits_does_and_each_band_has_its_own(layer: Layer) -> None:
    assert bool(layer.units) != any(band.units != layer.bands[0].units for band in layer.bands)
    for units in [layer.units, *(band.units for band in layer.bands)]:
        for part in units.split():
            assert re.sub(r"-?\d$", "", part) in UNITS or part in UNITS | {"0.01"}, units
    if layer.bands:
        assert tuple(band.name for band in layer.bands) == layer.labels[layer.dims[0]]
        assert len({band.long_name for band in layer.bands}) == len(layer.bands)


def test_values_of_two_bands_carry_their_own_units_to_the_map(cube: CubeStore) -> None:
    served = {layer.id: layer for layer in catalogue.build(cube, {"products": {}}).layers}
    found = {
        name: served[f"inputs.{name}"].units for name in ("soil.clay", "soil.phh2o", "bioclim.bio1", "bioclim.bio12", "slope")
    }
    assert found == {"soil.clay": "g kg-1", "soil.phh2o": "0.1", "bioclim.bio1": "degC", "bioclim.bio12": "mm", "slope": "degree"}


def test_quarters_and_months_have_a_time_that_xarray_reads(cube: CubeStore) -> None:
    with xr.open_zarr(f"{cube.url}/inputs/50m", consolidated=True) as group:
        times = group["landsat"].coords["quarter_time"]
        assert times.attrs["standard_name"] == "time"
        assert times.sel(quarter="2000Q1").values == np.datetime64("1999-12-02")
        assert (group["quarter_bounds"].values[1:, 0] == group["quarter_bounds"].values[:-1, 1]).all()  # no gaps
        assert (group["quarter_bounds"].values[:, 0] == times.values).all()
    with xr.open_zarr(f"{cube.url}/inputs/1km", consolidated=True) as group:
        months = group["climate"].coords["climate_month_time"].values
        expected = pd.date_range("2000-01-01", periods=len(months), freq="MS")
        assert (months == expected.values).all()
        assert group["climate_month_bounds"].values[1, 1] == np.datetime64("2000-03-01")  # February of a leap year


def test_a_legend_that_lost_its_colours_is_no_error() -> None:
    attributes = {"flag_values": [1, 2], "flag_meanings": "wet_meadow", "floracube_kind": "class"}
    layer = Layer.from_metadata("g/a", "uint8", 255, ("y", "x"), attributes)
    assert layer.flags == ((1, "wet meadow", ""), (2, "", ""))
    assert (layer.long_name, layer.units, layer.group) == ("a", "1", "g")
